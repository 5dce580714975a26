"""Seals every row of the sealed tables in the transaction that writes it, so that no code can forget to.

Sessions note the keys of what they write, by objects or by statements; before the commit the rows are read back, as
the database holds them by then, and each whose digest is new gets a seal. The writer holds the row's lock until the
commit, so the newest seal of a row is always that of its newest state, with any number of replicas. What writes no
sealed row, a batch of readings above all, pays nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
Noted = dict[str, set[Key]]


def seal_all_sessions() -> None:
    """From now on every session of this process seals what it writes; a second call changes nothing."""
    for moment, listener in (
        ("after_flush", _note_objects),
        ("do_orm_execute", _note_statement),
        ("before_commit", _seal_noted),
        ("after_transaction_end", _forget),
    ):
        if not event.contains(Session, moment, listener):
            event.listen(Session, moment, listener)


def _noted(session: Session, sealed: SealedTable) -> set[Key]:
    noted: Noted = session.info.setdefault(_NOTED, {})
    return noted.setdefault(sealed.name, set())


def _note_objects(session: Session, _: UOWTransaction) -> None:
    for item in (*session.new, *session.deleted):
        sealed = BY_MODEL.get(type(item))
        if sealed is not None:
            _noted(session, sealed).add(_key_of_object(item))
    for item in session.dirty:
        sealed = BY_MODEL.get(type(item))
        if sealed is not None and inspect(item).unmodified_intersection(sealed.names) != sealed.names:
            _noted(session, sealed).add(_key_of_object(item))


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
    if not isinstance(statement, Insert):
        rows = select(*sealed.key).where(*[] if statement.whereclause is None else [statement.whereclause])
        _noted(session, sealed).update(tuple(row) for row in session.execute(rows))
        return
    given = execution.parameters
    names = [column.name for column in sealed.table.primary_key.columns]
    for row in given if isinstance(given, Sequence) else [given or {}]:
        if not row.keys() >= set(names):
            raise TypeError(f"rows of {sealed.name} are sealed: add objects, or rows with their keys")
        _noted(session, sealed).add(tuple(row[name] for name in names))


def _seal_noted(session: Session) -> None:
    session.flush()
    noted: Noted = session.info.pop(_NOTED, {})
    if not noted:
        return
    connection = session.connection()
    now = datetime.now(UTC)
    for name in sorted(noted):
        keys = sorted(noted[name])
        for start in range(0, len(keys), ROWS_AT_ONCE):
            _seal(connection, BY_NAME[name], keys[start : start + ROWS_AT_ONCE], now)


def _forget(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session.info.pop(_NOTED, None)


def _seal(connection: Connection, sealed: SealedTable, keys: Sequence[Key], now: datetime) -> None:
    """Add a seal for each row that is not what its newest seal says; for one that is gone, an empty one."""
    said = sealed.digests(connection, keys)
    refs = [ref_of(key) for key in keys]
    known = connection.execute(_NEWEST_OF, {"table_name": sealed.name, "refs": refs})
    before = {row[0]: row[1] for row in known}
    now_said = {ref: said.get(ref, REMOVED) for ref in refs}
    changed = [(ref, digest) for ref, digest in now_said.items() if digest != before.get(ref, REMOVED)]
    _add(connection, sealed, changed, now, found=False)


def newest_seals(table_name: Any, *which: ColumnElement[bool]) -> Select[str, str]:
    """Row and digest of the newest seal of each row of a table, in the order of their making; *which*: of some rows."""
    last = select(func.max(RowSeal.id)).where(RowSeal.table_name == table_name, *which).group_by(RowSeal.ref)
    return select(RowSeal.ref, RowSeal.sha256).where(RowSeal.id.in_(last)).order_by(RowSeal.id)


_NEWEST_OF = newest_seals(bindparam("table_name"), RowSeal.ref.in_(bindparam("refs", expanding=True)))


def _add(
    connection: Connection, sealed: SealedTable, said: Iterable[tuple[str, str]], now: datetime, *, found: bool
) -> None:
    made = [
        {"table_name": sealed.name, "ref": ref, "at": now, "sha256": digest, "found": found} for ref, digest in said
    ]
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
                _add(connection, sealed, [sealed.ref_and_digest(row) for row in rows], now, found=True)
