"""Seals of rows; what is on record already is sealed as it stands, and marked so"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

from server.models import UtcDateTime

revision = "0030"
down_revision = "0027"
branch_labels = None
depends_on = None
TABLES = (
    "region", "site", "user", "api_token", "totp_secret", "recovery_code", "oidc_link", "key_print", "enrolment_code",
    "box", "box_key", "box_command", "config_release", "rollout", "rollout_box", "alert", "alert_change",
    "overdue_step", "card", "interview", "dismissal", "recheck", "rectification_photo", "notification_channel",
    "webhook_skip", "vendor_source", "vendor_event", "self_control_record", "sensor_card", "report", "report_entry",
    "report_file", "site_card", "legal_hold",
)  # fmt: skip
GUARDS = {
    "sqlite": tuple(
        f"CREATE TRIGGER row_seal_{move.lower()} BEFORE {move} ON row_seal "
        "BEGIN SELECT RAISE(ABORT, 'row_seal is only added to'); END"
        for move in ("UPDATE", "DELETE")
    ),
    "postgresql": tuple(
        f"CREATE TRIGGER row_seal_{name} BEFORE {what} EXECUTE FUNCTION brightline_self_control_guard()"
        for name, what in (
            ("guard", "UPDATE OR DELETE ON row_seal FOR EACH ROW"),
            ("truncate", "TRUNCATE ON row_seal"),
        )
    ),
}


def upgrade() -> None:
    op.create_table(
        "row_seal",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("table_name", sa.String(length=40), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("found", sa.Boolean(), nullable=False),
        sa.Column("broken", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_row_seal_ref", "row_seal", ["table_name", "ref", "id"])
    for statement in GUARDS.get(op.get_bind().dialect.name, ()):
        op.execute(statement)
    context.config.attributes.setdefault("seal_anew", set()).update(TABLES)


def downgrade() -> None:
    """The leaves stay in the log, which is never shortened: `verify` of the older version names them as unknown."""
    postgres = op.get_bind().dialect.name == "postgresql"
    op.execute("DROP TRIGGER IF EXISTS log_seal" + (" ON row_seal" if postgres else ""))
    if postgres:
        op.execute("DROP FUNCTION IF EXISTS brightline_log_seal()")
    op.drop_table("row_seal")
    context.config.attributes.pop("seal_anew", None)
