"""Compares every row of the sealed tables with its newest seal, in both directions; the seals are proved by the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Select, func, inspect, select
from sqlalchemy.orm import Session

from server.seals.models import RowSeal
from server.seals.sealing import REMOVED, ROWS_AT_ONCE, newest_seals
from server.seals.tables import BY_NAME, SealedTable, key_of, ref_of


def verify_seals(db: Session) -> tuple[int, list[str]]:
    """How many sealed rows there are, and which are not what was written last, slipped in, or are gone."""
    if not inspect(db.connection()).has_table(RowSeal.__tablename__):
        return 0, []  # the record is older than the seals
    count, problems = 0, list[str]()
    for sealed in BY_NAME.values():
        there, wrong = verify_table(db, sealed)
        count += there
        problems += wrong
    return count, problems


def verify_table(db: Session, sealed: SealedTable) -> tuple[int, list[str]]:
    """`verify_seals` of one table."""
    met, problems = 0, list[str]()
    standing = newest_seals(sealed.name).where(RowSeal.sha256 != REMOVED)
    for seals in _portions(db, standing):
        keys = [key for key in (key_of(row[0]) for row in seals) if len(key) == len(sealed.key)]
        said = sealed.digests(db.connection(), keys)
        met += len(said)
        for ref, digest, _ in seals:
            if ref not in said:
                problems.append(f"{_name(sealed, ref)}: is gone")
            elif said[ref] != digest:
                problems.append(f"{_name(sealed, ref)}: is not what was written last")
    there = db.scalar(select(func.count()).select_from(sealed.table)) or 0
    if there > met:
        problems += [f"{_name(sealed, ref)}: nothing tells that it was written" for ref in _unsealed(db, sealed)]
    past = select(RowSeal.ref, RowSeal.at).where(RowSeal.table_name == sealed.name, RowSeal.broken)
    for ref, at in db.execute(past.order_by(RowSeal.id)):
        problems.append(f"{_name(sealed, ref)}: was changed past the program before {at:%Y-%m-%d %H:%M:%S}")
    return there, problems


def _unsealed(db: Session, sealed: SealedTable) -> Iterator[str]:
    for rows in _portions(db, select(*sealed.key).order_by(*sealed.key)):
        refs = [ref_of(row) for row in rows]
        known = db.execute(newest_seals(sealed.name, RowSeal.ref.in_(refs)).where(RowSeal.sha256 != REMOVED))
        yield from sorted(set(refs) - {row[0] for row in known})


def _portions(db: Session, query: Select[*tuple[Any, ...]]) -> Iterator[Sequence[Any]]:
    with db.execute(query.execution_options(yield_per=ROWS_AT_ONCE)) as result:
        yield from result.partitions()


def _name(sealed: SealedTable, ref: str) -> str:
    """As people name it: ``alert 12``, ``rollout_box 3, box-1``."""
    return f"{sealed.name} {', '.join(str(part) for part in key_of(ref)) or ref}"
