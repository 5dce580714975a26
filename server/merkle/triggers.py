"""What makes every row a leaf: triggers that note it in the transaction which writes it, so that no code can forget.

They are made again after every migration, because SQLite drops them with a table that a migration rebuilds.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, inspect, text

from server.merkle.leaves import KINDS, Kind
from server.merkle.models import LogPending


def ensure_triggers(connection: Connection) -> None:
    """Make the triggers that are missing, in the caller's transaction; nothing happens before the log's migration."""
    inspected = inspect(connection)
    tables = set(inspected.get_table_names())
    if LogPending.__tablename__ not in tables:
        return
    postgres = connection.dialect.name == "postgresql"
    make = _postgres if postgres else _sqlite
    listed = "SELECT tgname FROM pg_trigger" if postgres else "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    there = set(connection.execute(text(listed)).scalars())  # making one anew would make all writers wait
    for kind in KINDS.values():
        if kind.table not in tables or f"log_{kind.name}" in there:
            continue
        if kind.watched <= {column["name"] for column in inspected.get_columns(kind.table)}:  # else it is older
            for statement in make(kind):
                connection.execute(text(statement))


def _condition(kind: Kind) -> tuple[str, str]:
    """The moment, and when it counts."""
    if kind.once is None:
        return "INSERT", ""
    return "UPDATE", f"WHEN (OLD.{kind.once.key} IS NULL AND NEW.{kind.once.key} IS NOT NULL) "


def _sqlite(kind: Kind) -> Iterator[str]:
    moment, when = _condition(kind)
    yield (
        f"CREATE TRIGGER log_{kind.name} AFTER {moment} ON {kind.table} {when}"  # noqa: S608 - the words are those of KINDS
        f"BEGIN INSERT INTO log_pending (kind, ref) VALUES ('{kind.name}', NEW.{kind.key.key}); END"
    )


def _postgres(kind: Kind) -> Iterator[str]:
    moment, when = _condition(kind)
    yield (
        f"CREATE OR REPLACE FUNCTION brightline_log_{kind.name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "  # noqa: S608
        f"INSERT INTO log_pending (kind, ref) VALUES ('{kind.name}', NEW.{kind.key.key}::text); RETURN NULL; END $$"
    )
    yield (
        f"CREATE TRIGGER log_{kind.name} AFTER {moment} ON {kind.table} "
        f"FOR EACH ROW {when}EXECUTE FUNCTION brightline_log_{kind.name}()"
    )
