"""Carries out the rules: what may go, a tombstone for each, and only then the bytes.

A blob goes only when every row that names it lets it go; readings stay while a signed report or a hold of their site
needs them. Each step may be cut short and done again: a tombstone without ``done_at`` is finished by the next run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Select, String, and_, cast, delete, exists, func, select, union
from sqlalchemy.orm import Session

from server.audit import SYSTEM, note
from server.blob_port import BlobDamaged, BlobStore
from server.boxes.keys import KeyBook
from server.clock_repair import known_offset_ms
from server.database import writing
from server.models import Alert, AlertMove, Box, Evidence, Rectification, SeriesPoint, StoredBatch
from server.models_life_cycle import RectificationPhoto
from server.models_uplink import UnsyncedPoint
from server.reports.models import BatchSource, SignedReport
from server.reports.sources import widen
from server.retention.holds import active, alert_is_held
from server.retention.models import LegalHold, Tombstone
from server.retention.purged import add_tombstone, is_purged, never_purged
from server.retention.rules import RetentionRules, Rule
from server.series.points import points_of_batch
from server.series.port import to_ms
from telemetry.signing import Signer

AT_ONCE_MAX = 20


@dataclass(frozen=True)
class Purge:
    """One thing to purge: ``picture`` and its digest, or ``readings`` and the number of the batch."""

    kind: str
    ref: str
    rule: str
    size_bytes: int


def find_purges(db: Session, rules: RetentionRules, now: datetime) -> Iterator[Purge]:
    """What the rules let go now, each once."""
    seen: set[str] = set()
    for rule in rules.rules:
        if rule.what == "readings":
            yield from _readings(db, rule, now)
            continue
        for alert in db.scalars(_finished(rule, now)):
            for digest in _blobs_of(db, alert):
                if digest in seen:
                    continue
                seen.add(digest)
                if _may_go(db, digest, rules, now):
                    size_bytes = db.scalar(select(Evidence.size_bytes).where(Evidence.sha256 == digest).limit(1)) or 0
                    yield Purge("picture", digest, rule.name, size_bytes)


def _finished(rule: Rule, now: datetime) -> Select[Any]:
    """Alerts of the rule's states whose last move is old enough, and which nobody holds."""
    last_move = select(func.max(AlertMove.at)).where(AlertMove.alert_id == Alert.id).scalar_subquery()
    return (
        select(Alert)
        .where(Alert.state.in_(rule.states), last_move < rule.before(now), ~alert_is_held(now))
        .order_by(Alert.id)
    )


def _blobs_of(db: Session, alert: Alert) -> list[str]:
    """The digests of an alert's pictures and photos that were not purged yet."""
    pictures = select(Evidence.sha256.label("sha256")).where(
        Evidence.incident_id == alert.incident_id, Evidence.box_id == alert.box_id
    )
    mine = select(Rectification.id).where(Rectification.alert_id == alert.id)
    of_mine = RectificationPhoto.rectification_id.in_(mine)
    originals = select(RectificationPhoto.original_sha256).where(of_mine)
    shown = select(RectificationPhoto.photo_sha256).where(of_mine)
    named = union(pictures, originals, shown).subquery()
    return sorted(db.scalars(select(named.c.sha256).where(~is_purged("picture", named.c.sha256))))


def _may_go(db: Session, digest: str, rules: RetentionRules, now: datetime) -> bool:
    """Whether every row that names the blob belongs to an alert, and all of these let it go."""
    needed = union(*never_purged()).subquery()
    if db.scalar(select(needed.c[0]).where(needed.c[0] == digest).limit(1)) is not None:
        return False
    raised = (Evidence.incident_id == Alert.incident_id, Evidence.box_id == Alert.box_id)
    of_none = select(Evidence.key).where(Evidence.sha256 == digest, ~exists().where(*raised))
    if db.scalar(of_none.limit(1)) is not None:
        return False
    proofs = select(Rectification.alert_id).join(
        RectificationPhoto, RectificationPhoto.rectification_id == Rectification.id
    )
    shown = (RectificationPhoto.original_sha256 == digest) | (RectificationPhoto.photo_sha256 == digest)
    pictures = select(Alert.id.label("id")).join(Evidence, and_(*raised)).where(Evidence.sha256 == digest)
    owners = union(pictures, proofs.where(shown)).subquery()
    keepers = select(owners.c.id)
    for rule in rules.rules:
        if rule.what == "pictures":
            done = _finished(rule, now).with_only_columns(Alert.id).where(Alert.id.in_(select(owners.c.id)))
            keepers = keepers.where(owners.c.id.not_in(done.order_by(None)))
    return db.scalar(keepers.limit(1)) is None


def _readings(db: Session, rule: Rule, now: datetime) -> Iterator[Purge]:
    """Batches from before the rule's limit; none of a held site, none that a signed report rests on."""
    before = rule.before(now)
    before_ms = to_ms(before)
    last_ms = select(func.max(BatchSource.last_ms)).where(BatchSource.batch_id == StoredBatch.id).scalar_subquery()
    gone = is_purged("readings", cast(StoredBatch.id, String(64)))
    held = exists().where(LegalHold.site_id == Box.site_id, active(now))
    query = (
        select(StoredBatch.id, func.length(StoredBatch.raw), Box.site_id)
        .join(Box, Box.id == StoredBatch.box_id)
        .where(StoredBatch.lane == "readings", StoredBatch.received_at < before, last_ms < before_ms, ~gone, ~held)
        .order_by(StoredBatch.id)
    )
    reports = _report_spans(db)
    for batch_id, size_bytes, site_id in db.execute(query):
        spans = db.execute(
            select(func.min(BatchSource.first_ms), func.max(BatchSource.last_ms)).where(
                BatchSource.batch_id == batch_id
            )
        ).one()
        if not any(first <= spans[1] and spans[0] <= last for first, last in reports.get(site_id, [])):
            yield Purge("readings", str(batch_id), rule.name, size_bytes)


