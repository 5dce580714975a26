"""Identities at a provider, and the log-ins there that were used"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import server.models

revision = "0016"
down_revision = "0014"
branch_labels = None
depends_on = None
TIME = server.models.UtcDateTime()


def upgrade() -> None:
    op.create_table(
        "oidc_link",
        sa.Column("issuer", sa.String(length=300), primary_key=True),
        sa.Column("subject", sa.String(length=255), primary_key=True),
        sa.Column(
            "user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.ForeignKey("user.id"), nullable=False
        ),
        sa.Column("linked_at", TIME, nullable=False),
        sa.UniqueConstraint("issuer", "user_id"),
    )
    op.create_index("ix_oidc_link_user_id", "oidc_link", ["user_id"])
    op.create_table(
        "oidc_used_state",
        sa.Column("state_sha256", sa.String(length=64), primary_key=True),
        sa.Column("expires_at", TIME, nullable=False),
    )
    op.create_index("ix_oidc_used_state_expires_at", "oidc_used_state", ["expires_at"])


def downgrade() -> None:
    op.drop_table("oidc_used_state")
    op.drop_table("oidc_link")
