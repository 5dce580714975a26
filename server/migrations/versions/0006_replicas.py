"""PostgreSQL, replicas and a long list of alerts: 64-bit numbers, duties, notices of changed alerts, indexes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import server.models

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# the list of alerts: of one site or of all, in one state or in any, newest first
INDEXES = {
    "ix_alert_site_id_id": ["site_id", "id"],
    "ix_alert_site_state_id": ["site_id", "state", "id"],
    "ix_alert_state_id": ["state", "id"],
}
FORMER_INDEXES = {"ix_alert_site_id": ["site_id"], "ix_alert_state": ["state"]}
# in the transaction that changes an alert or adds a picture to it, so that a killed replica has told it or done nothing
NOTICES = (
    """
CREATE FUNCTION brightline_tell(told alert) RETURNS void LANGUAGE sql AS $$
  SELECT pg_notify('brightline_alert',
    json_build_object('alert_id', told.id, 'site_id', told.site_id, 'state', told.state, 'region_path', coalesce(
      (SELECT region.path FROM site JOIN region ON region.id = site.region_id WHERE site.id = told.site_id), ''))::text)
$$
""",
    """
CREATE FUNCTION brightline_alert_notice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM brightline_tell(NEW);
  RETURN NULL;
END $$
""",
    """
CREATE FUNCTION brightline_evidence_notice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM brightline_tell(alert) FROM alert WHERE incident_id = NEW.incident_id AND box_id = NEW.box_id;
  RETURN NULL;
END $$
""",
    "CREATE TRIGGER alert_notice AFTER INSERT OR UPDATE ON alert "
    "FOR EACH ROW EXECUTE FUNCTION brightline_alert_notice()",
    "CREATE TRIGGER evidence_notice AFTER INSERT ON evidence "
    "FOR EACH ROW EXECUTE FUNCTION brightline_evidence_notice()",
)
# what 0005 made for SQLite: the audit log is only added to (TRUNCATE has no rows, so it has a trigger of its own)
GUARDS = (
    """
CREATE FUNCTION brightline_audit_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_TABLE_NAME = 'audit_head' AND TG_OP = 'UPDATE' THEN
    IF NEW.seq = OLD.seq + 1 THEN RETURN NEW; END IF;
  END IF;
  RAISE EXCEPTION 'the audit log is only added to';
END $$
""",
    "CREATE TRIGGER audit_entry_guard BEFORE UPDATE OR DELETE ON audit_entry "
    "FOR EACH ROW EXECUTE FUNCTION brightline_audit_guard()",
    "CREATE TRIGGER audit_entry_truncate BEFORE TRUNCATE ON audit_entry EXECUTE FUNCTION brightline_audit_guard()",
    "CREATE TRIGGER audit_head_guard BEFORE UPDATE OR DELETE ON audit_head "
    "FOR EACH ROW EXECUTE FUNCTION brightline_audit_guard()",
    "CREATE TRIGGER audit_head_truncate BEFORE TRUNCATE ON audit_head EXECUTE FUNCTION brightline_audit_guard()",
)


def upgrade() -> None:
    op.create_table(
        "duty",
        sa.Column("name", sa.String(length=64), primary_key=True),
        sa.Column("claimed_by", sa.String(length=64), nullable=True),
        sa.Column("claimed_until", server.models.UtcDateTime(), nullable=True),
    )
    for name, columns in INDEXES.items():
        op.create_index(name, "alert", columns)
    for name in FORMER_INDEXES:
        op.drop_index(name, "alert")
    for table in ("series_cursor", "series_problem"):  # the record's own series is in either database
        op.execute(f"UPDATE {table} SET store = 'record' WHERE store = 'sqlite'")  # noqa: S608
    if op.get_bind().dialect.name == "postgresql":
        _widen_integers()
        for statement in (*NOTICES, *GUARDS):
            op.execute(statement)


def _widen_integers() -> None:
    """SQLite's integers have 64 bits already; a journal outgrows 32."""
    inspector = sa.inspect(op.get_bind())
    for table in inspector.get_table_names():
        for column in inspector.get_columns(table):
            if type(column["type"]) is sa.INTEGER:
                op.alter_column(table, column["name"], type_=sa.BigInteger())
    for name in inspector.get_sequence_names():
        op.execute(f'ALTER SEQUENCE "{name}" AS bigint')


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for name in ("alert", "evidence"):
            op.execute(f"DROP TRIGGER {name}_notice ON {name}")
            op.execute(f"DROP FUNCTION brightline_{name}_notice()")
        op.execute("DROP FUNCTION brightline_tell(alert)")
        for name in ("audit_entry_guard", "audit_entry_truncate", "audit_head_guard", "audit_head_truncate"):
            op.execute(f"DROP TRIGGER {name} ON {name.rpartition('_')[0]}")
        op.execute("DROP FUNCTION brightline_audit_guard()")
    for table in ("series_cursor", "series_problem"):
        op.execute(f"UPDATE {table} SET store = 'sqlite' WHERE store = 'record'")  # noqa: S608
    for name, columns in FORMER_INDEXES.items():
        op.create_index(name, "alert", columns)
    for name in INDEXES:
        op.drop_index(name, "alert")
    op.drop_table("duty")
