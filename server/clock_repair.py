"""Repairs times that a box told before its clock was right; what it told stays in the journal and in tables of its own.

Within one boot a box counts steadily even from a wrong start, so one number per boot mends all: the box tells it in
a `clock_corrected` event, before or after the records it is about. The first such event of a boot counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, insert, select, tuple_, update
from sqlalchemy.orm import Session

from server.boxes.keys import KeyBook
from server.dialects import insert_new
from server.models import Alert, SeriesPoint, StoredBatch, StoredEvent
from server.models_uplink import ClockCorrection, UnsyncedBatch, UnsyncedEvent, UnsyncedPoint
from server.reports.models import BatchSource
from server.reports.sources import move_batch
from server.series.port import to_ms
from telemetry.batch import Batch
from telemetry.messages import Event, Reading

OFFSET_S_MAX = 100 * 366 * 86_400
ROWS_MAX = 200
_POINT_KEY = (SeriesPoint.box_id, SeriesPoint.sensor_id, SeriesPoint.quantity, SeriesPoint.observed_at_ms)


def offset_ms_of(event: Event) -> tuple[str, int] | None:
    """The boot and the milliseconds that a `clock_corrected` event tells; None if it is none or makes no sense."""
    boot_id, offset_s = event.data.get("boot_id"), event.data.get("offset_s")
    if event.type != "clock_corrected" or not isinstance(boot_id, str) or isinstance(offset_s, bool):
        return None
    if not isinstance(offset_s, int | float) or abs(offset_s) > OFFSET_S_MAX:
        return None
    return boot_id[:64], round(offset_s * 1000)


def known_offset_ms(db: Session, box_id: str, boot_id: str) -> int | None:
    return db.scalar(
        select(ClockCorrection.offset_ms).where(ClockCorrection.box_id == box_id, ClockCorrection.boot_id == boot_id)
    )


def signed_offset_ms(db: Session, keys: KeyBook, box_id: str, boot_id: str) -> int | None:
    """The correction of a boot, read again from the signed batch that told it; None when none proves it."""
    event_id = db.scalar(
        select(ClockCorrection.event_id).where(ClockCorrection.box_id == box_id, ClockCorrection.boot_id == boot_id)
    )
    event = None if event_id is None else db.get(StoredEvent, (event_id, box_id))
    if event is None:
        return None
    told_in = (
        select(StoredBatch.raw)
        .join(BatchSource, BatchSource.batch_id == StoredBatch.id)
        .where(BatchSource.box_id == box_id, BatchSource.lane == "events", BatchSource.source_id == event.source_id)
        .where(BatchSource.first_ms <= to_ms(event.at), BatchSource.last_ms >= to_ms(event.at))
        .order_by(StoredBatch.id)
    )
    for raw in db.scalars(told_in):
        batch = keys.opened(raw)
        for _, record in batch.records if batch else ():
            told = offset_ms_of(record) if isinstance(record, Event) and record.event_id == event_id else None
            if told is not None and told[0] == boot_id:
                return told[1]
    return None


def write_unsynced(db: Session, box_id: str, boot_id: str, readings: Sequence[Reading]) -> None:
    """Store points whose times are not sure: at the corrected time if the correction is known, else as told."""
    offset_ms = known_offset_ms(db, box_id, boot_id)
    keys = [(box_id, reading.sensor_id, reading.quantity, to_ms(reading.observed_at)) for reading in readings]
    taken = set() if offset_ms is not None else _taken(db, keys)
    points, told = [], []
    for (_, sensor_id, quantity, told_ms), reading in zip(keys, readings, strict=True):
        series = {"box_id": box_id, "sensor_id": sensor_id, "quantity": quantity}
        value = {"value": reading.value, "quality": reading.quality}
        shown = offset_ms is None and (box_id, sensor_id, quantity, told_ms) not in taken
        told.append({**series, **value, "boot_id": boot_id, "told_ms": told_ms, "shown": shown})
        if shown or offset_ms is not None:
            points.append({**series, **value, "observed_at_ms": told_ms + (offset_ms or 0)})
    if points:
        insert_new(db, SeriesPoint, points)
    db.execute(insert(UnsyncedPoint), told)


PointKey = tuple[str, str, str, int]


def _taken(db: Session, keys: Sequence[PointKey]) -> set[PointKey]:
    """The keys that the series holds already."""
    found: set[PointKey] = set()
    for start in range(0, len(keys), ROWS_MAX):
        rows = db.execute(select(*_POINT_KEY).where(tuple_(*_POINT_KEY).in_(keys[start : start + ROWS_MAX])))
        found |= {(row[0], row[1], row[2], row[3]) for row in rows}
    return found


def note_batch(db: Session, batch_id: int, batch: Batch) -> int:
    """Keep in mind that a batch waits for the correction of its boot; gives the milliseconds if they are known."""
    if all(record.clock_synced for _, record in batch.records):
        return 0
    header = batch.header
    offset_ms = known_offset_ms(db, header.box_id, header.boot_id)
    if offset_ms is None:
        db.add(UnsyncedBatch(batch_id=batch_id, box_id=header.box_id, boot_id=header.boot_id))
    return offset_ms or 0


def repaired(db: Session, box_id: str, boot_id: str, event: Event) -> Event:
    """The event as it is to be stored: at the corrected time if that is known; what was told is kept."""
    if event.clock_synced or db.get(UnsyncedEvent, (event.event_id, box_id)) is not None:
        return event
    db.add(UnsyncedEvent(event_id=event.event_id, box_id=box_id, boot_id=boot_id, told_at=event.at))
    offset_ms = known_offset_ms(db, box_id, boot_id)
    return event if offset_ms is None else _moved(event, offset_ms)


def _moved(event: Event, offset_ms: int) -> Event:
    return event.model_copy(update={"at": event.at + timedelta(milliseconds=offset_ms)})


def correct(db: Session, box_id: str, event: Event, *, series_here: bool) -> list[Alert]:
    """Carry out a `clock_corrected` event on all that is stored of that boot; gives the alerts whose times changed.

    Unless the series is *here*, in the record, its batches are marked for the carrier to write their points anew.
    """
    told = offset_ms_of(event)
    if told is None or db.get(ClockCorrection, (box_id, told[0])) is not None:
        return []
    boot_id, offset_ms = told
    db.add(ClockCorrection(box_id=box_id, boot_id=boot_id, offset_ms=offset_ms, event_id=event.event_id))
    db.flush()
    _correct_points(db, box_id, boot_id, offset_ms)
    _correct_batches(db, box_id, boot_id, offset_ms, series_here=series_here)
    return _correct_events(db, box_id, boot_id, timedelta(milliseconds=offset_ms))


def _correct_points(db: Session, box_id: str, boot_id: str, offset_ms: int) -> None:
    """Move the points of one series after the other: first all away, then all to their new places."""
    mine = (UnsyncedPoint.box_id == box_id, UnsyncedPoint.boot_id == boot_id)
    names = db.execute(select(UnsyncedPoint.sensor_id, UnsyncedPoint.quantity).where(*mine).distinct()).all()
    for sensor_id, quantity in names:
        this = (*mine, UnsyncedPoint.sensor_id == sensor_id, UnsyncedPoint.quantity == quantity)
        rows = db.execute(
            select(UnsyncedPoint.told_ms, UnsyncedPoint.value, UnsyncedPoint.quality, UnsyncedPoint.shown).where(*this)
        ).all()
        shown = [(box_id, sensor_id, quantity, row[0]) for row in rows if row[3]]
        for start in range(0, len(shown), ROWS_MAX):
            db.execute(delete(SeriesPoint).where(tuple_(*_POINT_KEY).in_(shown[start : start + ROWS_MAX])))
        points = [
            {"box_id": box_id, "sensor_id": sensor_id, "quantity": quantity, "observed_at_ms": row[0] + offset_ms,
             "value": row[1], "quality": row[2]}
            for row in rows
        ]  # fmt: skip
        insert_new(db, SeriesPoint, points)


def _correct_batches(db: Session, box_id: str, boot_id: str, offset_ms: int, *, series_here: bool) -> None:
    """Put the batches of the boot where their true times are, so that reports, holds and bundles find them."""
    mine = (UnsyncedBatch.box_id == box_id, UnsyncedBatch.boot_id == boot_id)
    keys = KeyBook(db)
    for batch_id in db.scalars(select(UnsyncedBatch.batch_id).where(*mine).order_by(UnsyncedBatch.batch_id)).all():
        batch = keys.opened(db.scalar(select(StoredBatch.raw).where(StoredBatch.id == batch_id)))
        if batch is not None:
            move_batch(db, batch_id, batch, offset_ms)
    if series_here:
        db.execute(delete(UnsyncedBatch).where(*mine))
    else:
        db.execute(update(UnsyncedBatch).where(*mine).values(offset_ms=offset_ms))


def _correct_events(db: Session, box_id: str, boot_id: str, offset: timedelta) -> list[Alert]:
    changed: dict[int, Alert] = {}
    mine = select(UnsyncedEvent).where(UnsyncedEvent.box_id == box_id, UnsyncedEvent.boot_id == boot_id)
    for unsynced in db.scalars(mine):
        stored = db.get(StoredEvent, (unsynced.event_id, box_id))
        if stored is None or stored.at != unsynced.told_at:
            continue
        stored.at += offset
        alert = db.scalar(select(Alert).where(Alert.incident_id == stored.incident_id, Alert.box_id == box_id))
        if alert is None:
            continue
        if alert.opened_at == unsynced.told_at:
            alert.opened_at += offset
            changed[alert.id] = alert
        if alert.ended_at == unsynced.told_at:
            alert.ended_at += offset
            changed[alert.id] = alert
    db.flush()
    return list(changed.values())
