"""Walks the record and proves it: signatures, chains, pictures, alerts, reports, audit log. Trusts no derived table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from server.assets.expiry import verify_warnings
from server.audit import verify_audit
from server.blob_port import BlobDamaged, BlobStore
from server.boxes.keys import KeyBook
from server.boxes.silence import AUDIT_ACTION
from server.clock_repair import offset_ms_of
from server.ingest import CLOSES, OPENS, UPDATES
from server.models import Alert, AlertMove, Evidence, StoredBatch, StoredEvent
from server.models_audit import AuditEntry
from server.models_life_cycle import RectificationPhoto
from server.reports.verification import verify_reports
from server.self_control.ledger import verify_records
from server.series.journal import read_portions
from server.series.models import SeriesProblem
from server.series.points import points_of_batch
from server.series.port import Point, SeriesStore
from server.series.upkeep import carried_to, has_cursors
from telemetry.batch import FIRST_PREVIOUS, Batch, BatchError, open_batch
from telemetry.evidence import EvidenceError, verify_manifest
from telemetry.messages import Event


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
    alerts_by_kind: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)


def verify(db: Session, blobs: BlobStore, series: SeriesStore) -> Verification:
    """Check the whole record, and the series against it. Raises SeriesUnavailable."""
    found = Verification()
    position = carried_to(db, series.name)
    seen = _verify_journal(db, found, position)
    _verify_derived(db, found, seen)
    _verify_pictures(db, blobs, found, seen)
    reports = verify_reports(db, blobs)
    found.reports = reports.reports
    found.problems += reports.problems
    found.gaps += reports.gaps
    found.audit_entries, audit_problems = verify_audit(db)
    found.problems += audit_problems
    found.self_control, record_problems = verify_records(db)
    found.problems += record_problems
    _verify_points(db, series, found, seen)
    return found


PointKey = tuple[str, str, str, int]


@dataclass
class _Seen:
    points: set[Point] = field(default_factory=set)
    events: dict[str, str] = field(default_factory=dict)  # id → digest of what it says; the first one counts
    pictures: set[str] = field(default_factory=set)
    incidents: set[str] = field(default_factory=set)
    last_id: int = 0
    on_the_way: set[PointKey] = field(default_factory=set)  # in batches that were not carried to the series yet
    offsets_ms: dict[tuple[str, str], int] = field(default_factory=dict)  # (box, boot) → clock correction


def _read_corrections(db: Session) -> dict[tuple[str, str], int]:
    """The clock corrections that the boxes signed, by box and boot; the first to arrive counts."""
    offsets_ms: dict[tuple[str, str], int] = {}
    keys = KeyBook(db)
    events = select(StoredBatch.raw).where(StoredBatch.lane == "events").order_by(StoredBatch.id)
    for raw in db.scalars(events.execution_options(yield_per=200)):
        try:
            batch = open_batch(raw, keys.get)
        except BatchError:
            continue  # told when the journal is walked
        for _, record in batch.records:
            told = offset_ms_of(record) if isinstance(record, Event) else None
            if told is not None:
                offsets_ms.setdefault((batch.header.box_id, told[0]), told[1])
    return offsets_ms


def _verify_journal(db: Session, found: Verification, position: int | None) -> _Seen:
    seen = _Seen(offsets_ms=_read_corrections(db))
    order = (StoredBatch.box_id, StoredBatch.epoch, StoredBatch.lane, StoredBatch.seq)
    lane: tuple[str, str, str] | None = None
    seq, digest = 0, FIRST_PREVIOUS
    keys = KeyBook(db)
    for row in db.scalars(select(StoredBatch).order_by(*order).execution_options(yield_per=200)):
        name = f"batch {row.box_id}/{row.epoch[:8]}/{row.lane}/{row.seq}"
        found.batches += 1
        seen.last_id = max(seen.last_id, row.id)
        if (row.box_id, row.epoch, row.lane) != lane:
            lane, seq, digest = (row.box_id, row.epoch, row.lane), 0, FIRST_PREVIOUS
        try:
            batch = open_batch(row.raw, keys.get)
        except BatchError as error:
            found.problems.append(f"{name}: {error}")
            seq, digest = row.seq, row.sha256
            continue
        header = batch.header
        if batch.sha256 != row.sha256 or header.previous_sha256 != row.previous_sha256 or header.count != row.count:
            found.problems.append(f"{name}: its row does not describe its bytes")
        if (header.box_id, header.epoch, header.lane, header.seq) != (row.box_id, row.epoch, row.lane, row.seq):
            found.problems.append(f"{name}: its bytes are those of another batch")
        if row.seq == seq + 1 and header.previous_sha256 != digest:
            found.problems.append(f"{name}: does not follow the batch before it")
        if row.seq != seq + 1:
            found.gaps.append(f"{row.box_id}/{row.epoch[:8]}/{row.lane}: {seq + 1}-{row.seq - 1} missing")
        seq, digest = row.seq, batch.sha256
        _collect(batch, found, seen, carried=position is None or row.id <= position)
    return seen


def _collect(batch: Batch, found: Verification, seen: _Seen, *, carried: bool) -> None:
    box_id = batch.header.box_id
    repair_ms = seen.offsets_ms.get((box_id, batch.header.boot_id), 0)
    points = points_of_batch(batch, repair_ms)
    found.readings += len(points)
    seen.points.update(points)
    if not carried:
        seen.on_the_way.update(point[:4] for point in points)
    for _, record in batch.records:
        offset_ms = 0 if record.clock_synced else repair_ms
        if isinstance(record, Event):
            found.events += 1
            at = record.at + timedelta(milliseconds=offset_ms)
            said = (box_id, record.incident_id, record.type, record.source_id, at, record.data)
            seen.events.setdefault(record.event_id, _digest(*said))
            if record.type in OPENS | UPDATES | CLOSES:
                seen.incidents.add(record.incident_id)
            evidence = record.data.get("evidence")
            seen.pictures.update(evidence if isinstance(evidence, list) else [])


def _digest(box_id: str, incident_id: str, kind: str, source_id: str, at: datetime, data: Mapping[str, object]) -> str:
    text = json.dumps([box_id, incident_id, kind, source_id, at.isoformat(), data], sort_keys=True)
    return sha256(text.encode()).hexdigest()


def _verify_derived(db: Session, found: Verification, seen: _Seen) -> None:
    stored_events = {
        row.event_id: _digest(row.box_id, row.incident_id, row.type, row.source_id, row.at, row.data)
        for row in db.scalars(select(StoredEvent).execution_options(yield_per=500))
    }
    for event_id in sorted(seen.events.keys() ^ stored_events.keys()):
        found.problems.append(f"event {event_id}: {'not stored' if event_id in seen.events else 'in no batch'}")
    for event_id in sorted(seen.events.keys() & stored_events.keys()):
        if seen.events[event_id] != stored_events[event_id]:
            found.problems.append(f"event {event_id}: says something else than its batch")
    rows = db.execute(select(Alert.incident_id, Alert.kind, Alert.box_id)).all()
    found.alerts_by_kind = dict(sorted(Counter(kind for _, kind, _ in rows).items()))
    alerts = {incident_id for incident_id, _, box_id in rows if box_id is not None}
    for incident_id in sorted(seen.incidents - alerts):
        found.problems.append(f"incident {incident_id}: its alert is gone")
    for incident_id in sorted(alerts - seen.incidents - _raised_here(db)):
        found.problems.append(f"incident {incident_id}: its alert is in no batch")
    found.problems += verify_warnings(db)
    _verify_moves(db, found)


def _raised_here(db: Session) -> set[str]:
    """The incidents that the centre itself raised: the chained audit log names each."""
    if not inspect(db.connection()).has_table(AuditEntry.__tablename__):
        return set()  # a record of before, which was not migrated
    details = db.scalars(select(AuditEntry.detail).where(AuditEntry.action == AUDIT_ACTION))
    return {str(detail.get("incident_id")) for detail in details}


def _verify_moves(db: Session, found: Verification) -> None:
    """Every alert's state is the end of an unbroken row of moves."""
    moves: dict[int, str | None] = {}
    for move in db.scalars(select(AlertMove).order_by(AlertMove.id).execution_options(yield_per=500)):
        if move.old_state != moves.get(move.alert_id):
            found.problems.append(f"alert {move.alert_id}: move {move.id} does not follow the move before it")
        moves[move.alert_id] = move.new_state
    for alert_id, state in db.execute(select(Alert.id, Alert.state)):
        if moves.get(alert_id) != state:
            found.problems.append(f"alert {alert_id}: no move led to its state {state}")


