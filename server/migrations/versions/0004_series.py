"""Cursor and problems of the series stores"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import server.models

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "series_cursor",
        sa.Column("store", sa.String(length=255), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("batch_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("store"),
    )
    op.create_table(
        "series_problem",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("store", sa.String(length=255), nullable=False),
        sa.Column("batch_id", sa.Integer(), nullable=False),
        sa.Column("sensor_id", sa.String(length=64), nullable=True),
        sa.Column("quantity", sa.String(length=64), nullable=True),
        sa.Column("observed_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.String(length=512), nullable=False),
        sa.Column("at", server.models.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("series_problem", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_series_problem_store"), ["store"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("series_problem", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_series_problem_store"))
    op.drop_table("series_problem")
    op.drop_table("series_cursor")
