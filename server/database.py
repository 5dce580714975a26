"""The record's engine: SQLite (WAL, synced at every commit) or PostgreSQL, migrated by Alembic.

A transaction that writes takes the write lock at its start: what it reads first cannot change before it writes, and
two writers wait for each other instead of failing half-way. On SQLite that is BEGIN IMMEDIATE; on PostgreSQL an
advisory lock of the transaction under READ COMMITTED, for all replicas. Writers that lock by themselves what they rely
on (the rows of one box) say ``beside`` and then wait on PostgreSQL only for the others, not for each other.
A reading transaction keeps one snapshot (REPEATABLE READ, READ ONLY).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm.exc import StaleDataError

from server.seals.sealing import seal_all_sessions
from server.settings import PostgresRecord, Settings

if TYPE_CHECKING:
    from alembic.config import Config

LOCK_WAIT_S = 15
WRITES = "brightline_writes"
UNIQUE_VIOLATION, SERIALIZATION_FAILURE, DEADLOCK = "23505", "40001", "40P01"


def make_engine(settings: Settings) -> Engine:
    """An engine on the instance's record; what sessions write with it is sealed (`server.seals`)."""
    seal_all_sessions()
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    if isinstance(settings.database, PostgresRecord):
        from server.postgres import open_engine

        return open_engine(settings.database)
    return _sqlite_engine(settings)


def _sqlite_engine(settings: Settings) -> Engine:
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
        writes = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def writing(engine: Engine, *, beside: bool = False) -> Engine:
    """The same engine for transactions that write; *beside* others that lock what they rely on, as this one does."""
    return engine.execution_options(**{WRITES: "beside" if beside else "alone"})


def clashed(error: Exception) -> bool:
    """Whether a transaction failed only because another was faster: done again, it sees what the other did."""
    if isinstance(error, StaleDataError):
        return True
    sqlstate = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    return sqlstate in (UNIQUE_VIOLATION, SERIALIZATION_FAILURE, DEADLOCK)


def migrate(settings: Settings) -> None:
    """Bring the database to the newest revision. Replicas that start together do it once, the others wait."""
    from alembic import command

    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    config = _alembic()
    config.attributes["settings"] = settings
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
