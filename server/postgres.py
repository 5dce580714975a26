"""How PostgreSQL is connected to: time-outs on everything, the locks of writers, and text as it takes it."""

from __future__ import annotations

from typing import Any

from psycopg import Connection as Psycopg
from psycopg.types.string import StrDumper
from sqlalchemy import Connection, Engine, create_engine, event

from server.settings import PostgresRecord

WRITES = "brightline_writes"  # option of a transaction: absent (it reads), "alone" or "beside"
# PostgreSQL's advisory locks are numbers, one space for each database: "brl" and the purpose
WRITERS_LOCK = 0x62726C01
MIGRATION_LOCK = 0x62726C02


class _TextWithoutNul(StrDumper):
    """PostgreSQL's text holds no NUL; what a box or a person wrote is not refused for one, it is shown as U+FFFD."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\x00", "\ufffd"))


def open_engine(record: PostgresRecord) -> Engine:
    """An engine on a record in PostgreSQL; nothing is connected yet."""
    engine = create_engine(
        record.sqlalchemy_url,
        isolation_level="READ COMMITTED",
        pool_size=record.pool_size,
        max_overflow=0,
        pool_timeout=record.pool_timeout_s,
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args=connect_arguments(record),
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Psycopg[Any], _: object) -> None:
        connection.adapters.register_dumper(str, _TextWithoutNul)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITES)
        if writes is None:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return
        lock = "pg_advisory_xact_lock_shared" if writes == "beside" else "pg_advisory_xact_lock"
        connection.exec_driver_sql(f"SELECT {lock}({WRITERS_LOCK})")

    return engine


def connect_arguments(record: PostgresRecord) -> dict[str, Any]:
    """How every connection of ours is made: nothing waits without end, and a dead peer is noticed."""
    limits_ms = {
        "statement_timeout": record.statement_timeout_s,
        "lock_timeout": record.lock_timeout_s,
        "idle_in_transaction_session_timeout": record.statement_timeout_s,
    }
    options = " ".join(f"-c {name}={round(limit_s * 1000)}" for name, limit_s in limits_ms.items())
    arguments: dict[str, Any] = {
        "application_name": "brightline",
        "connect_timeout": round(record.connect_timeout_s),
        "options": f"{options} -c timezone=UTC",
        "sslmode": record.sslmode,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    }
    return {**arguments, "sslrootcert": str(record.ca_file)} if record.ca_file else arguments
