"""Self-control records, retained samples, and the guards that keep what was signed"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from server.models import UtcDateTime

revision = "0010"
down_revision = "0007"
branch_labels = None
depends_on = None

ONLY_ADDED = ("self_control_edition", "retained_sample", "sample_removal")
SIGNED = "OLD.edition > 0"
KEPT = "NEW.site_id <> OLD.site_id OR NEW.kind <> OLD.kind OR NEW.first_day <> OLD.first_day"
# the same rules for each dialect; one that is not named here has none
GUARDS = {
    "sqlite": (
        *(
            f"CREATE TRIGGER {table}_{move.lower()} BEFORE {move} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is only added to'); END"
            for table in ONLY_ADDED
            for move in ("UPDATE", "DELETE")
        ),
        f"CREATE TRIGGER self_control_record_update BEFORE UPDATE ON self_control_record WHEN {SIGNED} AND ({KEPT} "
        "OR NEW.form <> OLD.form OR NEW.seen <> OLD.seen OR NEW.zero_risk <> OLD.zero_risk "
        "OR NEW.edition <= OLD.edition) BEGIN SELECT RAISE(ABORT, 'a signed record stands still'); END",
        f"CREATE TRIGGER self_control_record_delete BEFORE DELETE ON self_control_record WHEN {SIGNED} "
        "BEGIN SELECT RAISE(ABORT, 'a signed record stays'); END",
    ),
    "postgresql": (
        """
CREATE FUNCTION brightline_self_control_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_TABLE_NAME = 'self_control_record' AND TG_OP <> 'TRUNCATE' THEN
    IF OLD.edition = 0 THEN RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END; END IF;
    IF TG_OP = 'UPDATE' AND NEW.edition > OLD.edition AND NEW.site_id = OLD.site_id AND NEW.kind = OLD.kind
      AND NEW.first_day = OLD.first_day AND NEW.form::text = OLD.form::text AND NEW.seen::text = OLD.seen::text
      AND NEW.zero_risk = OLD.zero_risk THEN RETURN NEW; END IF;
  END IF;
  RAISE EXCEPTION '% stands still', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$
""",
        *(
            f"CREATE TRIGGER {table}_{name} BEFORE {what} EXECUTE FUNCTION brightline_self_control_guard()"
            for table in (*ONLY_ADDED, "self_control_record")
            for name, what in (
                ("guard", f"UPDATE OR DELETE ON {table} FOR EACH ROW"),
                ("truncate", f"TRUNCATE ON {table}"),
            )
        ),
    ),
}


def upgrade() -> None:
    op.create_table(
        "self_control_record",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.Column("opened_by_id", sa.Integer(), nullable=False),
        sa.Column("form", sa.JSON(), nullable=False),
        sa.Column("seen", sa.JSON(), nullable=False),
        sa.Column("edition", sa.Integer(), nullable=False),
        sa.Column("zero_risk", sa.Boolean(), nullable=False),
        sa.Column("signed_at", UtcDateTime(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"]),
        sa.ForeignKeyConstraint(["opened_by_id"], ["user.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("site_id", "kind", "first_day"),
    )
    op.create_index("ix_self_control_record_first_day", "self_control_record", ["first_day"])
    op.create_table(
        "self_control_edition",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("record_id", sa.Integer(), nullable=False),
        sa.Column("edition", sa.Integer(), nullable=False),
        sa.Column("move", sa.String(length=16), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("remote_addr", sa.String(length=64), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["record_id"], ["self_control_record.id"]),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("record_id", "edition"),
    )
    op.create_table(
        "self_control_reminder",
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("stage", sa.String(length=8), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"]),
        sa.PrimaryKeyConstraint("site_id", "kind", "first_day", "stage"),
    )
    _create_samples()
    for statement in GUARDS.get(op.get_bind().dialect.name, ()):
        op.execute(statement)


def _create_samples() -> None:
    op.create_table(
        "retained_sample",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("meal", sa.String(length=16), nullable=False),
        sa.Column("dish", sa.String(length=80), nullable=False),
        sa.Column("weight_g", sa.Double(), nullable=False),
        sa.Column("taken_at", UtcDateTime(), nullable=False),
        sa.Column("taken_by", sa.String(length=80), nullable=False),
        sa.Column("box_id", sa.String(length=64), nullable=True),
        sa.Column("sensor_id", sa.String(length=64), nullable=False),
        sa.Column("entered_at", UtcDateTime(), nullable=False),
        sa.Column("entered_by_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"]),
        sa.ForeignKeyConstraint(["box_id"], ["box.id"]),
        sa.ForeignKeyConstraint(["entered_by_id"], ["user.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_retained_sample_site_taken", "retained_sample", ["site_id", "taken_at"])
    op.create_table(
        "sample_removal",
        sa.Column("sample_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("how", sa.String(length=8), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("entered_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["sample_id"], ["retained_sample.id"]),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"]),
        sa.PrimaryKeyConstraint("sample_id"),
    )


def downgrade() -> None:
    for table in (
        "sample_removal", "retained_sample", "self_control_reminder", "self_control_edition", "self_control_record",
    ):  # fmt: skip
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION brightline_self_control_guard()")
