"""Boxes: their status, silence, commands, revocation and former keys, since when the centre listens"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import server.models

revision = "0011"
down_revision = "0013"
branch_labels = None
depends_on = None
TIME = server.models.UtcDateTime()


def _box(*, primary_key: bool = False) -> sa.Column[str]:
    return sa.Column("box_id", sa.String(length=64), sa.ForeignKey("box.id"), nullable=False, primary_key=primary_key)


def upgrade() -> None:
    with op.batch_alter_table("box", schema=None) as batch_op:
        batch_op.add_column(sa.Column("revoked_at", TIME, nullable=True))
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
    op.create_table(
        "box_command",
        sa.Column("id", sa.String(length=32), primary_key=True),
        _box(),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("answered_at", TIME, nullable=True),
        sa.Column("result", sa.JSON(), nullable=True),
    )
    op.create_table(
        "box_key",
        sa.Column("id", sa.Integer(), primary_key=True),
        _box(),
        sa.Column("public_key", sa.String(length=64), nullable=False),
        sa.Column("replaced_at", TIME, nullable=False),
    )
    op.create_index("ix_box_key_box_id", "box_key", ["box_id"])
    with op.batch_alter_table("enrolment_code", schema=None) as batch_op:
        batch_op.add_column(sa.Column("box_id", sa.String(length=64), nullable=True))
    op.create_index("ix_box_command_waiting", "box_command", ["box_id", "state", "expires_at"])


def downgrade() -> None:
    with op.batch_alter_table("enrolment_code", schema=None) as batch_op:
        batch_op.drop_column("box_id")
    for table in ("box_key", "box_command", "centre_watch", "box_silence", "box_state"):
        op.drop_table(table)
    with op.batch_alter_table("box", schema=None) as batch_op:
        batch_op.drop_column("revoked_at")
