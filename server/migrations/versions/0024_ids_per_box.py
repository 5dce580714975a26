"""Events and incidents are known by their box and their id: two boxes may say the same id

On SQLite the tables are written anew, so that the file needs room for the events once more. There is no way back for
a record in which two boxes did say the same id.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from server.models import UtcDateTime

revision = "0024"
down_revision = "0021"
branch_labels = None
depends_on = None

OWN = sa.text("box_id IS NULL")
BY_INCIDENT = "alert_incident_id_key"
NAMES = {"uq": "%(table_name)s_%(column_0_name)s_key"}  # as PostgreSQL called it; SQLite has it without a name


def upgrade() -> None:
    _key_events("event_id", "box_id")
    with op.batch_alter_table("alert", naming_convention=NAMES) as alert:
        alert.drop_constraint(BY_INCIDENT, type_="unique")
        alert.create_unique_constraint("uq_alert_incident", ["incident_id", "box_id"])
    op.create_index(
        "ix_alert_own_incident", "alert", ["incident_id"], unique=True, sqlite_where=OWN, postgresql_where=OWN
    )


def downgrade() -> None:
    op.drop_index("ix_alert_own_incident", "alert")
    with op.batch_alter_table("alert") as alert:
        alert.drop_constraint("uq_alert_incident", type_="unique")
        alert.create_unique_constraint(BY_INCIDENT, ["incident_id"])
    _key_events("event_id")


def _key_events(*columns: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        for name in ("event", "unsynced_event"):
            op.drop_constraint(f"{name}_pkey", name, type_="primary")
            op.create_primary_key(f"{name}_pkey", name, list(columns))
        return
    for table in (_event(), _unsynced_event()):
        table.append_constraint(sa.PrimaryKeyConstraint(*columns))
        with op.batch_alter_table(table.name, copy_from=table, recreate="always"):
            """As it is described, with its rows."""


def _event() -> sa.Table:
    return sa.Table(
        "event",
        sa.MetaData(),
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("incident_id", sa.String(64), nullable=False),
        sa.Column("box_id", sa.String(64), sa.ForeignKey("box.id"), nullable=False),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("source_id", sa.String(64), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Index("ix_event_incident_id", "incident_id"),
        sa.Index("ix_event_source", "box_id", "source_id", "at"),
        sa.Index("ix_event_box_type_at", "box_id", "type", "at"),
    )


def _unsynced_event() -> sa.Table:
    return sa.Table(
        "unsynced_event",
        sa.MetaData(),
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("box_id", sa.String(64), sa.ForeignKey("box.id"), nullable=False),
        sa.Column("boot_id", sa.String(64), nullable=False),
        sa.Column("told_at", UtcDateTime(), nullable=False),
        sa.Index("ix_unsynced_event_boot", "box_id", "boot_id"),
    )
