"""Releases of configurations, and their roll-outs to boxes"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import server.models

revision = "0014"
down_revision = "0017"
branch_labels = None
depends_on = None
TIME = server.models.UtcDateTime()


def upgrade() -> None:
    op.create_table(
        "config_release",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("region_path", sa.String(length=255), nullable=False),
        sa.Column("made_by", sa.String(length=80), nullable=False),
        sa.Column("made_at", TIME, nullable=False),
    )
    op.create_table(
        "rollout",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("release_id", sa.Integer(), sa.ForeignKey("config_release.id"), nullable=False),
        sa.Column("stages", sa.JSON(), nullable=False),
        sa.Column("soak_s", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("begun_by", sa.String(length=80), nullable=False),
        sa.Column("begun_at", TIME, nullable=False),
        sa.Column("changed_at", TIME, nullable=False),
    )
    op.create_index("ix_rollout_state", "rollout", ["state"])
    op.create_table(
        "rollout_box",
        sa.Column("rollout_id", sa.Integer(), sa.ForeignKey("rollout.id"), primary_key=True),
        sa.Column("box_id", sa.String(length=64), sa.ForeignKey("box.id"), primary_key=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("command_id", sa.String(length=32), nullable=True),
        sa.Column("previous_id", sa.Integer(), sa.ForeignKey("config_release.id"), nullable=True),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("changed_at", TIME, nullable=False),
    )
    op.create_index("ix_rollout_box_box", "rollout_box", ["box_id"])
    op.create_index("ix_rollout_box_command_id", "rollout_box", ["command_id"])


def downgrade() -> None:
    for table in ("rollout_box", "rollout", "config_release"):
        op.drop_table(table)
