"""The audit log: who did what, in the same transaction as what they did, chained so that no row is lost unseen.

An entry's digest covers its canonical form, the digest of the entry before it included; the head holds the count.
A look that must be on record (a picture, a report) takes a writing transaction of its own after the reading one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Literal, cast

from sqlalchemy import Table, bindparam, inspect, select, update
from sqlalchemy.orm import Session

from server.models import User
from server.models_audit import AuditEntry, AuditHead
from server.scope import within

FIRST_PREVIOUS = "0" * 64
_HEAD = cast(Table, AuditHead.__table__)
PAGE_ROWS = 50


@dataclass(frozen=True)
class Actor:
    """Whoever acts: a person, somebody not logged in, a box, the operator at the console, or the centre itself."""

    kind: Literal["user", "stranger", "box", "console", "system"]
    id: str = ""
    name: str = ""
    remote_addr: str = ""


@dataclass(frozen=True)
class Deed:
    """What is done to one object; see `note`."""

    action: str
    object_: tuple[str, object]
    detail: Mapping[str, Any]
    site_id: int | None = None


CONSOLE = Actor("console", name="console")
SYSTEM = Actor("system", name="system")


def person(user: User, remote_addr: str) -> Actor:
    """The actor of a logged-in person."""
    return Actor("user", str(user.id), user.username, remote_addr)


def stranger(remote_addr: str) -> Actor:
    """Somebody who is not logged in."""
    return Actor("stranger", remote_addr=remote_addr)


def note(
    db: Session,
    actor: Actor,
    action: str,
    object_: tuple[str, object],
    detail: Mapping[str, Any] | None = None,
    *,
    site_id: int | None = None,
) -> AuditEntry:
    """Add an entry; *db* is in a writing transaction, which commits both or neither.

    *object_* is its type and id; *detail* is JSON without secrets; *site_id* says who of a region may read the entry.
    """
    return note_all(db, actor, [Deed(action, object_, detail or {}, site_id)])[0]


def note_all(db: Session, actor: Actor, deeds: Iterable[Deed]) -> list[AuditEntry]:
    """Add an entry for each of many deeds of one actor, in their order, as `note` would one by one but much faster."""
    head = db.scalars(
        select(AuditHead).where(AuditHead.id == 1).with_for_update().execution_options(populate_existing=True)
    ).one()
    seq, digest = head.seq, head.sha256
    entries = []
    for deed in deeds:
        entry = AuditEntry(
            seq=seq + 1,
            at=datetime.now(UTC),
            actor_kind=actor.kind,
            actor_id=_text(actor.id, 64),
            actor_name=_text(actor.name, 80),
            action=deed.action,
            object_type=deed.object_[0],
            object_id=_text(str(deed.object_[1]), 128),
            site_id=deed.site_id,
            detail=dict(deed.detail),
            remote_addr=_text(actor.remote_addr, 64),
            previous_sha256=digest,
        )
        seq, digest = entry.seq, digest_of(entry)
        entry.sha256 = digest
        entries.append(entry)
    db.add_all(entries)
    db.flush()
    steps = [{"new_seq": entry.seq, "new_sha256": entry.sha256} for entry in entries]
    if steps:  # one by one: the database lets the head grow by one only
        moved = update(_HEAD).where(_HEAD.c.id == 1).values(seq=bindparam("new_seq"), sha256=bindparam("new_sha256"))
        db.connection().execute(moved, steps)
        db.expire(head)
    return entries


def _text(text: str, characters_max: int) -> str:
    """As every database keeps it: PostgreSQL takes no NUL, and the digest is of what is stored."""
    return text.replace("\x00", "\ufffd")[:characters_max]


def digest_of(entry: AuditEntry) -> str:
    """SHA-256 of the canonical form: JSON array in UTF-8, keys sorted, no spaces, the time in ISO 8601 UTC."""
    fields = [
        entry.seq, entry.at.astimezone(UTC).isoformat(timespec="microseconds"), entry.actor_kind, entry.actor_id,
        entry.actor_name, entry.action, entry.object_type, entry.object_id, entry.site_id, entry.detail,
        entry.remote_addr, entry.previous_sha256,
    ]  # fmt: skip
    return sha256(json.dumps(fields, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def list_entries(db: Session, reader: User, before: int | None = None, rows: int = PAGE_ROWS) -> list[AuditEntry]:
    """The newest entries that *reader* may see, before the entry *before*."""
    query = select(AuditEntry).where(within(reader, AuditEntry.site_id)).order_by(AuditEntry.seq.desc()).limit(rows)
    if before is not None:
        query = query.where(AuditEntry.seq < before)
    return list(db.scalars(query))


def verify_audit(db: Session) -> tuple[int, list[str]]:
    """How many entries there are, and what is wrong: changed, deleted, reordered or cut off."""
    if not inspect(db.connection()).has_table(AuditEntry.__tablename__):
        return 0, []  # a record of before, which was not migrated
    problems: list[str] = []
    seq, digest = 0, FIRST_PREVIOUS
    for entry in db.scalars(select(AuditEntry).order_by(AuditEntry.seq).execution_options(yield_per=500)):
        if entry.seq != seq + 1:
            problems.append(f"audit log: {_span(seq + 1, entry.seq - 1)} deleted")
        elif entry.previous_sha256 != digest:
            problems.append(f"audit log: entry {entry.seq} does not follow the entry before it")
        if digest_of(entry) != entry.sha256:
            problems.append(f"audit log: entry {entry.seq} was changed")
        seq, digest = entry.seq, entry.sha256
    head = db.get(AuditHead, 1)
    if head is None:
        problems.append("audit log: its head is gone")
    elif head.seq > seq:
        problems.append(f"audit log: {_span(seq + 1, head.seq)} cut off at its end")
    elif (head.seq, head.sha256) != (seq, digest):
        problems.append("audit log: its head is not its last entry")
    return seq, problems


def _span(first: int, last: int) -> str:
    return f"entry {first}" if first == last else f"entries {first} to {last}"
