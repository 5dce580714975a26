"""Walks the record and proves it: signatures, chains, pictures, alerts, reports, sealed rows, both logs, series.

Trusts no derived table. What the journal says is kept on disk meanwhile (`server.verify_scratch`), so that the memory
that it takes does not grow with the record.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import groupby

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from server.assets.expiry import verify_warnings
from server.assets.versions import verify_assets
from server.audit import verify_audit
from server.blob_port import BlobDamaged, BlobStore
from server.boxes.keys import KeyBook, place_of_key
from server.boxes.silence import AUDIT_ACTION
from server.clock_repair import offset_ms_of
from server.ingest import CLOSES, OPENS, UPDATES
from server.merkle.verification import HeldOutside, verify_log
from server.models import Alert, AlertMove, Evidence, StoredBatch, StoredEvent
from server.models_audit import AuditEntry
from server.models_life_cycle import RectificationPhoto
from server.reports.verification import verify_reports
from server.retention.purged import Purged, verify_tombstones
from server.seals.verification import verify_seals
from server.self_control.ledger import verify_records
from server.series.points import points_of_batch
from server.series.port import SeriesStore
from server.series.upkeep import carried_to
from server.verify_scratch import Scratch, scratch
from server.verify_series import Journal, verify_series
from telemetry.batch import FIRST_PREVIOUS, Batch, BatchError, open_batch
from telemetry.evidence import EvidenceError, verify_manifest
from telemetry.messages import Event

ROWS_AT_ONCE = 500
BATCHES_AT_ONCE = 20  # of up to 8 MiB


@dataclass
class Verification:
    """What was checked, what is wrong (``problems``) and which batches are missing (``gaps``; not an error)."""

    batches: int = 0
    readings: int = 0
    events: int = 0
    points: int = 0
    pictures: int = 0
    reports: int = 0
    audit_entries: int = 0
    self_control: int = 0
    assets: int = 0
    sealed_rows: int = 0
    log_leaves: int = 0
    log_heads: int = 0
    purged: int = 0
    alerts_by_kind: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)


def verify(db: Session, blobs: BlobStore, series: SeriesStore, held: HeldOutside | None = None) -> Verification:
    """Check the whole record, and the series against it. Raises SeriesUnavailable.

    *held* is what the caller has from elsewhere to check the Merkle log with.
    """
    found = Verification()
    held = held or HeldOutside()
    purged, tombstone_problems = verify_tombstones(db, held.keys)
    found.problems += tombstone_problems
    found.purged = len(purged.refs)
    position = carried_to(db, series.name)
    with scratch() as seen:
        journal = _verify_journal(db, found, seen, purged, position)
        _verify_derived(db, found, seen)
        _verify_pictures(db, blobs, found, seen, purged)
        reports = verify_reports(db, blobs)
        found.reports = reports.reports
        found.audit_entries, audit_problems = verify_audit(db)
        found.self_control, record_problems = verify_records(db)
        found.assets, asset_problems = verify_assets(db)
        found.sealed_rows, seal_problems = verify_seals(db)
        log = verify_log(db, held)
        found.log_leaves, found.log_heads = log.leaves, log.heads
        points = verify_series(db, series, journal)  # last: it may end the snapshot
    found.points = points.points
    found.problems += [*reports.problems, *audit_problems, *record_problems, *asset_problems]
    found.problems += [*seal_problems, *log.problems, *points.problems]
    found.gaps += [*reports.gaps, *log.gaps, *points.gaps]
    return found


def _read_corrections(db: Session) -> dict[tuple[str, str], int]:
    """The clock corrections that the boxes signed, by box and boot; the first to arrive counts."""
    offsets_ms: dict[tuple[str, str], int] = {}
    keys = KeyBook(db)
    events = select(StoredBatch.raw).where(StoredBatch.lane == "events").order_by(StoredBatch.id)
    for raw in db.scalars(events.execution_options(yield_per=BATCHES_AT_ONCE)):
        batch = keys.opened(raw)
        if batch is None:
            continue  # told when the journal is walked
        for _, record in batch.records:
            told = offset_ms_of(record) if isinstance(record, Event) else None
            if told is not None:
                offsets_ms.setdefault((batch.header.box_id, told[0]), told[1])
    return offsets_ms


def _verify_journal(db: Session, found: Verification, seen: Scratch, purged: Purged, position: int | None) -> Journal:
    offsets_ms = _read_corrections(db)
    order = (StoredBatch.box_id, StoredBatch.epoch, StoredBatch.lane, StoredBatch.seq)
    lane: tuple[str, str, str] | None = None
    seq, digest, last_id = 0, FIRST_PREVIOUS, 0
    newest_key: int | None = None  # that signed in this lane: how many came after it
    keys = KeyBook(db)
    for row in db.scalars(select(StoredBatch).order_by(*order).execution_options(yield_per=BATCHES_AT_ONCE)):
        name = f"batch {row.box_id}/{row.epoch[:8]}/{row.lane}/{row.seq}"
        found.batches += 1
        last_id = max(last_id, row.id)
        if (row.box_id, row.epoch, row.lane) != lane:
            lane, seq, digest = (row.box_id, row.epoch, row.lane), 0, FIRST_PREVIOUS
            newest_key = None
        if row.seq != seq + 1:
            found.gaps.append(f"{row.box_id}/{row.epoch[:8]}/{row.lane}: {seq + 1}-{row.seq - 1} missing")
        elif row.previous_sha256 != digest:
            found.problems.append(f"{name}: does not follow the batch before it")
        seq, digest = row.seq, row.sha256
        if not row.raw and ("readings", str(row.id)) in purged.refs:
            continue
        try:
            batch = open_batch(row.raw, keys.get)
        except BatchError as error:
            found.problems.append(f"{name}: {error}")
            continue
        header, digest = batch.header, batch.sha256
        signed_by = place_of_key(keys.get(header.box_id), batch)
        if newest_key is not None and signed_by > newest_key:
            found.problems.append(f"{name}: is signed by a key that was replaced before")
        newest_key = signed_by if newest_key is None else min(signed_by, newest_key)
        if batch.sha256 != row.sha256 or header.previous_sha256 != row.previous_sha256 or header.count != row.count:
            found.problems.append(f"{name}: its row does not describe its bytes")
        if (header.box_id, header.epoch, header.lane, header.seq) != (row.box_id, row.epoch, row.lane, row.seq):
            found.problems.append(f"{name}: its bytes are those of another batch")
        repair_ms = offsets_ms.get((header.box_id, header.boot_id), 0)
        _collect(batch, repair_ms, found, seen, carried=position is None or row.id <= position)
    found.problems += [f"box {box_id}: a key of it on record is no key" for box_id in keys.damaged]
    return Journal(seen, last_id, offsets_ms, purged.readings_to_ms)


def _collect(batch: Batch, repair_ms: int, found: Verification, seen: Scratch, *, carried: bool) -> None:
    box_id = batch.header.box_id
    points = points_of_batch(batch, repair_ms)
    found.readings += len(points)
    seen.add_points(points, carried=carried)
    for _, record in batch.records:
        offset_ms = 0 if record.clock_synced else repair_ms
        if isinstance(record, Event):
            found.events += 1
            at = record.at + timedelta(milliseconds=offset_ms)
            said = (record.incident_id, record.type, record.source_id, at, record.data)
            seen.add_event(box_id, record.event_id, _digest(*said))
            if record.type in OPENS | UPDATES | CLOSES:
                seen.add_incident(box_id, record.incident_id)
            evidence = record.data.get("evidence")
            seen.add_pictures(box_id, evidence if isinstance(evidence, list) else [])


def _digest(incident_id: str, kind: str, source_id: str, at: datetime, data: Mapping[str, object]) -> str:
    text = json.dumps([incident_id, kind, source_id, at.isoformat(), data], sort_keys=True)
    return sha256(text.encode()).hexdigest()


def _verify_derived(db: Session, found: Verification, seen: Scratch) -> None:
    for row in db.scalars(select(StoredEvent).execution_options(yield_per=ROWS_AT_ONCE)):
        said = seen.event(row.box_id, row.event_id)
        if said is None:
            found.problems.append(f"event {row.event_id}: in no batch")
        elif said != _digest(row.incident_id, row.type, row.source_id, row.at, row.data):
            found.problems.append(f"event {row.event_id}: says something else than its batch")
    found.problems += [f"event {event_id}: not stored" for event_id in seen.not_met("event")]
    here = _raised_here(db)
    kinds: Counter[str] = Counter()
    alerts = select(Alert.incident_id, Alert.kind, Alert.box_id).order_by(Alert.id)
    for incident_id, kind, box_id in db.execute(alerts.execution_options(yield_per=ROWS_AT_ONCE)):
        kinds[kind] += 1
        if box_id is None or seen.meet_incident(box_id, incident_id) or (box_id, incident_id) in here:
            continue
        found.problems.append(f"incident {incident_id}: its alert is in no batch")
    found.alerts_by_kind = dict(sorted(kinds.items()))
    found.problems += [f"incident {incident_id}: its alert is gone" for incident_id in seen.not_met("incident")]
    found.problems += verify_warnings(db)
    _verify_moves(db, found)


def _raised_here(db: Session) -> set[tuple[str, str]]:
    """Box and incident of what the centre itself raised: the chained audit log names each."""
    if not inspect(db.connection()).has_table(AuditEntry.__tablename__):
        return set()  # a record of before, which was not migrated
    entries = db.execute(select(AuditEntry.object_id, AuditEntry.detail).where(AuditEntry.action == AUDIT_ACTION))
    return {(box_id, str(detail.get("incident_id"))) for box_id, detail in entries}


def _verify_moves(db: Session, found: Verification) -> None:
    """Every alert's state is the end of an unbroken row of moves."""
    query = select(Alert.id, Alert.state, AlertMove.id, AlertMove.old_state, AlertMove.new_state)
    query = query.outerjoin(AlertMove, AlertMove.alert_id == Alert.id).order_by(Alert.id, AlertMove.id)
    rows = db.execute(query.execution_options(yield_per=ROWS_AT_ONCE))
    for (alert_id, state), moves in groupby(rows, key=lambda row: (row[0], row[1])):
        last: str | None = None
        for _, _, move_id, old_state, new_state in moves:
            if old_state != last:
                found.problems.append(f"alert {alert_id}: move {move_id} does not follow the move before it")
            last = new_state
        if last != state:
            found.problems.append(f"alert {alert_id}: no move led to its state {state}")


