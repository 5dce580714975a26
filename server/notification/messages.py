"""The messages of one channel: made, tried again, given up; each step within the caller's transaction.

A message is written with its idempotency key before it is sent. What was sent but not recorded is sent again with the
same key and the same words.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Select, delete, exists, or_, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session, joinedload

from server.models import User
from server.models_notification import Notification, NotificationChannel, NotificationMessage
from server.notification.portions import Portion, Wish, cut
from server.notification.rules import Rules
from server.notification.timing import URGENT_TIER
from server.notification.wording import Told, Words, one_fault, several, trial

CHANNELS_AT_ONCE_MAX = 32
WISHES_AT_ONCE_MAX = 500
FAILURES_BEFORE_PAUSE = 3
LOWEST_TIER = 3
RETRY_S_FIRST, RETRY_S_MAX = 5.0, 900.0
PAUSE_S_FIRST, PAUSE_S_MAX = 60.0, 1800.0
Uniform = Callable[[float, float], float]


def due_channels(db: Session, now: datetime) -> list[int]:
    """The channels for which something is to be sent now and that nobody works on."""
    channel = NotificationChannel
    return list(db.scalars(_due(now).with_only_columns(channel.id).order_by(channel.id).limit(CHANNELS_AT_ONCE_MAX)))


def _due(now: datetime) -> Select[NotificationChannel]:
    channel, wish, message = NotificationChannel, Notification, NotificationMessage
    wished = exists().where(wish.channel_id == channel.id, wish.message_id.is_(None), wish.due_at <= now)
    waits = exists().where(message.channel_id == channel.id, message.state == "waiting", message.next_try_at <= now)
    return select(channel).where(
        channel.removed_at.is_(None),
        or_(channel.lease_until.is_(None), channel.lease_until <= now),
        or_(channel.paused_until.is_(None), channel.paused_until <= now),
        or_(waits, wished & or_(channel.held_until.is_(None), channel.held_until <= now)),
    )


def take_lease(db: Session, channel_id: int, worker: str, now: datetime, lease_s: float) -> bool:
    """Whether *worker* may now send through the channel; nobody else does until the lease ends."""
    free = or_(
        NotificationChannel.lease_until.is_(None),
        NotificationChannel.lease_until <= now,
        NotificationChannel.lease_by == worker,
    )
    taken = db.execute(
        update(NotificationChannel)
        .where(NotificationChannel.id == channel_id, NotificationChannel.removed_at.is_(None), free)
        .values(lease_by=worker, lease_until=now + timedelta(seconds=lease_s))
        .execution_options(synchronize_session=False)
    )
    assert isinstance(taken, CursorResult)
    return taken.rowcount == 1


def drop_lease(db: Session, channel_id: int, worker: str) -> None:
    """Let others have the channel."""
    db.execute(
        update(NotificationChannel)
        .where(NotificationChannel.id == channel_id, NotificationChannel.lease_by == worker)
        .values(lease_by=None, lease_until=None)
    )


def prepare(db: Session, channel_id: int, rules: Rules, now: datetime) -> list[int]:
    """Make the channel's new messages; gives all that are to be sent now, oldest first."""
    channel = db.get_one(NotificationChannel, channel_id, populate_existing=True)
    waiting = select(Notification).options(joinedload(Notification.change)).where(
        Notification.channel_id == channel_id, Notification.message_id.is_(None), Notification.due_at <= now
    ).order_by(Notification.id).limit(WISHES_AT_ONCE_MAX)  # fmt: skip
    rows = {row.id: row for row in db.scalars(waiting)}
    sent_at = db.scalars(
        select(NotificationMessage.created_at).where(
            NotificationMessage.channel_id == channel_id,
            NotificationMessage.created_at > now - timedelta(seconds=rules.cap.window_s),
        )
    )
    wishes = [Wish(row.id, row.thread, row.tier, row.digest) for row in rows.values()]
    portions, channel.held_until = cut(wishes, list(sent_at), now, rules.cap)
    for portion in portions:
        _make(db, channel, portion, [rows[wish.id] for wish in portion.wishes], rules, now)
    db.flush()
    message = NotificationMessage
    tries = select(message.id).where(
        message.channel_id == channel_id, message.state == "waiting", message.next_try_at <= now
    )
    return list(db.scalars(tries.order_by(message.id)))


def _make(
    db: Session, channel: NotificationChannel, portion: Portion, rows: list[Notification], rules: Rules, now: datetime
) -> None:
    changes = [Told(row.change.change, row.change.data) for row in rows]
    digest = portion.kind == "digest"
    words = (
        one_fault(channel.language, changes)
        if portion.kind == "notice"
        else several(channel.language, changes, digest=digest)
    )
    tier = min(row.tier for row in rows)
    expires_at = max(row.due_at for row in rows) + timedelta(seconds=rules.age_max_s[tier])
    thread = rows[0].thread if portion.kind == "notice" else uuid.uuid4().hex
    message = _message(channel, portion.kind, words, thread, tier, now, expires_at)
    db.add(message)
    for row in rows:
        row.message = message


