"""Reports: which batches speak of which sensor, sensor cards, signed reports and their files"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import server.models

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "batch_source",
        sa.Column("batch_id", sa.Integer(), sa.ForeignKey("batch.id"), primary_key=True),
        sa.Column("source_id", sa.String(length=64), primary_key=True),
        sa.Column("box_id", sa.String(length=64), nullable=False),
        sa.Column("lane", sa.String(length=16), nullable=False),
        sa.Column("first_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_batch_source_span", "batch_source", ["box_id", "source_id", "lane", "first_ms"])
    op.create_index("ix_alert_source", "alert", ["box_id", "source_id", "opened_at"])
    op.create_index("ix_event_source", "event", ["box_id", "source_id", "at"])
    _create_card()
    _create_reports()
    _index_journal()


def _create_card() -> None:
    op.create_table(
        "sensor_card",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("box_id", sa.String(length=64), sa.ForeignKey("box.id"), nullable=False),
        sa.Column("sensor_id", sa.String(length=64), nullable=False),
        sa.Column("valid_from", server.models.UtcDateTime(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("place", sa.String(length=80), nullable=False),
        sa.Column("ccp", sa.String(length=40), nullable=False),
        sa.Column("serial", sa.String(length=80), nullable=False),
        sa.Column("calibrated_on", sa.Date(), nullable=True),
        sa.Column("calibration_due_on", sa.Date(), nullable=True),
        sa.Column("offset_c", sa.Double(), nullable=True),
        sa.Column("high_c", sa.Double(), nullable=True),
        sa.Column("low_c", sa.Double(), nullable=True),
        sa.Column("basis", sa.String(length=160), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("entered_by_id", sa.Integer(), sa.ForeignKey("user.id"), nullable=False),
        sa.Column("entered_at", server.models.UtcDateTime(), nullable=False),
    )
    op.create_index("ix_sensor_card_box_id", "sensor_card", ["box_id"])


def _create_reports() -> None:
    op.create_table(
        "report",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("number", sa.String(length=16), nullable=False, unique=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("site_id", sa.Integer(), sa.ForeignKey("site.id"), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("start", server.models.UtcDateTime(), nullable=False),
        sa.Column("end", server.models.UtcDateTime(), nullable=False),
        sa.Column("content_sha256", sa.String(length=64), nullable=False),
        sa.Column("batches_sha256", sa.String(length=64), nullable=False),
    )
    op.create_index("ix_report_site_id", "report", ["site_id"])
    op.create_table(
        "report_entry",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("report_id", sa.Integer(), sa.ForeignKey("report.id"), nullable=False),
        sa.Column("edition", sa.Integer(), nullable=False),
        sa.Column("move", sa.String(length=16), nullable=False),
        sa.Column("user_id", sa.Integer(), sa.ForeignKey("user.id"), nullable=False),
        sa.Column("at", server.models.UtcDateTime(), nullable=False),
        sa.Column("remote_addr", sa.String(length=64), nullable=False),
        sa.UniqueConstraint("report_id", "edition"),
    )
    op.create_table(
        "report_file",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("report_id", sa.Integer(), sa.ForeignKey("report.id"), nullable=False),
        sa.Column("edition", sa.Integer(), nullable=False),
        sa.Column("format", sa.String(length=8), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.UniqueConstraint("report_id", "edition", "format", "language"),
    )
    op.create_index("ix_report_file_sha256", "report_file", ["sha256"])


def _index_journal() -> None:
    """Batches that came before this table get their rows here; a batch that cannot be read is left to `verify`."""
    from server.reports.sources import spans_of
    from telemetry.batch import BatchError, open_batch
    from telemetry.signing import PublicKey

    db = op.get_bind()
    keys = {row[0]: PublicKey.from_b64(row[1]) for row in db.execute(sa.text("SELECT id, public_key FROM box"))}
    insert = sa.text("INSERT INTO batch_source VALUES (:batch_id, :source_id, :box_id, :lane, :first_ms, :last_ms)")
    last = 0
    while rows := db.execute(
        sa.text("SELECT id, raw FROM batch WHERE id > :last ORDER BY id LIMIT 500"), {"last": last}
    ).all():
        for batch_id, raw in rows:
            last = batch_id
            try:
                batch = open_batch(bytes(raw), keys.get)
            except BatchError:
                continue
            for source_id, (first_ms, last_ms) in spans_of(batch).items():
                db.execute(
                    insert,
                    {
                        "batch_id": batch_id, "source_id": source_id, "box_id": batch.header.box_id,
                        "lane": batch.header.lane, "first_ms": first_ms, "last_ms": last_ms,
                    },
                )  # fmt: skip


def downgrade() -> None:
    op.drop_index("ix_event_source", "event")
    op.drop_index("ix_alert_source", "alert")
    for table in ("report_file", "report_entry", "report", "sensor_card", "batch_source"):
        op.drop_table(table)
