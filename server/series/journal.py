"""Reads the journal in portions of bounded size, in its own order, for whoever derives the series from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from server.boxes.keys import KeyBook
from server.clock_repair import known_offset_ms
from server.models import StoredBatch
from server.series.points import points_of_batch
from server.series.port import Point
from telemetry.batch import Batch, BatchError, open_batch

# what one portion holds; a single batch may be larger by itself (8 MiB, 100,000 records)
PORTION_READINGS_MAX = 10_000
PORTION_BYTES_MAX = 8 * 1024 * 1024
PORTION_BATCHES_MAX = 1000


@dataclass
class Portion:
    """Some batches of readings in the order of the journal; ``unreadable`` are those whose bytes are damaged."""

    last_id: int
    points: list[tuple[int, list[Point]]] = field(default_factory=list)  # batch id and its points
    batches: list[Batch] = field(default_factory=list)  # the same batches whole
    unreadable: dict[int, str] = field(default_factory=dict)


def read_portion(db: Session, after_id: int) -> Portion | None:
    """The next batches of readings behind *after_id*, verified as ingest did; None when there is none."""
    sizes = db.execute(
        select(StoredBatch.id, StoredBatch.count, func.length(StoredBatch.raw))
        .where(
            StoredBatch.id > after_id, StoredBatch.lane == "readings", func.length(StoredBatch.raw) > 0
        )  # not purged
        .order_by(StoredBatch.id)
        .limit(PORTION_BATCHES_MAX)
    ).all()
    if not sizes:
        return None
    wanted: list[int] = []
    readings = size_bytes = 0
    for batch_id, count, length in sizes:
        readings, size_bytes = readings + count, size_bytes + length
        if wanted and (readings > PORTION_READINGS_MAX or size_bytes > PORTION_BYTES_MAX):
            break
        wanted.append(batch_id)
    portion = Portion(wanted[-1])
    query = select(StoredBatch.id, StoredBatch.raw).where(StoredBatch.id.in_(wanted)).order_by(StoredBatch.id)
    keys = KeyBook(db)
    for batch_id, raw in db.execute(query):
        try:
            batch = open_batch(raw, keys.get)
        except BatchError as error:
            portion.unreadable[batch_id] = str(error)
            continue
        repair_ms = known_offset_ms(db, batch.header.box_id, batch.header.boot_id) or 0
        portion.points.append((batch_id, points_of_batch(batch, repair_ms)))
        portion.batches.append(batch)
    return portion


def read_portions(db: Session, after_id: int = 0) -> Iterator[Portion]:
    """All portions behind *after_id*."""
    while (portion := read_portion(db, after_id)) is not None:
        yield portion
        after_id = portion.last_id
