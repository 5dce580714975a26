"""Puts right what a series store was given at times that a box told before its clock was right.

The correction came when the points had been carried already: ingest has marked their batches (`unsynced_batch`). One
batch after the other: the stretch that it had been told for is forgotten, then all points that belong there, and the
batch at its true times, are written again. A batch stays marked until that is done, so a power cut repeats it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from sqlalchemy import Engine, delete, func, select
from sqlalchemy.orm import Session

from server.boxes.keys import KeyBook
from server.clock_repair import known_offset_ms
from server.database import writing
from server.models import StoredBatch
from server.models_uplink import UnsyncedBatch
from server.reports.models import BatchSource
from server.reports.sources import widen
from server.series.journal import Portion
from server.series.models import SeriesCursor
from server.series.points import points_of, points_of_batch, readings_of
from server.series.port import POINTS_PER_WRITE_MAX, CannotForget, Point, Refused, SeriesKey, SeriesStore
from server.series.problems import note_problem, record_problems
from telemetry.batch import Batch

Spans = dict[SeriesKey, tuple[int, int]]  # first and last time as told, ms since 1970 UTC


def put_right(engine: Engine, store: SeriesStore) -> int:
    """One marked batch; how many were, 0 when there is none. Raises SeriesUnavailable or SQLAlchemyError."""
    with Session(engine) as db, db.begin():
        batch_id = _next(db, store.name)
        if batch_id is None:
            return 0
        told = _told_spans(KeyBook(db).opened(_raw(db, batch_id)))
    remains = ""
    try:
        for key, (first_ms, last_ms) in told.items():
            store.forget(key, first_ms, last_ms)
    except CannotForget as error:
        remains = f"its points also stay at the times that were told before the clock was right: {error}"
    refused: list[Refused] = []
    with Session(engine) as db, db.begin():
        points = _touched(db, batch_id, told)
        while piece := list(islice(points, POINTS_PER_WRITE_MAX)):
            refused += store.write(piece)
    with Session(writing(engine)) as db, db.begin():
        db.execute(delete(UnsyncedBatch).where(UnsyncedBatch.batch_id == batch_id))
        record_problems(db, store.name, Portion(batch_id, [(batch_id, [item.point for item in refused])]), refused)
        if remains:
            note_problem(db, store.name, batch_id, remains)
    return 1


def _next(db: Session, store_name: str) -> int | None:
    """The first marked batch that was carried; what was not yet is carried at its true times anyway."""
    cursor = db.get_one(SeriesCursor, store_name)
    return db.scalar(
        select(func.min(UnsyncedBatch.batch_id)).where(
            UnsyncedBatch.offset_ms.is_not(None), UnsyncedBatch.batch_id <= cursor.batch_id
        )
    )


def _raw(db: Session, batch_id: int) -> bytes | None:
    return db.scalar(select(StoredBatch.raw).where(StoredBatch.id == batch_id))


def _told_spans(batch: Batch | None) -> Spans:
    if batch is None:
        return {}
    unsynced = (reading for reading in readings_of(batch) if not reading.clock_synced)
    return widen((point.key, point.at_ms) for point in points_of(batch.header.box_id, unsynced))


def _touched(db: Session, batch_id: int, told: Spans) -> Iterator[Point]:
    """All points of the batch, and those of others in what was forgotten: the times of two boots may overlap."""
    keys = KeyBook(db)
    others: set[int] = set()
    for key, (first_ms, last_ms) in told.items():
        others |= set(
            db.scalars(
                select(BatchSource.batch_id).where(
                    BatchSource.box_id == key.box_id, BatchSource.source_id == key.sensor_id,
                    BatchSource.lane == "readings", BatchSource.first_ms <= last_ms, BatchSource.last_ms >= first_ms,
                )
            )
        )  # fmt: skip
    for other_id in sorted({batch_id, *others}):
        batch = keys.opened(_raw(db, other_id))
        if batch is None:
            continue
        repair_ms = known_offset_ms(db, batch.header.box_id, batch.header.boot_id) or 0
        for point in points_of_batch(batch, repair_ms):
            first_ms, last_ms = told.get(point.key, (1, 0))
            if other_id == batch_id or first_ms <= point.at_ms <= last_ms:
                yield point