def _verify_points(db: Session, series: SeriesStore, found: Verification, seen: _Seen) -> None:
    """The series holds what the journal says, but for what is on the way or was refused; and nothing else."""
    stored = {
        point
        for key, extent in series.extents().items()
        for point in series.range(key, extent.first_ms, extent.last_ms)
    }
    found.points = len(stored)
    refused = _refused(db, series.name, found, seen)
    foreign = stored - seen.points
    if foreign:  # a store outside of the record may have points of batches that came during this walk
        db.commit()
        foreign -= {
            point for portion in read_portions(db, seen.last_id) for _, some in portion.points for point in some
        }
    for point in sorted(foreign, key=lambda point: point[:4]):
        found.problems.append(f"point {point.sensor_id} at {point.at_ms}: {point.value} is in no batch")
    missing = {point[:4] for point in seen.points} - {point[:4] for point in stored} - refused
    on_the_way = missing & seen.on_the_way
    if on_the_way:
        found.gaps.append(f"series: {len(on_the_way)} readings are on the way to {series.name}")
    for name in sorted(missing - on_the_way):
        found.problems.append(f"point {name[1]} at {name[3]}: is in a batch but not in the series")


def _refused(db: Session, store_name: str, found: Verification, seen: _Seen) -> set[PointKey]:
    """The points that the store would not take; each problem is told."""
    names: set[PointKey] = set()
    if not has_cursors(db):
        return names
    mine = select(SeriesProblem, StoredBatch).join(StoredBatch, StoredBatch.id == SeriesProblem.batch_id)
    for problem, row in db.execute(mine.where(SeriesProblem.store == store_name)):
        where = f"batch {row.box_id}/{row.epoch[:8]}/{row.lane}/{row.seq}"
        if problem.sensor_id is None or problem.quantity is None or problem.observed_at_ms is None:
            found.gaps.append(f"series: {where}: {problem.reason}")
            names |= {point[:4] for point in _points_in(db, row, seen)}
            continue
        found.gaps.append(f"series: {where}: {problem.sensor_id} at {problem.observed_at_ms} refused: {problem.reason}")
        names.add((row.box_id, problem.sensor_id, problem.quantity, problem.observed_at_ms))
    return names


