"""Boxes: their status, their silence, since when the centre listens"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import server.models

revision = "0011"
down_revision = "0015"
branch_labels = None
depends_on = None
TIME = server.models.UtcDateTime()


def _box(*, primary_key: bool = False) -> sa.Column[str]:
    return sa.Column("box_id", sa.String(length=64), sa.ForeignKey("box.id"), nullable=False, primary_key=primary_key)


def upgrade() -> None:
    op.create_table(
        "box_state",
        _box(primary_key=True),
        sa.Column("told_at", TIME, nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
    )
    op.create_table(
        "box_silence",
        _box(primary_key=True),
        sa.Column("incident_id", sa.String(length=64), nullable=False),
        sa.Column("silent_since", TIME, nullable=False),
    )
    watch = op.create_table(
        "centre_watch",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("looked_at", TIME, nullable=True),
        sa.Column("listening_since", TIME, nullable=True),
    )
    op.bulk_insert(watch, [{"id": 1, "looked_at": None, "listening_since": None}])


def downgrade() -> None:
    for table in ("centre_watch", "box_silence", "box_state"):
        op.drop_table(table)
