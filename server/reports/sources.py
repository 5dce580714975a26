"""Which batches a report rests on: an index from sensor and time to batch, kept by ingest in its own transaction.
Times that a box told before its clock was right count as corrected, from the moment that the correction is known.

A batch is named by (box, epoch, lane, seq) and the SHA-256 of its exact bytes. The digest over a list of batches is
the SHA-256 of its lines ``box epoch lane seq sha256``, sorted by the first four, each ended by a line feed: anyone
with the list can recompute it with sha256sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import NamedTuple, TypeVar, cast

from sqlalchemy import Table, delete, func, select
from sqlalchemy.orm import Session

from server.dialects import write_rows
from server.models import StoredBatch
from server.reports.models import BatchSource
from server.series.port import to_ms
from telemetry.batch import Batch, BatchHeader
from telemetry.messages import Event, Lane

Key = TypeVar("Key")
_TABLE = cast(Table, BatchSource.__table__)


class BatchRef(NamedTuple):
    """One batch and the digest of its bytes."""

    box_id: str
    epoch: str
    lane: str
    seq: int
    sha256: str


def spans_of(batch: Batch, repair_ms: int = 0) -> dict[str, tuple[int, int]]:
    """Source → first and last time of its records in this batch (milliseconds since 1970 UTC); *repair_ms* is the
    clock correction of its boot.
    """
    times: list[tuple[str, int]] = []
    for _, record in batch.records:
        source_id, at = (
            (record.source_id, record.at) if isinstance(record, Event) else (record.sensor_id, record.observed_at)
        )
        times.append((source_id, to_ms(at) + (0 if record.clock_synced else repair_ms)))
    return widen(times)


def widen(times: Iterable[tuple[Key, int]]) -> dict[Key, tuple[int, int]]:
    """What has times → its first and last one."""
    spans: dict[Key, tuple[int, int]] = {}
    for key, at_ms in times:
        span = spans.get(key)
        if span is None:
            spans[key] = (at_ms, at_ms)
        elif at_ms > span[1]:
            spans[key] = (span[0], at_ms)
        elif at_ms < span[0]:
            spans[key] = (at_ms, span[1])
    return spans


def index_batch(db: Session, batch_id: int, header: BatchHeader, spans: Mapping[str, tuple[int, int]]) -> None:
    """Add a stored batch to the index; *spans* as of `spans_of`."""
    rows = [
        (batch_id, source_id, header.box_id, header.lane, first_ms, last_ms)
        for source_id, (first_ms, last_ms) in spans.items()
    ]
    write_rows(db, _TABLE, rows)


def move_batch(db: Session, batch_id: int, batch: Batch, repair_ms: int) -> None:
    """Put a stored batch where it belongs by now."""
    db.execute(delete(BatchSource).where(BatchSource.batch_id == batch_id))
    index_batch(db, batch_id, batch.header, spans_of(batch, repair_ms))


def find_batches(
    db: Session, box_id: str, source_id: str, lane: Lane, start_ms: int, end_ms: int, batches_max: int
) -> list[BatchRef]:
    """The batches with records of this source in [*start_ms*, *end_ms*); at most one more than *batches_max*."""
    query = (
        select(StoredBatch.box_id, StoredBatch.epoch, StoredBatch.lane, StoredBatch.seq, StoredBatch.sha256)
        .join(BatchSource, BatchSource.batch_id == StoredBatch.id)
        .where(
            BatchSource.box_id == box_id,
            BatchSource.source_id == source_id,
            BatchSource.lane == lane,
            BatchSource.first_ms < end_ms,
            BatchSource.last_ms >= start_ms,
            func.length(StoredBatch.raw) > 0,  # what was purged can prove nothing
        )
        .order_by(StoredBatch.box_id, StoredBatch.epoch, StoredBatch.lane, StoredBatch.seq)
        .limit(batches_max + 1)
    )
    return [BatchRef(*row) for row in db.execute(query)]


def batch_lines(batches: Iterable[BatchRef]) -> str:
    """The list of batches as text, one line each, in order."""
    return "".join(" ".join(map(str, ref)) + "\n" for ref in sorted(set(batches)))


def digest_of(batches: Iterable[BatchRef]) -> str:
    """The digest over a list of batches."""
    return sha256(batch_lines(batches).encode()).hexdigest()
