"""Lists of alerts of one kind or tier, however few there are, are read from an index"""

from __future__ import annotations

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in ("kind", "tier"):
        op.create_index(f"ix_alert_{column}_id", "alert", [column, "id"])
        op.create_index(f"ix_alert_{column}_state_id", "alert", [column, "state", "id"])


def downgrade() -> None:
    for column in ("kind", "tier"):
        op.drop_index(f"ix_alert_{column}_state_id", "alert")
        op.drop_index(f"ix_alert_{column}_id", "alert")
