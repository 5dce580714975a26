"""How far those who placed a legal hold reach: whoever reaches less does not lift it

Of a hold of before that nobody who is known here placed by themselves (the console, a token) it is the whole instance.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

RANKS = """
UPDATE legal_hold SET placed_within = COALESCE((
  SELECT region.path FROM "user" JOIN region ON region.id = "user".region_id
  WHERE "user".username = legal_hold.placed_by
), '/')
"""


def upgrade() -> None:
    with op.batch_alter_table("legal_hold") as hold:
        hold.add_column(sa.Column("placed_within", sa.String(255), nullable=False, server_default="/"))
    op.execute(RANKS)


def downgrade() -> None:
    with op.batch_alter_table("legal_hold") as hold:
        hold.drop_column("placed_within")
