"""Alembic's entry: migrates the database that `server.database.migrate` names."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine

import server.models_audit
import server.models_boxes
import server.models_notification
import server.series.models  # noqa: F401 - its tables belong to the metadata
from server.models_uplink import Base

url = context.config.attributes.get("url")
assert url is not None, "run migrations through brightline-server migrate"
engine = create_engine(url)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
