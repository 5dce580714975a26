"""Compares the series with the journal, both in order of time, without holding either in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.boxes.keys import KeyBook
from server.models import StoredBatch
from server.series.journal import read_portions
from server.series.models import SeriesProblem
from server.series.points import points_of_batch
from server.series.port import Point, SeriesKey, SeriesStore
from server.series.upkeep import has_cursors
from server.verify_scratch import Scratch, packed

NAMED_MAX = 1000


@dataclass
class SeriesVerification:
    """How many points the series has, what is wrong, and what is known to be missing."""

    points: int = 0
    on_the_way: int = 0
    missing: int = 0
    problems: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Journal:
    """What the walk over the journal left: ``last_id`` is its newest batch, ``offsets_ms`` the clock corrections.

    ``purged_to_ms``: up to when readings of a box were purged; what lies there is not compared.
    """

    seen: Scratch
    last_id: int
    offsets_ms: Mapping[tuple[str, str], int]
    purged_to_ms: Mapping[str, int]


def verify_series(db: Session, series: SeriesStore, journal: Journal) -> SeriesVerification:
    """The series holds what the journal says, but for what is on the way or was refused; and nothing else."""
    found = SeriesVerification()
    for name in _refused(db, series.name, journal, found):
        journal.seen.add_refused([name])
    extents = series.extents()
    for key in sorted({*extents, *journal.seen.keys()}):
        extent = extents.get(key)
        stored = series.range(key, extent.first_ms, extent.last_ms) if extent else iter(())
        _compare(journal, key, stored, found)
    if journal.seen.count_aliens():  # a store outside of the record may have points of batches that came meanwhile
        db.commit()
        for portion in read_portions(db, journal.last_id):
            for _, points in portion.points:
                journal.seen.drop_aliens(points)
    aliens = journal.seen.count_aliens()
    for sensor_id, at_ms, value in journal.seen.aliens(NAMED_MAX):
        found.problems.append(f"point {sensor_id} at {at_ms}: {value} is in no batch")
    for count, what in ((aliens, "are in no batch"), (found.missing, "are in a batch but not in the series")):
        if count > NAMED_MAX:
            found.problems.append(f"series: {count - NAMED_MAX} more points {what}")
    if found.on_the_way:
        found.gaps.append(f"series: {found.on_the_way} readings are on the way to {series.name}")
    return found


def _compare(journal: Journal, key: SeriesKey, stored: Iterator[Point], found: SeriesVerification) -> None:
    """Merge one series of the journal with that of the store."""
    since_ms = journal.purged_to_ms.get(key.box_id)
    point = next(stored, None)
    for at_ms, told, due in journal.seen.moments(key):
        while point is not None and point.at_ms < at_ms:
            _note_alien(journal, point, found)
            point = next(stored, None)
        if point is not None and point.at_ms == at_ms:
            if packed(point) not in told:
                journal.seen.add_aliens([point])
            found.points += 1
            point = next(stored, None)
        elif since_ms is not None and at_ms <= since_ms:
            continue
        elif due:
            found.missing += 1
            if found.missing <= NAMED_MAX:
                found.problems.append(f"point {key.sensor_id} at {at_ms}: is in a batch but not in the series")
        elif not journal.seen.is_refused(key, at_ms):
            found.on_the_way += 1
    while point is not None:
        _note_alien(journal, point, found)
        point = next(stored, None)


def _note_alien(journal: Journal, point: Point, found: SeriesVerification) -> None:
    found.points += 1
    since_ms = journal.purged_to_ms.get(point.box_id)
    if since_ms is None or point.at_ms > since_ms:
        journal.seen.add_aliens([point])


def _refused(
    db: Session, store_name: str, journal: Journal, found: SeriesVerification
) -> Iterator[tuple[str, str, str, int]]:
    """The points that the store would not take; each problem is told."""
    if not has_cursors(db):
        return
    mine = select(SeriesProblem, StoredBatch).join(StoredBatch, StoredBatch.id == SeriesProblem.batch_id)
    for problem, row in db.execute(mine.where(SeriesProblem.store == store_name).execution_options(yield_per=50)):
        where = f"batch {row.box_id}/{row.epoch[:8]}/{row.lane}/{row.seq}"
        if problem.sensor_id is None or problem.quantity is None or problem.observed_at_ms is None:
            found.gaps.append(f"series: {where}: {problem.reason}")
            for point in _points_in(db, row, journal):
                yield (*point.key, point.at_ms)
            continue
        found.gaps.append(f"series: {where}: {problem.sensor_id} at {problem.observed_at_ms} refused: {problem.reason}")
        yield row.box_id, problem.sensor_id, problem.quantity, problem.observed_at_ms


def _points_in(db: Session, row: StoredBatch, journal: Journal) -> list[Point]:
    batch = KeyBook(db).opened(row.raw)
    if batch is None:
        return []  # told by the walk over the journal
    return points_of_batch(batch, journal.offsets_ms.get((batch.header.box_id, batch.header.boot_id), 0))
