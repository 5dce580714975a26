"""Which batches hold times told before the clock was right: a correction finds them without opening all others"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "unsynced_batch",
        sa.Column("batch_id", sa.Integer, sa.ForeignKey("batch.id"), primary_key=True, autoincrement=False),
        sa.Column("box_id", sa.String(64), sa.ForeignKey("box.id"), nullable=False),
        sa.Column("boot_id", sa.String(64), nullable=False),
        sa.Column("offset_ms", sa.BigInteger, nullable=True),
    )
    op.create_index("ix_unsynced_batch_boot", "unsynced_batch", ["box_id", "boot_id"])


def downgrade() -> None:
    op.drop_table("unsynced_batch")