def _report_spans(db: Session) -> dict[int, list[tuple[float, float]]]:
    """The periods of the signed reports of each site, in ms since 1970 UTC."""
    spans: dict[int, list[tuple[float, float]]] = {}
    for site_id, start, end in db.execute(select(SignedReport.site_id, SignedReport.start, SignedReport.end)):
        spans.setdefault(site_id, []).append((start.timestamp() * 1000, end.timestamp() * 1000))
    return spans


def purge_portion(
    engine: Engine, blobs: BlobStore, signer: Signer, rules: RetentionRules, now: datetime
) -> Counter[str]:
    """Purge at most AT_ONCE_MAX things; how many of each rule. Raises BlobsUnavailable, OSError, SQLAlchemyError."""
    with Session(engine) as db:  # found without holding up those who write
        wanted = [purge for purge, _ in zip(find_purges(db, rules, now), range(AT_ONCE_MAX), strict=False)]
    done: Counter[str] = Counter()
    with Session(writing(engine)) as db, db.begin():
        if wanted:
            still = {(purge.kind, purge.ref) for purge in _still(db, wanted, rules, now)}
            for purge in wanted:
                if (purge.kind, purge.ref) in still:
                    add_tombstone(db, signer, purge.kind, purge.ref, purge.rule, purge.size_bytes, now)
                    done[purge.rule] += 1
            if done:
                note(db, SYSTEM, "retention.purge", ("rule", ", ".join(sorted(done))), dict(done))
    _finish(engine, blobs, rules, now)
    return done


def _still(db: Session, wanted: list[Purge], rules: RetentionRules, now: datetime) -> Iterator[Purge]:
    """What may go under the lock of the writers, too: a hold may have come."""
    return (purge for purge in wanted if _is_let_go(db, purge.kind, purge.ref, rules, now))


def _is_let_go(db: Session, kind: str, ref: str, rules: RetentionRules, now: datetime) -> bool:
    if kind == "picture":
        return _may_go(db, ref, rules, now)
    held = select(LegalHold.id).join(Box, Box.site_id == LegalHold.site_id)
    held = held.join(StoredBatch, StoredBatch.box_id == Box.id)
    return db.scalar(held.where(StoredBatch.id == int(ref), active(now)).limit(1)) is None


def _finish(engine: Engine, blobs: BlobStore, rules: RetentionRules, now: datetime) -> None:
    """Delete the bytes that tombstones speak of, in the transaction which says that it is done.

    A hold, or a row that needs them, may have come since: they stay, and the tombstone is withdrawn.
    """
    with Session(writing(engine)) as db, db.begin():
        waiting = select(Tombstone).where(Tombstone.done_at.is_(None), Tombstone.withdrawn_at.is_(None))
        for stone in db.scalars(waiting.order_by(Tombstone.id).limit(AT_ONCE_MAX)).all():
            if not _is_let_go(db, stone.kind, stone.ref, rules, now) and _has_bytes(db, blobs, stone):
                stone.withdrawn_at = now
                note(db, SYSTEM, "retention.keep", (stone.kind, stone.ref), {"rule": stone.rule})
                continue
            if stone.kind == "readings":
                _empty_batch(db, int(stone.ref))
            else:
                blobs.delete(stone.ref)
            stone.done_at = now


def _has_bytes(db: Session, blobs: BlobStore, stone: Tombstone) -> bool:
    """Whether there is something left: a purge that was cut short may have deleted it."""
    if stone.kind == "readings":
        return bool(db.get_one(StoredBatch, int(stone.ref)).raw)
    try:
        blobs.get(stone.ref)
    except KeyError:
        return False
    except BlobDamaged:
        return True
    return True


def _empty_batch(db: Session, batch_id: int) -> None:
    """Take the bytes out of a batch and its points out of the record's series; its place in the chain stays."""
    row = db.get_one(StoredBatch, batch_id)
    batch = KeyBook(db).opened(row.raw)
    row.raw = b""
    if batch is None:
        return
    repair_ms = known_offset_ms(db, row.box_id, batch.header.boot_id) or 0
    spans = widen((point.key, point.at_ms) for point in points_of_batch(batch, repair_ms))
    for key, (first_ms, last_ms) in spans.items():
        db.execute(
            delete(SeriesPoint).where(
                SeriesPoint.box_id == key.box_id, SeriesPoint.sensor_id == key.sensor_id,
                SeriesPoint.quantity == key.quantity, SeriesPoint.observed_at_ms.between(first_ms, last_ms),
            )
        )  # fmt: skip
    boot = (UnsyncedPoint.box_id == row.box_id, UnsyncedPoint.boot_id == batch.header.boot_id)
    db.execute(delete(UnsyncedPoint).where(*boot))
