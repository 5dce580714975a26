"""Alembic's entry: migrates the database that `server.database.migrate` names, one replica at a time.

All steps are one transaction: a cut leaves the record as it was, or as it is to be.
"""

from __future__ import annotations

from typing import Any

from alembic import context
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event

import server.merkle.models
import server.models_access
import server.models_assets
import server.models_audit
import server.models_boxes
import server.models_keys
import server.models_life_cycle
import server.models_notification
import server.models_oidc
import server.models_self_control
import server.retention.models
import server.rollout.models
import server.seals.models
import server.series.models
import server.work  # noqa: F401 - their tables belong to the metadata
from server.database import LOCK_WAIT_S
from server.merkle.triggers import ensure_triggers
from server.models_uplink import Base
from server.postgres import MIGRATION_LOCK, connect_arguments
from server.seals.sealing import seal_anew
from server.settings import PostgresRecord, Settings


def sqlite_engine(url: URL) -> Engine:
    """One whose transactions begin when they are said to: the driver would leave the definition of tables out of them.

    Foreign keys are not looked at while a table is written anew.
    """
    made = create_engine(url, poolclass=NullPool, connect_args={"timeout": LOCK_WAIT_S})

    @event.listens_for(made, "connect")
    def prepare(connection: Any, _: object) -> None:
        connection.isolation_level = None

    @event.listens_for(made, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return made


settings = context.config.attributes.get("settings")
assert isinstance(settings, Settings), "run migrations through brightline-server migrate"
record = settings.database
postgres = isinstance(record, PostgresRecord)
if isinstance(record, PostgresRecord):
    # a migration may take long, and so may the wait for the replica that migrates
    patient = record.model_copy(update={"statement_timeout_s": 0, "lock_timeout_s": 0})
    engine = create_engine(record.sqlalchemy_url, poolclass=NullPool, connect_args=connect_arguments(patient))
else:
    engine = sqlite_engine(settings.database_url)
with engine.connect() as connection:
    if postgres:
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({MIGRATION_LOCK})")
        connection.commit()  # the lock belongs to the connection, which ends below: it is not kept
    with connection.begin():
        context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
        context.run_migrations()
        ensure_triggers(connection)
        seal_anew(connection, context.config.attributes.pop("seal_anew", ()))  # tables that a migration named
engine.dispose()
