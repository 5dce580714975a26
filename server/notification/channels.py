"""A person's own channels, and the receipts of what was sent. Addresses go in here and never come out again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from server.models import User
from server.models_notification import AlertChange, Notification, NotificationChannel
from server.notification.apprise_notifier import AppriseNotifier
from server.notification.egress import Egress
from server.notification.messages import queue_trial, remove_channel
from server.notification.port import Notifier
from server.notification.settings import NotificationSettings
from server.notification.web_push import WebPushNotifier, ensure_key
from server.scope import within

CHANNELS_MAX = 10
RECEIPTS_MAX = 200


class ChannelRefused(Exception):
    """``code``: ``channel_bad_address``, ``channel_not_set_up``, ``channel_too_many`` or ``channel_unknown``."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Notices:
    """What this instance sends with: the notifier of each kind, and the key that browsers subscribe with."""

    notifiers: Mapping[str, Notifier]
    push_key: str
    egress: Egress


def open_notices(settings: NotificationSettings, data_dir: Path) -> Notices:
    """The notifiers as they are set up; connects to nothing. The egress is the caller's to close."""
    egress = Egress(settings.trusted_hosts, timeout_s=settings.timeout_s)
    contact = settings.contact or settings.public_url or ""
    push = WebPushNotifier(ensure_key(data_dir), egress, contact if contact.startswith(("https:", "mailto:")) else None)
    mail_url = settings.mail_url.get_secret_value() if settings.mail_url else None
    carrier = AppriseNotifier(mail_url=mail_url, trusted_hosts=settings.trusted_hosts, read_s=settings.timeout_s)
    notifiers: tuple[Notifier, ...] = (push, carrier)
    return Notices({kind: item for item in notifiers for kind in item.kinds}, push.public_key, egress)


def own_channels(db: Session, user: User) -> list[NotificationChannel]:
    """The channels of one person, oldest first."""
    mine = select(NotificationChannel).where(
        NotificationChannel.user_id == user.id, NotificationChannel.removed_at.is_(None)
    )
    return list(db.scalars(mine.order_by(NotificationChannel.id)))


def add_channel(
    db: Session, notices: Notices, user: User, kind: str, given: str, tier_max: int, language: str, now: datetime
) -> NotificationChannel:
    """Add one, or change the one with this address; raises ChannelRefused."""
    notifier = notices.notifiers.get(kind)
    if notifier is None:
        raise ChannelRefused("channel_not_set_up")
    try:
        address, label = notifier.check(given, kind)
    except ValueError:
        raise ChannelRefused("channel_bad_address") from None
    mine = own_channels(db, user)
    channel = next((item for item in mine if (item.kind, item.address) == (kind, address)), None)
    if channel is None:
        if len(mine) >= CHANNELS_MAX:
            raise ChannelRefused("channel_too_many")
        channel = NotificationChannel(
            user_id=user.id, kind=kind, address=address, label=label, language=language, tier_max=tier_max,
            created_at=now,
        )  # fmt: skip
        db.add(channel)
    channel.tier_max, channel.language = tier_max, language
    db.flush()
    return channel


def drop_channel(db: Session, user: User, channel_id: int, now: datetime) -> None:
    """Remove one of the person's own; raises ChannelRefused."""
    remove_channel(db, _mine(db, user, channel_id), now)


def try_channel(db: Session, user: User, channel_id: int, now: datetime) -> None:
    """Send a test through one of the person's own; raises ChannelRefused."""
    queue_trial(db, _mine(db, user, channel_id), now)


def _mine(db: Session, user: User, channel_id: int) -> NotificationChannel:
    channel = db.get(NotificationChannel, channel_id)
    if channel is None or channel.user_id != user.id or channel.removed_at is not None:
        raise ChannelRefused("channel_unknown")
    return channel


@dataclass(frozen=True)
class Receipt:
    """Who was told of which change of an alert, through what, and what came of it."""

    change: str
    person: str
    kind: str
    label: str
    state: str
    reason: str | None
    at: datetime


def receipts_of(db: Session, alert_id: int) -> list[Receipt]:
    """The receipts of one alert's notices, oldest first. The caller has checked that its reader may see the alert."""
    channel = joinedload(Notification.channel).joinedload(NotificationChannel.user)
    query = select(Notification).options(joinedload(Notification.change), joinedload(Notification.message), channel)
    rows = db.scalars(query.where(Notification.alert_id == alert_id).order_by(Notification.id).limit(RECEIPTS_MAX))
    return [_receipt(row) for row in rows]


def _receipt(row: Notification) -> Receipt:
    message = row.message
    return Receipt(
        change=row.change.change,
        person=row.channel.user.display_name,
        kind=row.channel.kind,
        label=row.channel.label,
        state=message.state if message else "waiting",
        reason=message.reason if message else None,
        at=(message.finished_at or message.created_at) if message else row.due_at,
    )


def events_after(db: Session, user: User, after: int, limit: int) -> tuple[list[AlertChange], int]:
    """The feed behind a position, as far as this person sees; and the position to go on from."""
    seen = select(AlertChange).where(AlertChange.position > after, within(user, AlertChange.site_id))
    query = seen.order_by(AlertChange.position).limit(limit)
    newest = db.scalar(select(func.max(AlertChange.position))) or 0
    found = list(db.scalars(query))
    if len(found) == limit:
        return found, found[-1].position or after
    if len(found) == limit:
        return found, found[-1].position or after
    return found, max(after, newest)
