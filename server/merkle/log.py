"""The log itself: rows that were noted become leaves, in the order in which they were taken; heads and proofs of them.

A row is noted in its own transaction and becomes a leaf in a later one, which takes the note away: so none is left out,
and a row can be proved within seconds, under a published head within the hour. Until then a box's own signature
and chain vouch for it. One worker at a time adds leaves (`server.work`).
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from server.dialects import insert_new
from server.merkle.checkpoint import LogKey, TreeHead
from server.merkle.leaves import KINDS, leaf_data, read_leaves
from server.merkle.models import LogHead, LogKeyRow, LogLeaf, LogNode, LogPending
from server.merkle.tree import Node, consistency_path, frontier_at, inclusion_path, leaf_hash
from telemetry.signing import Signer

logger = logging.getLogger(__name__)
LEAVES_AT_ONCE_MAX = 500
LOST = "lost"


def size_of(db: Session) -> int:
    """How many leaves the log has."""
    last = db.scalar(select(func.max(LogLeaf.position)))
    return 0 if last is None else last + 1


def read_node(db: Session, node: Node) -> bytes:
    """The hash of a full subtree; raises KeyError where the log has none."""
    level, position = node
    where = (LogNode.level == level, LogNode.position == position)
    query = (
        select(LogNode.sha256).where(*where) if level else select(LogLeaf.sha256).where(LogLeaf.position == position)
    )
    found = db.scalar(query)
    if found is None:
        raise KeyError(node)
    return found


def append_pending(db: Session, limit: int = LEAVES_AT_ONCE_MAX) -> int:
    """Make leaves of the rows that wait, at most *limit*; how many notes were dealt with.

    *db* is in a writing transaction, and no other one adds leaves meanwhile. A row that is gone before it became a
    leaf leaves one that says so.
    """
    notes = db.execute(
        select(LogPending.id, LogPending.kind, LogPending.ref).order_by(LogPending.id).limit(limit)
    ).all()
    if not notes:
        return 0
    refs: dict[str, list[str]] = defaultdict(list)
    for _, kind, ref in notes:
        refs[kind].append(ref)
    data = {kind: read_leaves(db, kind, wanted) if kind in KINDS else {} for kind, wanted in refs.items()}
    known = {(kind, ref) for kind, wanted in refs.items() for ref in _with_leaf(db, kind, wanted)}
    frontier = frontier_at(lambda node: read_node(db, node), size_of(db))
    leaves, nodes = [], []
    for _, kind, ref in notes:
        if (kind, ref) in known:
            logger.error("a second row %s %s came: the first one was deleted", kind, ref)
            continue
        known.add((kind, ref))
        if ref not in data[kind]:
            logger.error("the row %s %s was gone before it was in the log", kind, ref)
        hash_ = leaf_hash(data[kind].get(ref) or leaf_data(LOST, [kind, ref]))
        leaves.append({"position": frontier.size, "kind": kind, "ref": ref, "sha256": hash_})
        for (level, position), node in frontier.add(hash_):
            if level:
                nodes.append({"level": level, "position": position, "sha256": node})
    for table, rows in ((LogLeaf, leaves), (LogNode, nodes)):
        if rows:
            db.execute(insert(table), rows)
    db.execute(delete(LogPending).where(LogPending.id.in_([note[0] for note in notes])))
    return len(notes)


def _with_leaf(db: Session, kind: str, refs: Iterable[str]) -> Iterable[str]:
    return db.scalars(select(LogLeaf.ref).where(LogLeaf.kind == kind, LogLeaf.ref.in_(list(refs)))).all()


def publish(db: Session, signer: Signer, now: datetime) -> LogHead | None:
    """Sign the head of the log as it is, in the caller's writing transaction; None while the log is empty."""
    size = size_of(db)
    if not size:
        return None
    key = LogKey.of(signer.public_key)
    insert_new(db, LogKeyRow, [{"name": key.name, "key": key.text, "since": now}])
    root = frontier_at(lambda node: read_node(db, node), size).root()
    at = now.astimezone(UTC).replace(microsecond=0)
    head = LogHead(size=size, at=at, note=TreeHead(key.name, size, root, at).sign(signer))
    db.add(head)
    db.flush()
    return head


def newest_head(db: Session) -> LogHead | None:
    return db.scalar(select(LogHead).order_by(LogHead.id.desc()).limit(1))


def known_keys(db: Session) -> list[LogKey]:
    """The keys that this record knows of, oldest first."""
    return [LogKey.read(text) for text in db.scalars(select(LogKeyRow.key).order_by(LogKeyRow.since))]


@dataclass(frozen=True)
class Proof:
    """That a leaf is in the log of a published head: ``path`` are the hashes of RFC 9162, lowest first."""

    position: int
    size: int
    data: bytes
    path: list[bytes]
    checkpoint: str


class NotProvable(Exception):
    """There is no such row, or no head has been published since it came; the message says which."""


def prove(db: Session, kind: str, ref: str) -> Proof:
    """The proof of one row under the newest head; raises NotProvable."""
    position = db.scalar(select(LogLeaf.position).where(LogLeaf.kind == kind, LogLeaf.ref == ref))
    head = newest_head(db)
    data = read_leaves(db, kind, [ref]).get(ref)
    if data is None:
        raise NotProvable("unknown")
    if position is None or head is None or position >= head.size:
        raise NotProvable("not_published")
    path = inclusion_path(lambda node: read_node(db, node), position, head.size)
    return Proof(position, head.size, data, path, head.note)


def prove_consistency(db: Session, old: int, new: int) -> list[bytes]:
    """The proof that the log of *old* leaves is the beginning of that of *new*; raises NotProvable."""
    if not 0 < old <= new <= size_of(db):
        raise NotProvable("unknown")
    return consistency_path(lambda node: read_node(db, node), old, new)
