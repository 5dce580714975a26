"""Which keys the boxes themselves replaced, and in which epoch"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("box_key", schema=None) as batch_op:
        batch_op.add_column(sa.Column("last_epoch", sa.String(length=64), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("box_key", schema=None) as batch_op:
        batch_op.drop_column("last_epoch")
