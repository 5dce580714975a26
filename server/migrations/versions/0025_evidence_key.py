"""Pictures are known by what was signed of them: boxes, and incidents of one box, may have the same bytes

What was there keeps its digest as its key, by which the log knows it. A tombstone can be withdrawn. On SQLite the table
is written anew. There is no way back for a record in which one picture is there twice, or was purged twice.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from server.models import UtcDateTime

revision = "0025"
down_revision = "0029"
branch_labels = None
depends_on = None

COUNTING = sa.text("withdrawn_at IS NULL")
NAMES = {"uq": "%(table_name)s_%(column_0_N_name)s_key"}  # as PostgreSQL called it; SQLite has it without a name


def upgrade() -> None:
    op.add_column("evidence", sa.Column("key", sa.String(64)))
    op.execute("UPDATE evidence SET key = sha256")
    _key_evidence("key")
    op.create_index("ix_evidence_sha256", "evidence", ["sha256"])
    with op.batch_alter_table("tombstone", naming_convention=NAMES) as tombstone:
        tombstone.add_column(sa.Column("withdrawn_at", UtcDateTime()))
        tombstone.drop_constraint("tombstone_kind_ref_key", type_="unique")
    op.create_index(
        "uq_tombstone_counting", "tombstone", ["kind", "ref"], unique=True, sqlite_where=COUNTING,
        postgresql_where=COUNTING,
    )  # fmt: skip


def downgrade() -> None:
    _drop_trigger("tombstone_end", "tombstone")
    op.drop_index("uq_tombstone_counting", "tombstone")
    with op.batch_alter_table("tombstone") as tombstone:
        tombstone.drop_column("withdrawn_at")
        tombstone.create_unique_constraint("tombstone_kind_ref_key", ["kind", "ref"])
    op.drop_index("ix_evidence_sha256", "evidence")
    _key_evidence("sha256")
    op.drop_column("evidence", "key")


def _key_evidence(column: str) -> None:
    """Make *column* the primary key."""
    _drop_trigger("evidence", "evidence")
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("evidence", column, nullable=False)
        op.drop_constraint("evidence_pkey", "evidence", type_="primary")
        op.create_primary_key("evidence_pkey", "evidence", [column])
        return
    table = _evidence()
    table.append_constraint(sa.PrimaryKeyConstraint(column))
    with op.batch_alter_table("evidence", copy_from=table, recreate="always"):
        """As it is described, with its rows."""


def _drop_trigger(kind: str, table: str) -> None:
    """One of the log's, whose columns change; those that there are to be are made after the migrations."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"DROP TRIGGER IF EXISTS log_{kind} ON {table}")
    else:
        op.execute(f"DROP TRIGGER IF EXISTS log_{kind}")


def _evidence() -> sa.Table:
    return sa.Table(
        "evidence",
        sa.MetaData(),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("box_id", sa.String(64), sa.ForeignKey("box.id"), nullable=False),
        sa.Column("incident_id", sa.String(64), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("signed_manifest", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Index("ix_evidence_incident_id", "incident_id"),
    )
