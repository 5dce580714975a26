"""Checks the log: leaves against rows, rows against leaves, and both against every head that was ever published.

Whoever can write to the database can change row, leaf and nodes together, but not a head that is held elsewhere: the
heads of a file (`log.heads_file`, or one that another party kept) are checked beside those of the table. Streams: the
log is read once, in portions.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import String, and_, cast, exists, func, inspect, or_, select
from sqlalchemy.orm import Session

from server.merkle.checkpoint import CheckpointWrong, LogKey, TreeHead, open_checkpoint
from server.merkle.leaves import KINDS, read_leaves
from server.merkle.log import known_keys
from server.merkle.models import LogHead, LogLeaf, LogNode, LogPending
from server.merkle.tree import Frontier, Node, leaf_hash

LEAVES_AT_ONCE = 500
NAMED_MAX = 100
HEADS_FILE_BYTES_MAX = 256 * 1024 * 1024


@dataclass(frozen=True)
class HeldOutside:
    """What the one who verifies has from elsewhere: the log's keys (None: those on record), and notes of heads."""

    keys: list[LogKey] | None = None
    notes: Sequence[str] = ()


@dataclass
class LogVerification:
    """What was checked, what is wrong, and what is not in the log yet (``gaps``; not an error)."""

    leaves: int = 0
    heads: int = 0
    problems: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)


def read_heads_file(path: Path) -> list[str]:
    """The notes in a file of heads, one JSON object a line; raises ValueError."""
    if path.stat().st_size > HEADS_FILE_BYTES_MAX:
        raise ValueError(f"{path}: has more than {HEADS_FILE_BYTES_MAX} bytes")
    notes = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            notes.append(str(json.loads(line)["note"]))
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{path}:{number}: is no published head") from None
    return notes


def verify_log(db: Session, held: HeldOutside) -> LogVerification:
    """Check the whole log in one snapshot."""
    found = LogVerification()
    if not inspect(db.connection()).has_table(LogLeaf.__tablename__):
        return found  # the record is older than the log
    heads = _open_heads(db, held, found)
    _walk(db, heads, found)
    for kind in KINDS.values():
        left = _without_leaf(db, kind.name)
        found.problems += [f"log: {kind.name} {ref} is in no leaf of the log" for ref in left]
    waiting = db.scalar(select(func.count()).select_from(LogPending)) or 0
    if waiting:
        found.gaps.append(f"log: {waiting} rows wait for their leaf")
    return found


def _open_heads(db: Session, held: HeldOutside, found: LogVerification) -> list[TreeHead]:
    """The heads whose signature holds, smallest first."""
    keys = known_keys(db) if held.keys is None else held.keys
    heads: set[TreeHead] = set()
    of_table = db.scalars(select(LogHead.note).order_by(LogHead.id))
    for source, notes in (("head", of_table), ("head held outside", held.notes)):
        for number, note in enumerate(notes, 1):
            found.heads += 1
            try:
                heads.add(open_checkpoint(note, keys))
            except CheckpointWrong as error:
                found.problems.append(f"log: {source} {number} {error}")
    return sorted(heads, key=lambda head: (head.size, head.at))


def _walk(db: Session, heads: list[TreeHead], found: LogVerification) -> None:
    """Every leaf against its row, every node and every head against the leaves."""
    frontier, waiting = Frontier(), heads[::-1]
    for leaves in _portions(db):
        nodes: dict[Node, bytes] = {}
        for position, _, _, hash_ in leaves:
            if position != frontier.size:
                found.problems.append(f"log: leaf {frontier.size} is missing")
                return
            nodes.update(item for item in frontier.add(hash_) if item[0][0])
            waiting = _checked_heads(frontier, waiting, found)
        found.leaves = frontier.size
        _check_rows(db, leaves, found)
        _check_nodes(db, nodes, found)
    for head in waiting:
        found.problems.append(
            f"log: cut off at leaf {frontier.size}, a head over {head.size} leaves was published at {head.at}"
        )


def _portions(db: Session) -> Iterator[list[tuple[int, str, str, bytes]]]:
    last = -1
    query = select(LogLeaf.position, LogLeaf.kind, LogLeaf.ref, LogLeaf.sha256).order_by(LogLeaf.position)
    while rows := db.execute(query.where(LogLeaf.position > last).limit(LEAVES_AT_ONCE)).all():
        yield [(row[0], row[1], row[2], row[3]) for row in rows]
        last = rows[-1][0]


def _checked_heads(frontier: Frontier, waiting: list[TreeHead], found: LogVerification) -> list[TreeHead]:
    while waiting and waiting[-1].size <= frontier.size:
        head = waiting.pop()
        if head.root != frontier.root():
            found.problems.append(f"log: the head over {head.size} leaves of {head.at} is not that of these leaves")
    return waiting


def _check_rows(db: Session, leaves: Sequence[tuple[int, str, str, bytes]], found: LogVerification) -> None:
    refs: dict[str, list[str]] = defaultdict(list)
    for _, kind, ref, _ in leaves:
        refs[kind].append(ref)
    data = {kind: read_leaves(db, kind, wanted) if kind in KINDS else {} for kind, wanted in refs.items()}
    for position, kind, ref, hash_ in leaves:
        if ref not in data[kind]:
            found.problems.append(f"log: {kind} {ref} of leaf {position} is gone")
        elif leaf_hash(data[kind][ref]) != hash_:
            found.problems.append(f"log: {kind} {ref} is not what leaf {position} says")


def _check_nodes(db: Session, nodes: dict[Node, bytes], found: LogVerification) -> None:
    spans: dict[int, list[int]] = defaultdict(list)
    for level, position in nodes:
        spans[level].append(position)
    ranges = [and_(LogNode.level == level, LogNode.position.between(min(at), max(at))) for level, at in spans.items()]
    query = select(LogNode.level, LogNode.position, LogNode.sha256).where(or_(*ranges))
    stored = {(row[0], row[1]): row[2] for row in db.execute(query)} if ranges else {}
    wrong = sorted(node for node, hash_ in nodes.items() if stored.get(node) != hash_)
    found.problems += [f"log: node {level}/{position} does not follow from its leaves" for level, position in wrong]


def _without_leaf(db: Session, name: str) -> Iterable[str]:
    """Keys of rows that are in no leaf and do not wait for one."""
    kind = KINDS[name]
    ref = cast(kind.key, String(64))
    in_log = exists().where(LogLeaf.kind == name, LogLeaf.ref == ref)
    noted = exists().where(LogPending.kind == name, LogPending.ref == ref)
    query = kind.query().with_only_columns(ref).where(~in_log, ~noted)
    return db.scalars(query.limit(NAMED_MAX)).all()
