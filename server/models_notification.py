"""Tables of the notices: what changed, who is to hear of it, and what was sent.

`alert_change` is the transactional outbox: its row is committed with the change itself. All else is derived from it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.models import Base, User

__all__ = [
    "AlertChange",
    "Base",
    "EventDesk",
    "Notification",
    "NotificationChannel",
    "NotificationMessage",
    "VendorEvent",
    "VendorSource",
    "WebhookCursor",
    "WebhookSkip",
]


class AlertChange(Base):
    """A change of an alert as it was then. ``position`` is its place in the feed, given when it is dealt with."""

    __tablename__ = "alert_change"
    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[str] = mapped_column(String(32), unique=True)
    alert_id: Mapped[int] = mapped_column(ForeignKey("alert.id"), index=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("site.id"))
    change: Mapped[str] = mapped_column(String(24))
    tier: Mapped[int]
    at: Mapped[datetime]
    data: Mapped[dict[str, Any]]
    position: Mapped[int | None] = mapped_column(unique=True)


class EventDesk(Base):
    """One row: the next position of the feed. Its lock makes positions appear in order, without a hole."""

    __tablename__ = "event_desk"
    id: Mapped[int] = mapped_column(primary_key=True)
    next_position: Mapped[int]


class NotificationChannel(Base):
    """Where a person is reached. ``address`` is a secret; ``label`` is what pages show of it.

    A replica that sends through it holds the lease; after failures nobody tries again before ``paused_until``.
    """

    __tablename__ = "notification_channel"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    address: Mapped[str] = mapped_column(Text)
    label: Mapped[str] = mapped_column(String(80))
    language: Mapped[str] = mapped_column(String(8))
    tier_max: Mapped[int]
    created_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]
    lease_by: Mapped[str | None] = mapped_column(String(32))
    lease_until: Mapped[datetime | None]
    held_until: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(default=0)
    paused_until: Mapped[datetime | None]
    user: Mapped[User] = relationship()


class NotificationMessage(Base):
    """What is sent: written with its key before it is sent, so that a second try after a crash is the same message."""

    __tablename__ = "notification_message"
    __table_args__ = (Index("ix_notification_message_due", "state", "next_try_at"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    idempotency_key: Mapped[str] = mapped_column(String(32), unique=True)
    channel_id: Mapped[int] = mapped_column(ForeignKey("notification_channel.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    tier: Mapped[int]
    thread: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(300))
    body: Mapped[str] = mapped_column(Text)
    path: Mapped[str] = mapped_column(String(120))
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(40))
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    next_try_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    channel: Mapped[NotificationChannel] = relationship()


class Notification(Base):
    """That one person is to hear of one change through one channel, not before ``due_at``."""

    __tablename__ = "notification"
    __table_args__ = (
        UniqueConstraint("change_id", "channel_id"),
        Index("ix_notification_waiting", "channel_id", "message_id", "due_at"),
        Index("ix_notification_thread", "thread", "channel_id"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    change_id: Mapped[int] = mapped_column(ForeignKey("alert_change.id"))
    channel_id: Mapped[int] = mapped_column(ForeignKey("notification_channel.id"))
    alert_id: Mapped[int] = mapped_column(ForeignKey("alert.id"), index=True)
    thread: Mapped[str] = mapped_column(String(64))
    tier: Mapped[int]
    digest: Mapped[bool]
    due_at: Mapped[datetime]
    message_id: Mapped[int | None] = mapped_column(ForeignKey("notification_message.id"), index=True)
    change: Mapped[AlertChange] = relationship()
    channel: Mapped[NotificationChannel] = relationship()
    message: Mapped[NotificationMessage | None] = relationship()


class WebhookCursor(Base):
    """How far an upper-level platform has taken the feed."""

    __tablename__ = "webhook_cursor"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    position: Mapped[int]
    failures: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime | None]
    lease_by: Mapped[str | None] = mapped_column(String(32))
    lease_until: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    reason: Mapped[str | None] = mapped_column(String(40))


class WebhookSkip(Base):
    """An event that a platform did not take in time; it can still be read from the feed."""

    __tablename__ = "webhook_skip"
    __table_args__ = (UniqueConstraint("name", "position"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40))
    position: Mapped[int]
    reason: Mapped[str] = mapped_column(String(40))
    at: Mapped[datetime]


class VendorSource(Base):
    """Another vendor's system at one site; it proves itself by a token, of which only the digest is kept."""

    __tablename__ = "vendor_source"
    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    source: Mapped[str] = mapped_column(String(32))
    site_id: Mapped[int] = mapped_column(ForeignKey("site.id"))
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"))
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class VendorEvent(Base):
    """What another vendor's system told, whole, whether or not its code is known here."""

    __tablename__ = "vendor_event"
    __table_args__ = (UniqueConstraint("box_id", "event_key"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"))
    event_key: Mapped[str] = mapped_column(String(64))
    code: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str | None] = mapped_column(String(40))
    incident_id: Mapped[str] = mapped_column(String(64))
    received_at: Mapped[datetime]
    body: Mapped[dict[str, Any]]