def _verify_pictures(db: Session, blobs: BlobStore, found: Verification, seen: Scratch, purged: Purged) -> None:
    known: set[str] = set()
    keys = KeyBook(db)
    follows: dict[str, str] = {}  # digest of the evidence before → a picture that names it
    blob = ""  # looked at last: rows may share one
    pictures = select(Evidence).order_by(Evidence.sha256, Evidence.key)
    for row in db.scalars(pictures.execution_options(yield_per=ROWS_AT_ONCE)):
        found.pictures += 1
        seen.meet_picture(row.box_id, row.sha256)
        try:
            manifest = verify_manifest(row.signed_manifest, row.signature, keys.get)
        except EvidenceError as error:
            found.problems.append(f"picture {row.sha256}: {error}")
            continue
        said = (manifest.sha256, manifest.incident_id, manifest.box_id, manifest.role, manifest.size_bytes)
        if said != (row.sha256, row.incident_id, row.box_id, row.role, row.size_bytes):
            found.problems.append(f"picture {row.sha256}: its manifest is that of another picture")
        known.add(sha256(row.signed_manifest).hexdigest())
        if manifest.previous_sha256 is not None:
            follows.setdefault(manifest.previous_sha256, row.sha256)
        if row.sha256 != blob:
            blob = row.sha256
            _verify_blob(blobs, blob, found, purged)
    waiting = seen.not_met("picture")
    found.gaps += [f"picture {digest}: announced by an event, not uploaded yet" for digest in waiting]
    found.gaps += [
        f"picture {follows[digest]}: the evidence before it in its chain is not here"
        for digest in sorted(follows.keys() - known)
    ]
    photos = select(RectificationPhoto.original_sha256, RectificationPhoto.photo_sha256)
    for original, shown in db.execute(photos.execution_options(yield_per=ROWS_AT_ONCE)):
        _verify_blob(blobs, original, found, purged)
        _verify_blob(blobs, shown, found, purged)


def _verify_blob(blobs: BlobStore, digest: str, found: Verification, purged: Purged) -> None:
    try:
        blobs.get(digest)
    except KeyError:
        if ("picture", digest) not in purged.refs:
            found.problems.append(f"picture {digest}: its bytes are missing")
    except BlobDamaged:
        found.problems.append(f"picture {digest}: its bytes were changed")
