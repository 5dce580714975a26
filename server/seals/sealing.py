"""Seals every row of the sealed tables in the transaction that writes it, so that no code can forget to.

Sessions note the keys of what they write, by objects or by statements, and look whether the rows are what their newest
seals say: what was changed past the program must not be sealed with its next change as if all were well. Before the
commit the rows are read back, as the database holds them by then, and each whose digest is new gets a seal. The writer
holds the row's lock until the commit, so the newest seal of a row is always that of its newest state, with any number
of replicas. What writes no sealed row, a batch of readings above all, pays nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    Insert,
    Select,
    Table,
    Update,
    bindparam,
    event,
    func,
    insert,
    inspect,
    select,
)
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction, UOWTransaction

from server.seals.models import RowSeal
from server.seals.tables import BY_MODEL, BY_NAME, Key, SealedTable, ref_of

REMOVED = ""
ROWS_AT_ONCE = 500
_NOTED = "brightline_written"
_SEALS = cast(Table, RowSeal.__table__)
Noted = dict[str, dict[Key, bool]]  # table → key → whether the row was changed past the program before


def seal_all_sessions() -> None:
    """From now on every session of this process seals what it writes; a second call changes nothing."""
    for moment, listener in (
        ("before_flush", _note_changing),
        ("after_flush", _note_written),
        ("do_orm_execute", _note_statement),
        ("before_commit", _seal_noted),
        ("after_transaction_end", _forget),
    ):
        if not event.contains(Session, moment, listener):
            event.listen(Session, moment, listener)


def _note(session: Session, sealed: SealedTable, keys: Iterable[Key], *, written: bool) -> None:
    """Note rows to be sealed; what is not *written* yet is looked at as it stands, once in a transaction."""
    every: Noted = session.info.setdefault(_NOTED, {})
    noted = every.setdefault(sealed.name, {})
    fresh = [key for key in keys if key not in noted]
    if fresh:
        broken = set() if written else _changed_past(session.connection(), sealed, fresh)
        noted.update({key: key in broken for key in fresh})


def _note_changing(session: Session, *_: object) -> None:
    keys: dict[str, list[Key]] = {}
    gone = set(session.deleted)
    for item in (*gone, *session.dirty):
        sealed = BY_MODEL.get(type(item))
        if sealed is None:
            continue
        if item in gone or inspect(item).unmodified_intersection(sealed.watched) != sealed.watched:
            keys.setdefault(sealed.name, []).append(_key_of_object(item))
    for name, some in keys.items():
        _note(session, BY_NAME[name], some, written=False)


def _note_written(session: Session, _: UOWTransaction) -> None:
    """What was added has its key by now."""
    for item in session.new:
        if type(item) in BY_MODEL:
            _note(session, BY_MODEL[type(item)], [_key_of_object(item)], written=True)


def _key_of_object(item: Any) -> Key:
    return tuple(inspect(item).mapper.primary_key_from_instance(item))


def _note_statement(execution: ORMExecuteState) -> None:
    statement = execution.statement
    if not isinstance(statement, Insert | Update | Delete) or not isinstance(statement.table, Table):
        return
    sealed = BY_NAME.get(statement.table.name)
    if sealed is None:
        return
    session = execution.session
    given = execution.parameters
    portions = given if isinstance(given, Sequence) else [given or {}]
    if not isinstance(statement, Insert):
        written = {getattr(column, "key", column) for column in getattr(statement, "_values", None) or ()}
        if written and not written & sealed.names:
            return  # when a box was seen last, a lease
        rows = select(*sealed.key).where(*[] if statement.whereclause is None else [statement.whereclause])
        for one in portions:
            _note(session, sealed, [tuple(row) for row in session.execute(rows, one)], written=False)
        return
    names = [column.name for column in sealed.table.primary_key.columns]
    for row in portions:
        if not row.keys() >= set(names):
            raise TypeError(f"rows of {sealed.name} are sealed: add objects, or rows with their keys")
        _note(session, sealed, [tuple(row[name] for name in names)], written=False)


def _seal_noted(session: Session) -> None:
    session.flush()
    noted: Noted = session.info.pop(_NOTED, {})
    if not noted:
        return
    connection = session.connection()
    now = datetime.now(UTC)
    for name in sorted(noted):
        keys = sorted(noted[name].items())
        for start in range(0, len(keys), ROWS_AT_ONCE):
            _seal(connection, BY_NAME[name], dict(keys[start : start + ROWS_AT_ONCE]), now)


def _forget(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session.info.pop(_NOTED, None)


def _changed_past(connection: Connection, sealed: SealedTable, keys: Sequence[Key]) -> set[Key]:
    """Which rows are not what their newest seal says, though nobody else writes them at the moment."""
    wrong: set[Key] = set()
    for start in range(0, len(keys), ROWS_AT_ONCE):
        refs = {ref_of(key): key for key in keys[start : start + ROWS_AT_ONCE]}
        before = _newest(connection, sealed, refs)
        said = sealed.digests(connection, list(refs.values()))
        odd = {ref: key for ref, key in refs.items() if said.get(ref, REMOVED) != before.get(ref, (REMOVED,))[0]}
        if odd:  # another replica may have written and sealed it between the two looks
            after = _newest(connection, sealed, odd)
            wrong |= {key for ref, key in odd.items() if after.get(ref) == before.get(ref)}
    return wrong


def _newest(connection: Connection, sealed: SealedTable, refs: Iterable[str]) -> dict[str, tuple[str, int]]:
    rows = connection.execute(_NEWEST_OF, {"table_name": sealed.name, "refs": list(refs)})
    return {row[0]: (row[1], row[2]) for row in rows}


def _seal(connection: Connection, sealed: SealedTable, keys: dict[Key, bool], now: datetime) -> None:
    """Add a seal for each row that is not what its newest seal says; for one that is gone, an empty one."""
    said = sealed.digests(connection, list(keys))
    broken = {ref_of(key): was for key, was in keys.items()}
    before = _newest(connection, sealed, broken)
    now_said = {ref: said.get(ref, REMOVED) for ref in broken}
    changed = [
        (ref, digest) for ref, digest in now_said.items() if broken[ref] or digest != before.get(ref, (REMOVED,))[0]
    ]
    _add(connection, sealed, changed, now, broken=broken)


def newest_seals(table_name: Any, *which: ColumnElement[bool]) -> Select[str, str, int]:
    """Row, digest and number of the newest seal of each row of a table, in their order; *which*: of some rows."""
    last = select(func.max(RowSeal.id)).where(RowSeal.table_name == table_name, *which).group_by(RowSeal.ref)
    return select(RowSeal.ref, RowSeal.sha256, RowSeal.id).where(RowSeal.id.in_(last)).order_by(RowSeal.id)


_NEWEST_OF = newest_seals(bindparam("table_name"), RowSeal.ref.in_(bindparam("refs", expanding=True)))


def _add(
    connection: Connection,
    sealed: SealedTable,
    said: Iterable[tuple[str, str]],
    now: datetime,
    broken: Mapping[str, bool] | None = None,
) -> None:
    """Add seals of what rows say now; *broken* tells of each what `RowSeal` says, None: a migration found them so."""
    of_all = {"table_name": sealed.name, "at": now, "found": broken is None}
    made = [{**of_all, "ref": ref, "sha256": digest, "broken": bool(broken and broken[ref])} for ref, digest in said]
    if made:
        connection.execute(insert(_SEALS), made)


def seal_anew(connection: Connection, names: Iterable[str]) -> None:
    """Seal all rows of the tables *names* as a migration leaves them, within its transaction, and mark the seals so."""
    inspected, now = inspect(connection), datetime.now(UTC)
    for name in sorted(names):
        sealed = BY_NAME[name].cut_to(column["name"] for column in inspected.get_columns(name))
        query = sealed.rows().execution_options(yield_per=ROWS_AT_ONCE)
        with connection.execute(query) as result:
            for rows in result.partitions():
                _add(connection, sealed, [sealed.ref_and_digest(row) for row in rows], now)
