"""The one place where a batch becomes points: ingest, the carrier, a rebuild and verify all ask here."""

from __future__ import annotations

from collections.abc import Iterable

from server.series.port import Point, to_ms
from telemetry.batch import Batch
from telemetry.messages import Reading


def points_of(box_id: str, readings: Iterable[Reading], repair_ms: int = 0) -> list[Point]:
    """The points of one box's readings, each at the millisecond nearest to its time.

    *repair_ms* is the clock correction of their boot; it counts for those that were taken before the clock was right.
    """
    return [
        Point(
            box_id,
            item.sensor_id,
            item.quantity,
            to_ms(item.observed_at) + (0 if item.clock_synced else repair_ms),
            item.value,
            item.quality,
        )
        for item in readings
    ]


def points_of_batch(batch: Batch, repair_ms: int = 0) -> list[Point]:
    """The points of one batch, see `points_of`."""
    return points_of(batch.header.box_id, readings_of(batch), repair_ms)


def readings_of(batch: Batch) -> list[Reading]:
    """The readings of one batch."""
    return [record for _, record in batch.records if isinstance(record, Reading)]
