"""The Merkle log, holds and tombstones; what is on record already waits for its leaf, in the order of its taking"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import server.models

revision = "0009"
down_revision = "0012"
branch_labels = None
depends_on = None
TIME = server.models.UtcDateTime()
# 64 bits on either: SQLite counts keys only in what it calls INTEGER
WIDE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
# kind → table, key, when it was taken
TAKEN = (
    ("batch", "batch", "id", "received_at"),
    ("evidence", "evidence", "sha256", "received_at"),
    ("alert", "alert", "id", "opened_at"),
    ("move", "alert_move", "id", "at"),
    ("rectification", "rectification", "id", "submitted_at"),
    ("decision", "rectification", "id", "decided_at"),
    ("report", "report_entry", "id", "at"),
    ("audit", "audit_entry", "seq", "at"),
)


def upgrade() -> None:
    op.create_table(
        "log_pending",
        sa.Column("id", WIDE, primary_key=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("ref", sa.String(length=64), nullable=False),
    )
    op.create_table(
        "log_leaf",
        sa.Column("position", sa.BigInteger(), autoincrement=False, primary_key=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("ref", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.UniqueConstraint("kind", "ref"),
    )
    op.create_table(
        "log_node",
        sa.Column("level", sa.Integer(), autoincrement=False, primary_key=True),
        sa.Column("position", sa.BigInteger(), autoincrement=False, primary_key=True),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
    )
    op.create_table(
        "log_head",
        sa.Column("id", WIDE, primary_key=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("sent_at", TIME, nullable=True),
    )
    op.create_index("ix_log_head_size", "log_head", ["size"])
    op.create_table(
        "log_key",
        sa.Column("name", sa.String(length=120), primary_key=True),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("since", TIME, nullable=False),
    )
    _create_retention()
    _note_what_is_there()


def _create_retention() -> None:
    op.create_table(
        "legal_hold",
        sa.Column("id", WIDE, primary_key=True),
        sa.Column("site_id", WIDE, sa.ForeignKey("site.id"), nullable=False),
        sa.Column("alert_id", WIDE, sa.ForeignKey("alert.id"), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("placed_by", sa.String(length=80), nullable=False),
        sa.Column("placed_at", TIME, nullable=False),
        sa.Column("until", TIME, nullable=True),
        sa.Column("released_by", sa.String(length=80), nullable=True),
        sa.Column("released_at", TIME, nullable=True),
        sa.Column("release_reason", sa.Text(), nullable=True),
    )
    op.create_index("ix_legal_hold_site_id", "legal_hold", ["site_id"])
    op.create_index("ix_legal_hold_alert_id", "legal_hold", ["alert_id"])
    op.create_table(
        "tombstone",
        sa.Column("id", WIDE, primary_key=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("ref", sa.String(length=64), nullable=False),
        sa.Column("rule", sa.String(length=80), nullable=False),
        sa.Column("size_bytes", WIDE, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("key", sa.String(length=120), nullable=False),
        sa.Column("signature", sa.LargeBinary(length=64), nullable=False),
        sa.Column("done_at", TIME, nullable=True),
        sa.UniqueConstraint("kind", "ref"),
    )


def _note_what_is_there() -> None:
    """From the tables as they are at this revision; files of reports follow their reports."""
    parts = [
        f"SELECT '{kind}' AS kind, CAST({key} AS VARCHAR(64)) AS ref, {at} AS at, {key_order} AS place "  # noqa: S608
        f"FROM {table} WHERE {at} IS NOT NULL"
        for kind, table, key, at in TAKEN
        for key_order in ("0" if kind == "evidence" else key,)
    ]
    parts.append(
        "SELECT 'photo', CAST(rectification_photo.id AS VARCHAR(64)), rectification.submitted_at, "
        "rectification_photo.id "
        "FROM rectification_photo JOIN rectification ON rectification.id = rectification_photo.rectification_id"
    )
    parts.append(
        "SELECT 'report_file', CAST(report_file.id AS VARCHAR(64)), report_entry.at, report_file.id FROM report_file "
        "JOIN report_entry ON report_entry.report_id = report_file.report_id "
        "AND report_entry.edition = report_file.edition"
    )
    op.execute(
        "INSERT INTO log_pending (kind, ref) SELECT kind, ref FROM "  # noqa: S608 - constants
        f"({' UNION ALL '.join(parts)}) AS taken ORDER BY at, kind, place"
    )


def downgrade() -> None:
    """The triggers are made after the migrations, for whichever kinds there are: all of them go."""
    bind = op.get_bind()
    if bind.dialect.name == "postgresql":
        names = "SELECT proname FROM pg_proc WHERE proname LIKE 'brightline\\_log\\_%'"
        drop = "DROP FUNCTION {}() CASCADE"
    else:
        names = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'log\\_%' ESCAPE '\\'"
        drop = "DROP TRIGGER {}"
    for name in bind.execute(sa.text(names)).scalars().all():
        op.execute(drop.format(name))
    for table in ("tombstone", "legal_hold", "log_key", "log_head", "log_node", "log_leaf", "log_pending"):
        op.drop_table(table)
