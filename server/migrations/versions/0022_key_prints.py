"""Fingerprints of the key files that all replicas share"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import server.models

revision = "0022"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "key_print",
        sa.Column("name", sa.String(length=40), primary_key=True),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("noted_at", server.models.UtcDateTime(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("key_print")
