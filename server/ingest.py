"""Takes what boxes send: verified, deduplicated, and committed before the receipt.

One transaction holds the journal row, the points, the events and the alerts of a batch. Whatever cannot be
verified leaves no trace. The same batch twice is a duplicate; other bytes under a known identity are a conflict.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

from sqlalchemy import Table, bindparam, func, insert, or_, select, update
from sqlalchemy.orm import Session

from server.accounts import digest
from server.boxes.commands import take_result
from server.boxes.heartbeats import note_heartbeat
from server.boxes.keys import replace_key
from server.clock_repair import correct, note_batch, repaired
from server.dialects import lock_box
from server.gaps import note_lane
from server.life_cycle.raising import raise_alert
from server.life_cycle.record import tell
from server.life_cycle.rules import rules_in_force
from server.models import Alert, Box, EnrolmentCode, Evidence, StoredBatch, StoredEvent
from server.reports.sources import index_batch, spans_of
from server.rollout.desk import take_word
from server.series.points import readings_of
from server.series.record import insert_readings
from telemetry.batch import FIRST_PREVIOUS, Batch, BatchError, BatchHeader, read_header, sha256_hex
from telemetry.evidence import SealedEvidence
from telemetry.messages import Event, Receipt
from telemetry.signing import SIGNATURE_BYTES, PublicKey

Status = Literal["accepted", "duplicate", "rejected"]
OPENS = {"excursion_opened", "violation_opened", "sensor_fault", "camera_blind", "warning"}
UPDATES = {"excursion_updated", "violation_updated"}
MOMENTS = {"warning"}  # told once: nothing that goes on
CLOSES = {"excursion_closed", "violation_closed", "sensor_recovered", "camera_recovered"}


# The tables themselves, for the many rows of readings: mapped objects would cost more than the database
_JOURNAL, _BOX = cast(Table, StoredBatch.__table__), cast(Table, Box.__table__)
LAST_SEEN_STEP = timedelta(seconds=1)
# made once, as every batch runs them
_ADD = insert(_JOURNAL).returning(_JOURNAL.c.id)
_NEAR = select(_JOURNAL.c.seq, _JOURNAL.c.sha256, _JOURNAL.c.previous_sha256).where(
    _JOURNAL.c.box_id == bindparam("box_id"),
    _JOURNAL.c.epoch == bindparam("epoch"),
    _JOURNAL.c.lane == bindparam("lane"),
    _JOURNAL.c.seq.between(bindparam("first"), bindparam("last")),
)
_SEEN = (
    update(_BOX)
    .where(_BOX.c.id == bindparam("seen"), or_(_BOX.c.last_seen_at.is_(None), _BOX.c.last_seen_at < bindparam("old")))
    .values(last_seen_at=bindparam("now"))
)

# the kind of an alert whose event names none
KIND_OF_TYPE = {
    "excursion": "temperature_excursion",
    "violation": "violation",
    "sensor": "sensor_fault",
    "camera": "camera_blind",
    "warning": "temperature_warning",
}
_KIND = re.compile(r"[a-z][a-z0-9_]{0,39}")


class EnrolmentRefused(Exception):
    """The code is unknown, used or too old; which of them is not told."""


def enrol_box(db: Session, code: str, public_key: str, name: str) -> Box:
    """Make a box known, or give a known one the new key; the code is used up by it. Raises EnrolmentRefused or
    ValueError (the key)."""
    key = PublicKey.from_b64(public_key)
    now = datetime.now(UTC)
    row = db.get(EnrolmentCode, digest(code))
    if row is None or row.used_at is not None or row.expires_at < now:
        raise EnrolmentRefused
    row.used_at = now
    known = db.get(Box, row.box_id) if row.box_id else None
    if known is not None:
        replace_key(db, known, key, now)
        return known
    box = Box(id=f"box-{secrets.token_hex(6)}", name=name, site_id=row.site_id, public_key=key.b64, enrolled_at=now)
    db.add(box)
    db.flush()
    return box


def key_of(db: Session, box_id: str) -> PublicKey | None:
    """The public key of an enrolled box."""
    box = db.get(Box, box_id)
    return PublicKey.from_b64(box.public_key) if box else None


def verify_signature(raw: bytes, key_of: Callable[[str], PublicKey | None]) -> None:
    """Whether a known box signed these bytes, without unpacking them; raises BatchError."""
    header, _ = read_header(raw)
    key = key_of(header.box_id)
    if key is None:
        raise BatchError("unknown_box", f"no box {header.box_id} is enrolled here")
    if not key.verify(raw[-SIGNATURE_BYTES:], raw[:-SIGNATURE_BYTES]):
        raise BatchError("signature", f"the signature of box {header.box_id} does not fit these bytes")


@dataclass(frozen=True)
class _Near:
    """A stored batch close to the one that came."""

    sha256: str
    previous_sha256: str


def take_batch(db: Session, batch: Batch, *, series_here: bool = True) -> tuple[Receipt, list[Alert]]:
    """Store one verified batch; gives its receipt and the alerts that changed.

    Unless the series is *here*, in the record, its points are carried to their store from the journal, later.
    """
    header = batch.header
    status, reason, batch_id = journal_batch(db, header, batch.sha256, batch.raw)
    receipt = _receipt(batch, status, reason)
    if batch_id is None:
        return receipt, []
    index_batch(db, batch_id, header, spans_of(batch, note_batch(db, batch_id, batch)))
    if header.lane == "readings":
        if series_here:
            insert_readings(db, header.box_id, header.boot_id, readings_of(batch))
        return receipt, []
    box = db.get_one(Box, header.box_id)
    changed: dict[int, Alert] = {}
    for _, record in batch.records:
        if isinstance(record, Event):
            note_heartbeat(db, box.id, record)
            take_result(db, box, record)
            take_word(db, box, record)
            alerts = _take_event(db, box, repaired(db, box.id, header.boot_id, record))
            changed |= {alert.id: alert for alert in [*alerts, *correct(db, box.id, record, series_here=series_here)]}
    db.flush()
    return receipt, list(changed.values())


def journal_batch(db: Session, header: BatchHeader, sha256: str, raw: bytes) -> tuple[Status, str | None, int | None]:
    """Store the bytes of a verified batch; gives status, reason, and the number of its row if it was accepted.

    What is derived from it, its place in the index of sources as well, is left to the caller.
    """
    lock_box(db, header.box_id)
    near = _neighbours(db, header)
    if header.seq in near:
        if near[header.seq].sha256 == sha256:
            return "duplicate", None, None
        return "rejected", "conflict: other bytes are stored under this identity", None
    if not _fits(header, sha256, near):
        return "rejected", "chain: it does not follow the batch stored before it", None
    now = datetime.now(UTC)
    row = header.model_dump(include={"box_id", "epoch", "lane", "seq", "previous_sha256", "count"})
    batch_id = db.execute(_ADD, {**row, "sha256": sha256, "raw": raw, "received_at": now}).scalar_one()
    if header.seq - 1 not in near:
        note_lane(db, header)
    db.execute(_SEEN, {"seen": header.box_id, "old": now - LAST_SEEN_STEP, "now": now})
    return "accepted", None, batch_id


def _neighbours(db: Session, header: BatchHeader) -> dict[int, _Near]:
    """What is stored under this number, the one before and the one after."""
    lane = {"box_id": header.box_id, "epoch": header.epoch, "lane": header.lane}
    rows = db.execute(_NEAR, {**lane, "first": header.seq - 1, "last": header.seq + 1})
    return {row[0]: _Near(row[1], row[2]) for row in rows}


def _fits(header: BatchHeader, sha256: str, near: Mapping[int, _Near]) -> bool:
    """Whether the chain holds towards the stored neighbours; a missing neighbour is a gap, not a break."""
    before, after = near.get(header.seq - 1), near.get(header.seq + 1)
    previous = FIRST_PREVIOUS if header.seq == 1 else before.sha256 if before else header.previous_sha256
    return header.previous_sha256 == previous and (after is None or after.previous_sha256 == sha256)


def _receipt(batch: Batch, status: Status, reason: str | None) -> Receipt:
    header = batch.header
    return Receipt.model_validate(
        {
            "box_id": header.box_id,
            "epoch": header.epoch,
            "lane": header.lane,
            "seq": header.seq,
            "status": status,
            "reason": reason,
            "rejected_records": batch.rejected if status == "accepted" else [],
        }
    )


def _take_event(db: Session, box: Box, event: Event) -> list[Alert]:
    """Store an event once and carry it to its alert; gives the alert if it changed."""
    if db.get(StoredEvent, (event.event_id, box.id)) is not None:
        return []
    mine = (StoredEvent.incident_id == event.incident_id, StoredEvent.box_id == box.id)
    newest = db.scalar(select(func.max(StoredEvent.at)).where(*mine))
    db.add(
        StoredEvent(
            event_id=event.event_id,
            incident_id=event.incident_id,
            box_id=box.id,
            type=event.type,
            source_id=event.source_id,
            at=event.at,
            data=dict(event.data),
        )
    )
    db.flush()
    alert = db.scalar(select(Alert).where(Alert.incident_id == event.incident_id, Alert.box_id == box.id))
    if alert is None:
        return [open_alert(db, box, event)] if event.type in OPENS | UPDATES | CLOSES else []
    ended_now = event.type in CLOSES and alert.ended_at is None
    if event.type in CLOSES:
        alert.ended_at = event.at
    late = newest is not None and event.at < newest
    merged: dict[str, Any] = {**event.data, **alert.data} if late else {**alert.data, **event.data}
    if event.type in OPENS:  # it came after its own end
        merged = {**event.data, **alert.data}
        alert.opened_at = event.at
    alert.data = merged
    if ended_now:
        tell(db, alert, "end")
    return [alert]


def _kind_of(event: Event) -> str:
    """The kind that the event names, if it can be one; else what its type says."""
    kind = event.data.get("kind")
    if isinstance(kind, str) and _KIND.fullmatch(kind):
        return kind
    return KIND_OF_TYPE[event.type.split("_")[0]]


def open_alert(db: Session, box: Box, event: Event) -> Alert:
    """Raise the alert of the incident that *event* begins."""
    alert = Alert(
        incident_id=event.incident_id,
        site_id=box.site_id,
        box_id=box.id,
        kind=_kind_of(event),
        source_id=event.source_id,
        source_name=str(event.data.get("sensor_name") or event.data.get("camera_name") or event.source_id)[:80],
        place=str(event.data.get("place") or "")[:80],
        opened_at=event.at,
        ended_at=event.at if event.type in CLOSES | MOMENTS else None,
        data=dict(event.data),
    )
    raise_alert(db, alert, rules_in_force(), datetime.now(UTC))
    return alert


def take_evidence(db: Session, evidence: SealedEvidence) -> Alert | None:
    """Store a verified picture's manifest (its blob is in the blob store already); gives its alert."""
    manifest = evidence.manifest
    lock_box(db, manifest.box_id)
    mine = (Evidence.sha256 == manifest.sha256, Evidence.box_id == manifest.box_id)
    if db.scalar(select(Evidence.key).where(*mine, Evidence.signed_manifest == evidence.signed)) is None:
        db.add(
            Evidence(
                key=sha256_hex(evidence.signed),
                sha256=manifest.sha256,
                box_id=manifest.box_id,
                incident_id=manifest.incident_id,
                role=manifest.role,
                size_bytes=manifest.size_bytes,
                signed_manifest=evidence.signed,
                signature=evidence.signature,
                received_at=datetime.now(UTC),
            )
        )
        db.flush()
    return db.scalar(select(Alert).where(Alert.incident_id == manifest.incident_id, Alert.box_id == manifest.box_id))
