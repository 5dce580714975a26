"""Regions, what accounts are bound to, and the audit log

Sites and people of before have no region: such people see the whole instance, as they did.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import server.models

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# the same rules for each dialect; one that is not named here has none
GUARDS = {
    "sqlite": (
        "CREATE TRIGGER audit_entry_update BEFORE UPDATE ON audit_entry "
        "BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END",
        "CREATE TRIGGER audit_entry_delete BEFORE DELETE ON audit_entry "
        "BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END",
        "CREATE TRIGGER audit_head_update BEFORE UPDATE ON audit_head WHEN NEW.seq <> OLD.seq + 1 "
        "BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END",
        "CREATE TRIGGER audit_head_delete BEFORE DELETE ON audit_head "
        "BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END",
    ),
}


def upgrade() -> None:
    path = sa.String(length=255).with_variant(sa.String(length=255, collation="C"), "postgresql")
    op.create_table(
        "region",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.Integer(), nullable=True),
        sa.Column("level", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("path", path, nullable=False),
        sa.ForeignKeyConstraint(["parent_id"], ["region.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("parent_id", "name"),
    )
    op.create_index("ix_region_path", "region", ["path"])
    with op.batch_alter_table("site") as site:
        site.add_column(sa.Column("region_id", sa.Integer(), nullable=True))
        site.create_foreign_key("fk_site_region", "region", ["region_id"], ["id"])
        site.create_index("ix_site_region_id", ["region_id"])
    with op.batch_alter_table("user") as user:
        user.add_column(sa.Column("region_id", sa.Integer(), nullable=True))
        user.add_column(sa.Column("disabled", sa.Boolean(), nullable=False, server_default=sa.false()))
        user.create_foreign_key("fk_user_region", "region", ["region_id"], ["id"])
    _create_audit_log()


def _create_audit_log() -> None:
    op.create_table(
        "audit_entry",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", server.models.UtcDateTime(), nullable=False),
        sa.Column("actor_kind", sa.String(length=16), nullable=False),
        sa.Column("actor_id", sa.String(length=64), nullable=False),
        sa.Column("actor_name", sa.String(length=80), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("object_type", sa.String(length=40), nullable=False),
        sa.Column("object_id", sa.String(length=128), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("remote_addr", sa.String(length=64), nullable=False),
        sa.Column("previous_sha256", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"]),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("ix_audit_entry_site_id", "audit_entry", ["site_id"])
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(head, [{"id": 1, "seq": 0, "sha256": "0" * 64}])
    for statement in GUARDS.get(op.get_bind().dialect.name, ()):
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("audit_head")
    op.drop_table("audit_entry")
    with op.batch_alter_table("user") as user:
        user.drop_constraint("fk_user_region", type_="foreignkey")
        user.drop_column("disabled")
        user.drop_column("region_id")
    with op.batch_alter_table("site") as site:
        site.drop_index("ix_site_region_id")
        site.drop_constraint("fk_site_region", type_="foreignkey")
        site.drop_column("region_id")
    op.drop_table("region")
