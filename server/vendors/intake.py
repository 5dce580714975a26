"""Takes other vendors' events into the record: signed by the centre itself, journalled like a box's, once each.

A source at a site is a box of its own whose key is derived from the instance's secret; so `verify`, exports and alerts
need to know nothing of vendors. Another secret makes another box: what the former one signed keeps its key. The JSON of
the vendor is kept beside it, whole.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.accounts import digest
from server.ingest import take_batch
from server.key_files import make_once
from server.models import Alert, Box, Site, StoredBatch
from server.models_notification import VendorEvent, VendorSource
from server.vendors.mapping import Told, mappings, read_event
from telemetry.batch import FIRST_PREVIOUS, BatchHeader, open_batch, seal_batch
from telemetry.messages import Event
from telemetry.signing import Signer

KEY_FILE = "vendors.key"
KEY_BYTES = 32
BOX_ID_CHARACTERS_MAX = 64
PRINT_CHARACTERS = 8
EPOCH = "centre"
UNKNOWN_KIND = "vendor_event"


class UnknownSource(Exception):
    """No such token for this source."""


def ensure_secret(data_dir: Path) -> bytes:
    """The secret from which the keys of all sources come, made once and readable by its owner only."""
    return make_once(data_dir / KEY_FILE, lambda: secrets.token_bytes(KEY_BYTES))


def _signer(secret: bytes, box_id: str) -> Signer:
    seed = HKDF(hashes.SHA256(), KEY_BYTES, None, f"brightline vendor {box_id}".encode()).derive(secret)
    return Signer(Ed25519PrivateKey.from_private_bytes(seed))


def _speaker(db: Session, secret: bytes, source: str, site_id: int) -> tuple[Box, Signer]:
    """The box that stands for a source at a site under this secret, and its key."""
    box_id = f"vendor-{site_id}-{source}"[:BOX_ID_CHARACTERS_MAX]
    signer = _signer(secret, box_id)
    box = db.get(Box, box_id)
    if box is not None and box.public_key != signer.public_key.b64:
        print_of_key = hashlib.sha256(signer.public_key.raw).hexdigest()[:PRINT_CHARACTERS]
        box_id = f"{box_id[: BOX_ID_CHARACTERS_MAX - PRINT_CHARACTERS - 1]}-{print_of_key}"
        signer = _signer(secret, box_id)
        box = db.get(Box, box_id)
    if box is None:
        key, now = signer.public_key.b64, datetime.now(UTC)
        box = Box(id=box_id, name=source, site_id=site_id, public_key=key, enrolled_at=now)
        db.add(box)
        db.flush()
    return box, signer


def add_source(db: Session, secret: bytes, source: str, site: Site) -> str:
    """Let a source speak for a site; gives its token, which is shown once. Raises ValueError for an unknown source."""
    if source not in mappings():
        raise ValueError(f"there is no mapping {source!r}; there are: {', '.join(mappings())}")
    box, _ = _speaker(db, secret, source, site.id)
    token = f"blv_{secrets.token_urlsafe(32)}"
    row = VendorSource(
        token_sha256=digest(token), source=source, site_id=site.id, box_id=box.id, created_at=datetime.now(UTC)
    )
    db.add(row)
    db.flush()
    return token


def revoke_sources(db: Session, source: str, site: Site) -> int:
    """Make all tokens of a source at a site void; how many there were."""
    live = select(VendorSource).where(
        VendorSource.source == source, VendorSource.site_id == site.id, VendorSource.revoked_at.is_(None)
    )
    rows = list(db.scalars(live))
    for row in rows:
        row.revoked_at = datetime.now(UTC)
    return len(rows)


def find_source(db: Session, token: str, source: str) -> VendorSource:
    """Who speaks with this token; raises UnknownSource."""
    row = db.get(VendorSource, digest(token))
    if row is None or row.revoked_at is not None or row.source != source or source not in mappings():
        raise UnknownSource
    return row


def take_event(
    db: Session, secret: bytes, who: VendorSource, body: Mapping[str, Any]
) -> tuple[VendorEvent, Alert | None, bool]:
    """Store one event within the caller's writing transaction; the row, its alert, and whether it is new.

    The same number again is the same event, whatever else it says. Raises ValueError for what is no event at all.
    """
    zone = ZoneInfo(db.get_one(Site, who.site_id).time_zone)
    told = read_event(mappings()[who.source], body, zone)
    box, signer = _speaker(db, secret, who.source, who.site_id)
    who.box_id = box.id
    db.refresh(box, with_for_update=True)  # one event of a source at a time: its batches are a chain
    key = hashlib.sha256(told.id.encode()).hexdigest()
    known = db.scalar(select(VendorEvent).where(VendorEvent.box_id == who.box_id, VendorEvent.event_key == key))
    if known is not None:
        mine = (Alert.incident_id == known.incident_id, Alert.box_id == known.box_id)
        return known, db.scalar(select(Alert).where(*mine)), False
    now = datetime.now(UTC)
    incident_id = hashlib.sha256(f"{who.box_id}\n{told.id}".encode()).hexdigest()[:40]
    row = VendorEvent(
        box_id=who.box_id, event_key=key, code=told.code, kind=told.kind, incident_id=incident_id, received_at=now,
        body=dict(body),
    )  # fmt: skip
    db.add(row)
    alerts = _journal(db, signer, who, _event(told, who, incident_id, now), now)
    db.flush()
    return row, alerts[0] if alerts else None, True


def _event(told: Told, who: VendorSource, incident_id: str, now: datetime) -> Event:
    data: dict[str, Any] = {
        "kind": told.kind or UNKNOWN_KIND,
        "camera_name": told.camera or who.source,
        "place": told.place,
        "vendor": who.source,
        "vendor_code": told.code,
    }
    if told.confirm:
        data["needs_confirmation"] = True
    source_id = hashlib.sha256((told.camera or who.source).encode()).hexdigest()[:16]
    return Event(
        event_id=f"{incident_id}.opened",
        incident_id=incident_id,
        type="violation_opened",
        severity="critical" if told.confirm else "warning",
        source_id=f"vendor-{source_id}",
        at=min(told.at or now, now),
        data=data,
    )


def _journal(db: Session, signer: Signer, who: VendorSource, event: Event, now: datetime) -> list[Alert]:
    """Seal the event as the next batch of its source and take it as if a box had sent it."""
    last = db.scalar(
        select(StoredBatch)
        .where(StoredBatch.box_id == who.box_id, StoredBatch.epoch == EPOCH, StoredBatch.lane == "events")
        .order_by(StoredBatch.seq.desc())
        .limit(1)
    )
    header = BatchHeader(
        box_id=who.box_id, epoch=EPOCH, lane="events", seq=last.seq + 1 if last else 1,
        previous_sha256=last.sha256 if last else FIRST_PREVIOUS, created_at=now, count=1, boot_id=EPOCH,
    )  # fmt: skip
    batch = open_batch(seal_batch(header, [event], signer), lambda _: signer.public_key)
    receipt, alerts = take_batch(db, batch)
    assert receipt.status == "accepted", "the next batch of a chain fits"
    return alerts
