"""The record store's engine: SQLite in WAL mode, synced at every commit, migrated by Alembic.

A transaction that writes takes the write lock at its start (BEGIN IMMEDIATE): what it reads first cannot change
before it writes, and two writers wait for each other instead of failing half-way. A reading one keeps one snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.orm import Session

from server.settings import Settings

if TYPE_CHECKING:
    from alembic.config import Config

LOCK_WAIT_S = 15
WRITES = "brightline_writes"


def make_engine(settings: Settings) -> Engine:
    """An engine on the instance's database file."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = create_engine(settings.database_url, connect_args={"timeout": LOCK_WAIT_S})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        connection.isolation_level = None  # the driver would begin by itself, late and deferred
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def writing(engine: Engine) -> Engine:
    """The same engine for transactions that write."""
    return engine.execution_options(**{WRITES: True})


def insertion(table: Table) -> str:
    """An INSERT of whole rows, their columns in the table's order, that leaves a row as it is whose key is there."""
    return str(sqlite.insert(table).on_conflict_do_nothing().compile(dialect=sqlite.dialect()))


def write_rows(db: Session | Connection, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Many rows with one statement of `insertion`: made into dictionaries first they cost more than the database."""
    if rows:
        connection = db.connection() if isinstance(db, Session) else db
        connection.exec_driver_sql(statement, list(rows))


def migrate(settings: Settings) -> None:
    """Bring the database to the newest revision."""
    from alembic import command

    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    config = _alembic()
    config.attributes["url"] = settings.database_url
    command.upgrade(config, "head")


def check_revision(engine: Engine) -> None:
    """Raises ValueError for a record of another version of this program; changes nothing."""
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    newest = ScriptDirectory.from_config(_alembic()).get_current_head()
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found != newest:
        raise ValueError(f"the record is of version {found}, this program of {newest}; run brightline-server migrate")


def _alembic() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    return config