def _message(
    channel: NotificationChannel, kind: str, words: Words, thread: str, tier: int, now: datetime, expires_at: datetime
) -> NotificationMessage:
    return NotificationMessage(
        idempotency_key=uuid.uuid4().hex, channel_id=channel.id, kind=kind, tier=tier, thread=thread,
        subject=words.subject, body=words.body, path=words.path, state="waiting", created_at=now, next_try_at=now,
        expires_at=expires_at,
    )  # fmt: skip


def queue_trial(db: Session, channel: NotificationChannel, now: datetime) -> None:
    """A message by which somebody tries the channel out; one at a time."""
    message = NotificationMessage
    waits = select(message.id).where(
        message.channel_id == channel.id, message.kind == "trial", message.state == "waiting"
    )
    if db.scalar(waits.limit(1)) is None:
        later = now + timedelta(seconds=RETRY_S_MAX)
        db.add(_message(channel, "trial", trial(channel.language), uuid.uuid4().hex, 3, now, later))


def queue_reminder(
    db: Session, people: Sequence[User], words: Callable[[str], Words], now: datetime, age_s: float
) -> int:
    """A message of the lowest tier to every channel of these people that takes it, in its language; how many."""
    channel = NotificationChannel
    query = select(channel).where(
        channel.user_id.in_([user.id for user in people]), channel.removed_at.is_(None), channel.tier_max >= LOWEST_TIER
    )
    found = list(db.scalars(query.order_by(channel.id)))
    thread, expires_at = uuid.uuid4().hex, now + timedelta(seconds=age_s)
    db.add_all(_message(item, "reminder", words(item.language), thread, LOWEST_TIER, now, expires_at) for item in found)
    return len(found)


def begin_try(db: Session, message_id: int, now: datetime) -> NotificationMessage | None:
    """The message with its channel, counted as tried; None when it is done or too old, which is recorded."""
    query = select(NotificationMessage).options(joinedload(NotificationMessage.channel))
    message = db.scalar(query.where(NotificationMessage.id == message_id))
    if message is None or message.state != "waiting":
        return None
    if message.expires_at <= now:
        message.state, message.reason, message.finished_at = "failed", "expired", now
        return None
    message.attempts += 1
    return message


def note_sent(db: Session, message_id: int, now: datetime) -> None:
    """The receipt: the other side took it."""
    message = db.get_one(NotificationMessage, message_id)
    message.state, message.reason, message.finished_at = "sent", None, now
    channel = db.get_one(NotificationChannel, message.channel_id)
    channel.failures, channel.paused_until = 0, None


def note_failed(
    db: Session,
    message_id: int,
    reason: str,
    now: datetime,
    *,
    final: bool = False,
    retry_after_s: float | None = None,
    uniform: Uniform = random.uniform,
) -> None:
    """The receipt: it did not arrive. It is tried again with full jitter unless that is *final*.

    After some failures in a row the whole channel pauses: what waits for it keeps no thread and no time from others.
    """
    message = db.get_one(NotificationMessage, message_id)
    channel = db.get_one(NotificationChannel, message.channel_id)
    message.reason = reason
    if final:
        message.state, message.finished_at = "failed", now
    else:
        ceiling_s = min(RETRY_S_MAX, RETRY_S_FIRST * 2 ** min(message.attempts, 12))
        pause_s = max(uniform(0.0, ceiling_s), retry_after_s or 0.0)
        message.next_try_at = now + timedelta(seconds=pause_s)
        channel.failures += 1
        if channel.failures >= FAILURES_BEFORE_PAUSE:
            ceiling_s = min(PAUSE_S_MAX, PAUSE_S_FIRST * 2 ** min(channel.failures - FAILURES_BEFORE_PAUSE, 8))
            channel.paused_until = now + timedelta(seconds=uniform(ceiling_s / 2, ceiling_s))
    if reason == "gone":
        remove_channel(db, channel, now)


def remove_channel(db: Session, channel: NotificationChannel, now: datetime) -> None:
    """Nothing more goes through it, and its address is forgotten; what was sent stays on record."""
    channel.removed_at, channel.address = now, ""
    db.execute(delete(Notification).where(Notification.channel_id == channel.id, Notification.message_id.is_(None)))
    db.execute(
        update(NotificationMessage)
        .where(NotificationMessage.channel_id == channel.id, NotificationMessage.state == "waiting")
        .values(state="failed", reason="removed", finished_at=now)
    )


def is_urgent(message: NotificationMessage) -> bool:
    return message.tier == URGENT_TIER
