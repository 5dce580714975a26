"""Gap proof and clock repair: how far each lane is complete, what was told under a wrong clock."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import server.models

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "lane_position",
        sa.Column("box_id", sa.String(length=64), sa.ForeignKey("box.id"), primary_key=True),
        sa.Column("epoch", sa.String(length=64), primary_key=True),
        sa.Column("lane", sa.String(length=16), primary_key=True),
        sa.Column("complete_to", sa.BigInteger(), nullable=False),
    )
    op.execute("INSERT INTO lane_position SELECT DISTINCT box_id, epoch, lane, 0 FROM batch")
    op.create_table(
        "clock_correction",
        sa.Column("box_id", sa.String(length=64), sa.ForeignKey("box.id"), primary_key=True),
        sa.Column("boot_id", sa.String(length=64), primary_key=True),
        sa.Column("offset_ms", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.String(length=64), nullable=False),
    )
    op.create_table(
        "unsynced_point",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("box_id", sa.String(length=64), sa.ForeignKey("box.id"), nullable=False),
        sa.Column("boot_id", sa.String(length=64), nullable=False),
        sa.Column("sensor_id", sa.String(length=64), nullable=False),
        sa.Column("quantity", sa.String(length=64), nullable=False),
        sa.Column("told_ms", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("quality", sa.String(length=8), nullable=False),
        sa.Column("shown", sa.Boolean(), nullable=False),
    )
    op.create_index("ix_unsynced_point_boot", "unsynced_point", ["box_id", "boot_id", "sensor_id", "quantity"])
    op.create_table(
        "unsynced_event",
        sa.Column("event_id", sa.String(length=64), primary_key=True),
        sa.Column("box_id", sa.String(length=64), sa.ForeignKey("box.id"), nullable=False),
        sa.Column("boot_id", sa.String(length=64), nullable=False),
        sa.Column("told_at", server.models.UtcDateTime(), nullable=False),
    )
    op.create_index("ix_unsynced_event_boot", "unsynced_event", ["box_id", "boot_id"])


def downgrade() -> None:
    for table in ("unsynced_event", "unsynced_point", "clock_correction", "lane_position"):
        op.drop_table(table)
