"""Notices: changes of alerts, channels, messages, webhooks and other vendors' events"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

import server.models

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None
TIME = server.models.UtcDateTime()


def upgrade() -> None:
    _create_feed()
    _create_channels()
    _create_notices()
    _create_vendors()


def _create_feed() -> None:
    op.create_table(
        "alert_change",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("event_id", sa.String(length=32), nullable=False, unique=True),
        sa.Column("alert_id", sa.Integer(), sa.ForeignKey("alert.id"), nullable=False),
        sa.Column("site_id", sa.Integer(), sa.ForeignKey("site.id"), nullable=False),
        sa.Column("change", sa.String(length=24), nullable=False),
        sa.Column("tier", sa.Integer(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=True, unique=True),
    )
    op.create_index("ix_alert_change_alert_id", "alert_change", ["alert_id"])
    desk = op.create_table(
        "event_desk",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("next_position", sa.Integer(), nullable=False),
    )
    op.bulk_insert(desk, [{"id": 1, "next_position": 1}])
    op.create_table(
        "webhook_cursor",
        sa.Column("name", sa.String(length=40), primary_key=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("next_try_at", TIME, nullable=True),
        sa.Column("lease_by", sa.String(length=32), nullable=True),
        sa.Column("lease_until", TIME, nullable=True),
        sa.Column("delivered_at", TIME, nullable=True),
        sa.Column("reason", sa.String(length=40), nullable=True),
    )
    op.create_table(
        "webhook_skip",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.UniqueConstraint("name", "position"),
    )


def _create_channels() -> None:
    op.create_table(
        "notification_channel",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("user_id", sa.Integer(), sa.ForeignKey("user.id"), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("label", sa.String(length=80), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("tier_max", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("removed_at", TIME, nullable=True),
        sa.Column("lease_by", sa.String(length=32), nullable=True),
        sa.Column("lease_until", TIME, nullable=True),
        sa.Column("held_until", TIME, nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("paused_until", TIME, nullable=True),
    )
    op.create_index("ix_notification_channel_user_id", "notification_channel", ["user_id"])


def _create_notices() -> None:
    op.create_table(
        "notification_message",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("idempotency_key", sa.String(length=32), nullable=False, unique=True),
        sa.Column("channel_id", sa.Integer(), sa.ForeignKey("notification_channel.id"), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("tier", sa.Integer(), nullable=False),
        sa.Column("thread", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=300), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("path", sa.String(length=120), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("next_try_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
    )
    op.create_index("ix_notification_message_channel_id", "notification_message", ["channel_id"])
    op.create_index("ix_notification_message_due", "notification_message", ["state", "next_try_at"])
    op.create_table(
        "notification",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("change_id", sa.Integer(), sa.ForeignKey("alert_change.id"), nullable=False),
        sa.Column("channel_id", sa.Integer(), sa.ForeignKey("notification_channel.id"), nullable=False),
        sa.Column("alert_id", sa.Integer(), sa.ForeignKey("alert.id"), nullable=False),
        sa.Column("thread", sa.String(length=64), nullable=False),
        sa.Column("tier", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Boolean(), nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("message_id", sa.Integer(), sa.ForeignKey("notification_message.id"), nullable=True),
        sa.UniqueConstraint("change_id", "channel_id"),
    )
    op.create_index("ix_notification_alert_id", "notification", ["alert_id"])
    op.create_index("ix_notification_message_id", "notification", ["message_id"])
    op.create_index("ix_notification_thread", "notification", ["thread", "channel_id"])
    op.create_index("ix_notification_waiting", "notification", ["channel_id", "message_id", "due_at"])


def _create_vendors() -> None:
    op.create_table(
        "vendor_source",
        sa.Column("token_sha256", sa.String(length=64), primary_key=True),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("site_id", sa.Integer(), sa.ForeignKey("site.id"), nullable=False),
        sa.Column("box_id", sa.String(length=64), sa.ForeignKey("box.id"), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("revoked_at", TIME, nullable=True),
    )
    op.create_table(
        "vendor_event",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("box_id", sa.String(length=64), sa.ForeignKey("box.id"), nullable=False),
        sa.Column("event_key", sa.String(length=64), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=True),
        sa.Column("incident_id", sa.String(length=64), nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.UniqueConstraint("box_id", "event_key"),
    )


def downgrade() -> None:
    for table in (
        "vendor_event", "vendor_source", "notification", "notification_message", "notification_channel",
        "webhook_skip", "webhook_cursor", "event_desk", "alert_change",
    ):  # fmt: skip
        op.drop_table(table)
