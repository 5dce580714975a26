"""The one place where a batch becomes points: ingest, the carrier, a rebuild and verify all ask here."""

from __future__ import annotations

from collections.abc import Iterable

from server.series.port import Point
from telemetry.batch import Batch
from telemetry.messages import Reading


def points_of(box_id: str, readings: Iterable[Reading]) -> list[Point]:
    """The points of one box's readings, each at the millisecond nearest to its time."""
    return [
        Point(
            box_id, item.sensor_id, item.quantity, round(item.observed_at.timestamp() * 1000), item.value, item.quality
        )
        for item in readings
    ]


def points_of_batch(batch: Batch) -> list[Point]:
    """The points of one batch."""
    return points_of(batch.header.box_id, (record for _, record in batch.records if isinstance(record, Reading)))
