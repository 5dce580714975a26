"""A record with a row in every table: what a small record has not is filled in by the kinds of the columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Boolean, Column, Connection, Date, LargeBinary, String, Table, Text, func, select, text
from sqlalchemy.orm import Session

from server.assets.sheets import SHEETS
from server.assets.versions import add_versions, key_of
from server.database import make_engine
from server.models import Base, UtcDateTime
from server.retention.purged import add_tombstone
from server.series.stores import open_store
from server.verify import verify
from telemetry.signing import Signer
from tests.server.merkle.small_record import SmallRecord, make_record

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DOCUMENT = b"x"
LATER = "2027-08-09 10:11:12.000000"


def make_full_record(data: Path, jpeg: Callable[..., bytes]) -> SmallRecord:
    """Every table has a row that was written as the centre writes, and each that becomes a leaf is one."""
    made = make_record(data, jpeg)
    models = {mapper.local_table: mapper.class_ for mapper in Base.registry.mappers}
    with made.changing() as db:
        add_tombstone(db, made.signer, "picture", "0" * 64, "rule", 1, AT)
        db.execute(text("PRAGMA defer_foreign_keys = ON"))  # a release may be the one before itself
        for table in Base.metadata.sorted_tables:
            if not db.scalar(select(func.count()).select_from(table)):
                db.add(models[table](**{column.key: _value(db, column) for column in table.columns}))
                db.flush()
        add_versions(db, [(sheet, key) for sheet in SHEETS.values() for key in db.scalars(select(key_of(sheet)))], AT)
    made.grow()
    return made


def _value(db: Session, column: Column[Any]) -> Any:
    for key in column.foreign_keys:
        return db.scalar(select(key.column).limit(1)) or 1
    kind = column.type
    if column.name == "public_key":
        return Signer.generate().public_key_b64
    if column.table.name == "self_control_edition" and column.name == "sha256":
        return sha256(DOCUMENT).hexdigest()
    if isinstance(kind, String | Text):
        return "x"
    for one, value in (
        (UtcDateTime, AT),
        (Date, AT.date()),
        (Boolean, False),
        (LargeBinary, DOCUMENT),
        (JSON, {"x": 1}),
    ):
        if isinstance(kind, one):
            return value
    return 1


@contextmanager
def tampering(record: SmallRecord) -> Iterator[Connection]:
    """A connection as that of somebody with the disk: without triggers, and nothing refers to anything."""
    engine = make_engine(record.settings)
    with engine.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")  # the pragma counts outside of a transaction only
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
        connection.exec_driver_sql("BEGIN")
        triggers = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").scalars().all()
        for name in triggers:
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
        yield connection
        connection.rollback()
    engine.dispose()


@contextmanager
def undone(connection: Connection) -> Iterator[None]:
    with connection.begin_nested() as step:
        yield
        step.rollback()


def problems_of(record: SmallRecord, connection: Connection) -> list[str]:
    """What `verify` finds in a transaction that is under way."""
    with (
        Session(connection, join_transaction_mode="create_savepoint") as db,
        closing(open_store(record.settings.series, connection.engine, reading=connection)) as series,
    ):
        return verify(db, record.blobs, series).problems


def alter(connection: Connection, table: Table, column: Column[Any]) -> None:
    """Write something else into a column of the table's last row."""
    last = connection.exec_driver_sql(_last(table, f'"{column.name}"')).one()
    connection.exec_driver_sql(f'UPDATE "{table.name}" SET "{column.name}" = ? WHERE {_where(table)}', (
        _other(column, last[0]), *last[1:],
    ))  # fmt: skip


def delete_last(connection: Connection, table: Table) -> None:
    key = connection.exec_driver_sql(_last(table, "1")).one()[1:]
    connection.exec_driver_sql(f'DELETE FROM "{table.name}" WHERE {_where(table)}', tuple(key))


def _keys(table: Table) -> list[str]:
    return [f'"{column.name}"' for column in table.primary_key.columns]


def _last(table: Table, wanted: str) -> str:
    order = ", ".join(f"{key} DESC" for key in _keys(table))
    return f'SELECT {", ".join([wanted, *_keys(table)])} FROM "{table.name}" ORDER BY {order} LIMIT 1'


def _where(table: Table) -> str:
    return " AND ".join(f"{key} = ?" for key in _keys(table))


def _other(column: Column[Any], now: Any) -> Any:
    """Something of the column's kind that is not what stands there."""
    kind = column.type
    if isinstance(kind, UtcDateTime):
        return LATER
    if isinstance(kind, Date):
        return date(2027, 8, 9).isoformat()
    if isinstance(kind, JSON):
        return json.dumps({"tampered": True})
    if isinstance(kind, LargeBinary):
        return bytes(now or b"") + b"x"
    if isinstance(kind, Boolean):
        return not now
    if isinstance(kind, String | Text):
        return f"x{now or ''}"
    return (now or 0) + 1
