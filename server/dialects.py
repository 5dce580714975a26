"""What SQLite and PostgreSQL say differently, in one place: inserts that may be there already, and row locks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Table, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from server.models import Base, Box


def is_postgres(db: Session | Connection) -> bool:
    """Whether this transaction is one of PostgreSQL."""
    return (db.get_bind() if isinstance(db, Session) else db).dialect.name == "postgresql"


def insert_new(db: Session | Connection, table: Table | type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows within the caller's transaction; one whose key is there already stays as it is, also in a race."""
    make = postgresql.insert if is_postgres(db) else sqlite.insert
    db.execute(make(table).on_conflict_do_nothing(), rows)


def write_rows(db: Session | Connection, table: Table, rows: Sequence[tuple[object, ...]]) -> None:
    """`insert_new` of many whole rows, their columns in the table's order.

    SQLite is given the tuples as they are: made into dictionaries first they cost more than the database.
    """
    if not rows:
        return
    if is_postgres(db):
        names = [column.name for column in table.columns]
        insert_new(db, table, [dict(zip(names, row, strict=True)) for row in rows])
        return
    connection = db.connection() if isinstance(db, Session) else db
    connection.exec_driver_sql(_insertion(table), list(rows))


@cache
def _insertion(table: Table) -> str:
    return str(sqlite.insert(table).on_conflict_do_nothing().compile(dialect=sqlite.dialect()))


def lock_box(db: Session, box_id: str) -> None:
    """Let no other transaction take anything of this box until the end of the caller's.

    SQLite's writers wait for each other anyway. The lock lets rows that refer to the box be written (NO KEY UPDATE).
    """
    if is_postgres(db):
        db.execute(select(Box.id).where(Box.id == box_id).with_for_update(key_share=True))
