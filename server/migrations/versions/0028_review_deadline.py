"""Until when a reviewer has to answer, so that their lateness goes one level up as well"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import server.models

revision = "0028"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("alert", sa.Column("review_by_at", server.models.UtcDateTime(), nullable=True))


def downgrade() -> None:
    op.drop_column("alert", "review_by_at")
