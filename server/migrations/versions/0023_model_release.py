"""Releases of models beside those of configurations"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("config_release") as release:
        release.add_column(sa.Column("kind", sa.String(length=16), nullable=False, server_default="configuration"))
        release.add_column(sa.Column("slot", sa.String(length=64), nullable=False, server_default=""))
        release.add_column(sa.Column("model_sha256", sa.String(length=64), nullable=False, server_default=""))
    with op.batch_alter_table("rollout") as rollout:
        rollout.add_column(sa.Column("mode", sa.String(length=16), nullable=False, server_default="live"))


def downgrade() -> None:
    with op.batch_alter_table("rollout") as rollout:
        rollout.drop_column("mode")
    with op.batch_alter_table("config_release") as release:
        for name in ("kind", "slot", "model_sha256"):
            release.drop_column(name)