def _points_in(db: Session, row: StoredBatch, seen: _Seen) -> list[Point]:
    try:
        batch = open_batch(row.raw, KeyBook(db).get)
    except BatchError:
        return []  # told by the walk over the journal
    return points_of_batch(batch, seen.offsets_ms.get((batch.header.box_id, batch.header.boot_id), 0))


def _verify_pictures(db: Session, blobs: BlobStore, found: Verification, seen: _Seen) -> None:
    missing = seen.pictures - set(db.scalars(select(Evidence.sha256)))
    found.gaps += [f"picture {digest}: announced by an event, not uploaded yet" for digest in sorted(missing)]
    known: set[str] = set()
    keys = KeyBook(db)
    follows: dict[str, str] = {}  # digest of the evidence before → a picture that names it
    for row in db.scalars(select(Evidence)):
        found.pictures += 1
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
        _verify_blob(blobs, row.sha256, found)
    found.gaps += [
        f"picture {follows[digest]}: the evidence before it in its chain is not here"
        for digest in sorted(follows.keys() - known)
    ]
    for original, shown in db.execute(select(RectificationPhoto.original_sha256, RectificationPhoto.photo_sha256)):
        _verify_blob(blobs, original, found)
        _verify_blob(blobs, shown, found)


def _verify_blob(blobs: BlobStore, digest: str, found: Verification) -> None:
    try:
        blobs.get(digest)
    except KeyError:
        found.problems.append(f"picture {digest}: its bytes are missing")
    except BlobDamaged:
        found.problems.append(f"picture {digest}: its bytes were changed")
