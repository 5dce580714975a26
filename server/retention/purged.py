"""Tombstones: what was purged by a rule, signed, so that `verify` tells a purge from a loss.

One that was withdrawn counts for nothing: its bytes stayed, or came again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import BigInteger, ColumnElement, Select, cast, func, inspect, select
from sqlalchemy.orm import Session

from server.merkle.checkpoint import LogKey
from server.merkle.leaves import leaf_data
from server.merkle.log import known_keys
from server.models import StoredBatch
from server.reports.models import BatchSource, ReportFile
from server.retention.models import Tombstone
from server.rollout.models import Release
from telemetry.signing import Signer


@dataclass(frozen=True)
class Purged:
    """Kind and key of what may be missing, and up to when the readings of a box were purged (ms since 1970 UTC)."""

    refs: frozenset[tuple[str, str]] = frozenset()
    readings_to_ms: dict[str, int] = field(default_factory=dict)


def add_tombstone(
    db: Session, signer: Signer, kind: str, ref: str, rule: str, size_bytes: int, now: datetime
) -> Tombstone:
    """Say in the caller's transaction that something is purged by *rule*."""
    key = LogKey.of(signer.public_key).name
    stone = Tombstone(kind=kind, ref=ref, rule=rule, size_bytes=size_bytes, at=now, key=key)
    stone.signature = signer.sign(_signed(stone))
    db.add(stone)
    return stone


def is_purged(kind: str, ref: ColumnElement[str]) -> ColumnElement[bool]:
    """The condition that a tombstone speaks of *ref*."""
    counts = (Tombstone.kind == kind, Tombstone.ref == ref, Tombstone.withdrawn_at.is_(None))
    return select(Tombstone.id).where(*counts).exists()


def never_purged() -> list[Select[str]]:
    """The digests of blobs that no rule lets go, whatever picture has the same bytes."""
    models = select(Release.model_sha256).where(Release.kind == "model")
    return [select(ReportFile.sha256), select(Release.sha256), models]


def recall_blobs(db: Session, digests: Iterable[str], now: datetime) -> bool:
    """Withdraw the tombstones of blobs that a row of the caller's transaction needs; whether there were any.

    If so the bytes are put once more, in that transaction: no purge runs beside it.
    """
    counts = (Tombstone.kind == "picture", Tombstone.ref.in_(list(digests)), Tombstone.withdrawn_at.is_(None))
    stones = db.scalars(select(Tombstone).where(*counts)).all()
    for stone in stones:
        stone.withdrawn_at = now
    return bool(stones)


def _signed(stone: Tombstone) -> bytes:
    fields = [stone.kind, stone.ref, stone.rule, stone.size_bytes, stone.at, stone.key]
    return b"brightline tombstone\n" + leaf_data("tombstone", fields)


def verify_tombstones(db: Session, keys: list[LogKey] | None) -> tuple[Purged, list[str]]:
    """What was purged, and the tombstones that no known key signed: they excuse nothing."""
    if not inspect(db.connection()).has_table(Tombstone.__tablename__):
        return Purged(), []
    by_name = {key.name: key.key for key in (known_keys(db) if keys is None else keys)}
    refs: set[tuple[str, str]] = set()
    problems = []
    counting = select(Tombstone).where(Tombstone.withdrawn_at.is_(None)).order_by(Tombstone.id)
    for stone in db.scalars(counting.execution_options(yield_per=500)):
        key = by_name.get(stone.key)
        if key is None or not key.verify(stone.signature, _signed(stone)):
            problems.append(f"tombstone {stone.id} of {stone.kind} {stone.ref}: no known key signed it")
            continue
        refs.add((stone.kind, stone.ref))
    return Purged(frozenset(refs), _readings_to_ms(db)), problems


def _readings_to_ms(db: Session) -> dict[str, int]:
    purged = select(cast(Tombstone.ref, BigInteger)).where(
        Tombstone.kind == "readings", Tombstone.withdrawn_at.is_(None)
    )
    query = select(StoredBatch.box_id, func.max(BatchSource.last_ms)).join(
        BatchSource, BatchSource.batch_id == StoredBatch.id
    )
    rows = db.execute(query.where(StoredBatch.id.in_(purged)).group_by(StoredBatch.box_id))
    return {row[0]: row[1] for row in rows}
