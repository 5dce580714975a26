"""From a change of an alert to what each person is to hear of it.

`queue_notices` writes one row in the transaction of the change, and nothing more: ingest never waits for anybody.
`fan_out` turns such rows, once each and in order, into a place in the feed and one `notification` per channel.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from server.models import Alert, Site
from server.models_notification import AlertChange, EventDesk, Notification, NotificationChannel
from server.notification.recipients import UPWARDS, recipients
from server.notification.rules import Delivery, Rules
from server.notification.timing import URGENT_TIER, due_at, held_flap

CHANGES_AT_ONCE_MAX = 100
_WAITING = select(AlertChange).where(AlertChange.position.is_(None)).order_by(AlertChange.id)


def queue_notices(db: Session, alert: Alert, change: str) -> None:
    """Note that *alert* changed, in the caller's transaction and after the change was made to the object.

    *change* is the name of the move as in `alert_move` (``raise``, ``submit``, ``reject``, ``escalate`` ...) or
    another word of [a-z_] of at most 24 characters. Who hears of it is the rules' business; a change that no rule
    names is only in the feed. The alert must have been flushed: it needs its number.
    """
    site = db.get_one(Site, alert.site_id)
    db.add(
        AlertChange(
            event_id=uuid.uuid4().hex,
            alert_id=alert.id,
            site_id=alert.site_id,
            change=change,
            tier=alert.tier,
            at=datetime.now(UTC),
            data=_as_it_is(alert, site),
        )
    )


def _as_it_is(alert: Alert, site: Site) -> dict[str, Any]:
    """What notices and the feed tell of an alert; no person and no picture is among it."""
    return {
        "id": alert.id,
        "incident_id": alert.incident_id,
        "kind": alert.kind,
        "tier": alert.tier,
        "state": alert.state,
        "site": site.name,
        "time_zone": site.time_zone,
        "box_id": alert.box_id,
        "source_id": alert.source_id,
        "source_name": alert.source_name,
        "place": alert.place,
        "opened_at": alert.opened_at.isoformat(),
        "ended_at": alert.ended_at.isoformat() if alert.ended_at else None,
        "deadline_at": alert.deadline_at.isoformat(),
        "level": alert.level,
    }


def thread_of(change: AlertChange) -> str:
    """The same for all changes of one fault, also when it comes again as another incident."""
    data = change.data
    name = "\n".join((str(change.site_id), data["box_id"] or "", data["source_id"], data["kind"]))
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def has_waiting(db: Session) -> bool:
    """Whether there are changes that nobody has dealt with."""
    return db.scalar(_WAITING.with_only_columns(AlertChange.id).limit(1)) is not None


def fan_out(db: Session, rules: Rules, now: datetime) -> int:
    """Deal with the next changes within the caller's writing transaction; how many there were."""
    # the desk's row is locked before the changes are read: of two workers one waits, and then sees them done
    db.execute(update(EventDesk).where(EventDesk.id == 1).values(next_position=EventDesk.next_position))
    desk = db.get_one(EventDesk, 1)
    changes = list(db.scalars(_WAITING.limit(CHANGES_AT_ONCE_MAX)))
    for change in changes:
        change.position = desk.next_position
        desk.next_position += 1
        _tell(db, change, rules, now)
        db.flush()
    return len(changes)


def _tell(db: Session, change: AlertChange, rules: Rules, now: datetime) -> None:
    site = db.get_one(Site, change.site_id)
    chosen = _channels(db, change, site, rules)
    if not chosen:
        return
    if change.tier == URGENT_TIER:  # a hold at the cap is another for tier I
        mine = NotificationChannel.id.in_(list(chosen))
        db.execute(update(NotificationChannel).where(mine).values(held_until=None))
    thread = thread_of(change)
    told = _last_due(db, chosen, Notification.thread == thread) if change.change == "raise" else {}
    pending = _last_due(db, chosen, (Notification.alert_id == change.alert_id) & Notification.message_id.is_(None))
    for channel_id, delivery in chosen.items():
        due = due_at(now, site.time_zone, change.tier, delivery, rules)
        flap = held_flap(now, told.get(channel_id), rules.flap_window_s) if delivery == "now" else None
        held = [item for item in (flap, pending.get(channel_id)) if item is not None]
        db.add(
            Notification(
                change_id=change.id,
                channel_id=channel_id,
                alert_id=change.alert_id,
                thread=thread,
                tier=change.tier,
                digest=delivery != "now",
                due_at=max([due, *held]),
            )
        )


def _channels(db: Session, change: AlertChange, site: Site, rules: Rules) -> dict[int, Delivery]:
    """Channel → how it is told; the first rule that fits a channel counts."""
    chosen: dict[int, Delivery] = {}
    for rule in rules.notices:
        if not rule.fits(change.tier, change.data["kind"], change.change):
            continue
        level = None
        if rule.tell == "regulator":  # an overdue alert has climbed above the level of its tier
            level = max(rules.routing[change.tier], change.data.get("level", "station"), key=UPWARDS.index)
        people = [user.id for user in recipients(db, site, rule.roles, level)]
        query = select(NotificationChannel.id).where(
            NotificationChannel.user_id.in_(people),
            NotificationChannel.removed_at.is_(None),
            NotificationChannel.tier_max >= change.tier,
        )
        if rule.channels != "all":
            query = query.where(NotificationChannel.kind.in_(rule.channels))
        for channel_id in db.scalars(query.order_by(NotificationChannel.id)) if people else ():
            chosen.setdefault(channel_id, rule.delivery)
    return chosen


def _last_due(db: Session, channels: Sequence[int] | dict[int, Delivery], condition: Any) -> dict[int, datetime]:
    """When the last notice that meets the condition was or will be due, for each of these channels."""
    query = select(Notification.channel_id, func.max(Notification.due_at)).where(
        condition, Notification.channel_id.in_(list(channels))
    )
    return {row[0]: row[1] for row in db.execute(query.group_by(Notification.channel_id))}
