"""What the outbox tests share: records, a box's key, and a walk over everything an outbox still gives."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from telemetry.batch import Batch, open_batch
from telemetry.messages import Event, Lane, Reading, Receipt
from telemetry.outbox import Outbox, Pending
from telemetry.signing import Signer

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SIGNER = Signer.generate()


def reading(number: int) -> Reading:
    return Reading(sensor_id="s", quantity="temperature", value=float(number), unit="°C", observed_at=AT)


def event(number: int) -> Event:
    name = f"e{number}"
    return Event(event_id=name, incident_id=name, type="sensor_fault", severity="warning", source_id="s", at=AT)


def make(
    folder: Path,
    *,
    batch_records: int = 1,
    reserve_bytes: int = 64 * 1024,
    readings_bytes_max: int = 10**9,
    delivered_bytes_max: int = 10**6,
) -> Outbox:
    return Outbox.open(
        folder / "outbox.sqlite", "box-1", SIGNER, boot_id="boot", batch_records=batch_records,
        reserve_bytes=reserve_bytes, readings_bytes_max=readings_bytes_max, delivered_bytes_max=delivered_bytes_max,
    )  # fmt: skip


def receipt(batch: Pending, status: str = "accepted", reason: str = "why") -> Receipt:
    return Receipt.model_validate(
        {
            "box_id": "box-1",
            "epoch": batch.epoch,
            "lane": batch.lane,
            "seq": batch.seq,
            "status": status,
            "reason": reason,
        }
    )


def waiting(outbox: Outbox, lane: Lane) -> list[Pending]:
    return outbox.pending(lane, records_max=10**6, bytes_max=10**9)


def opened(outbox: Outbox, lane: Lane) -> Iterator[Batch]:
    for item in waiting(outbox, lane):
        yield open_batch(item.raw, lambda _: SIGNER.public_key)


def values(outbox: Outbox) -> list[float | None]:
    """The values of all waiting readings, in order."""
    records = (record for batch in opened(outbox, "readings") for _, record in batch.records)
    return [record.value for record in records if isinstance(record, Reading)]


def events(outbox: Outbox) -> list[Event]:
    """All waiting events, in order."""
    records = (record for batch in opened(outbox, "events") for _, record in batch.records)
    return [record for record in records if isinstance(record, Event)]


def gaps(outbox: Outbox, reason: str) -> list[Event]:
    return [item for item in events(outbox) if item.type == "data_gap" and item.data["reason"] == reason]
