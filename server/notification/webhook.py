"""The feed of changes for upper-level platforms: CloudEvents 1.0 in structured JSON, signed as Standard Webhooks say.

Every platform has a cursor and is sent one event after the other, so an alert's changes arrive in their order. What
arrived but was not recorded is sent again with the same id (``webhook-id``), by which a receiver knows it.
"""

from __future__ import annotations

import base64
import hmac
import json
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import SecretStr
from sqlalchemy import ColumnElement, false, func, or_, select, true, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from server.models import Region, Site
from server.models_notification import AlertChange, EventDesk, WebhookCursor, WebhookSkip
from server.notification.messages import RETRY_S_FIRST, RETRY_S_MAX, Uniform
from server.notification.settings import Webhook, secret_bytes
from server.regions import find_region
from server.scope import region_within

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
DEFAULT_SOURCE = "urn:brightline:centre"
PARTS = ("time_zone", "box_id")  # what the feed does not tell


def cloud_event(change: AlertChange, source: str) -> dict[str, Any]:
    """One change (CloudEvents 1.0.2, JSON format); ``sequence`` is its place in the feed."""
    return {
        "specversion": "1.0",
        "id": change.event_id,
        "source": source,
        "type": f"brightline.alert.{change.change}.v1",
        "subject": f"alerts/{change.alert_id}",
        "time": change.at.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "sequence": f"{change.position:020d}",
        "partitionkey": str(change.alert_id),
        "data": {key: value for key, value in change.data.items() if key not in PARTS},
    }


def signature(secrets: Sequence[SecretStr], event_id: str, timestamp_s: int, body: bytes) -> str:
    """The ``webhook-signature`` header: one ``v1`` HMAC-SHA256 over id, time and body for each secret."""
    signed = f"{event_id}.{timestamp_s}.".encode() + body
    macs = [hmac.digest(secret_bytes(secret), signed, "sha256") for secret in secrets]
    return " ".join(f"v1,{base64.b64encode(mac).decode()}" for mac in macs)


def sealed(change: AlertChange, hook: Webhook, source: str, now: datetime) -> tuple[bytes, dict[str, str]]:
    """Body and headers of one delivery."""
    body = json.dumps(cloud_event(change, source), ensure_ascii=False, separators=(",", ":")).encode()
    timestamp_s = int(now.timestamp())
    return body, {
        "content-type": CONTENT_TYPE,
        "webhook-id": change.event_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": signature(hook.secrets, change.event_id, timestamp_s, body),
    }


def ensure_cursors(db: Session, hooks: Sequence[Webhook]) -> None:
    """A new platform is sent what happens from now on; what was before it can read from the feed."""
    # of two replicas that start together, one waits here and then finds the cursors
    db.execute(update(EventDesk).where(EventDesk.id == 1).values(next_position=EventDesk.next_position))
    newest = db.scalar(select(func.max(AlertChange.position))) or 0
    for hook in hooks:
        if db.get(WebhookCursor, hook.name) is None:
            db.add(WebhookCursor(name=hook.name, position=newest))
            db.flush()


def due_hooks(db: Session, hooks: Sequence[Webhook], now: datetime) -> list[Webhook]:
    """Those that are behind, that nobody works on and that do not pause."""
    newest = select(func.max(AlertChange.position)).scalar_subquery()
    cursor = WebhookCursor
    names = set(
        db.scalars(
            select(cursor.name).where(
                cursor.position < newest,
                or_(cursor.lease_until.is_(None), cursor.lease_until <= now),
                or_(cursor.next_try_at.is_(None), cursor.next_try_at <= now),
            )
        )
    )
    return [hook for hook in hooks if hook.name in names]


def take_next(db: Session, hook: Webhook, worker: str, now: datetime, lease_s: float) -> AlertChange | None:
    """Lease the platform and give the next event for it; None when there is none or somebody else works on it."""
    free = or_(WebhookCursor.lease_until.is_(None), WebhookCursor.lease_until <= now, WebhookCursor.lease_by == worker)
    taken = db.execute(
        update(WebhookCursor)
        .where(WebhookCursor.name == hook.name, free)
        .values(lease_by=worker, lease_until=now + timedelta(seconds=lease_s))
        .execution_options(synchronize_session=False)
    )
    assert isinstance(taken, CursorResult)
    if taken.rowcount != 1:
        return None
    cursor = db.get_one(WebhookCursor, hook.name, populate_existing=True)
    if cursor.next_try_at is not None and cursor.next_try_at > now:
        return None
    later = select(AlertChange).where(AlertChange.position > cursor.position)
    wanted = later.where(AlertChange.tier.in_(hook.tiers), _lies_in(db, hook))
    change = db.scalar(wanted.order_by(AlertChange.position).limit(1))
    if change is None:
        cursor.position = db.scalar(select(func.max(AlertChange.position))) or cursor.position
    return change


def _lies_in(db: Session, hook: Webhook) -> ColumnElement[bool]:
    """The changes of the platform's region; a region that does not exist yet has none."""
    if hook.region is None:
        return true()
    region = find_region(db, hook.region)
    if region is None:
        return false()
    sites = select(Site.id).join(Region, Region.id == Site.region_id).where(region_within(region.path))
    return AlertChange.site_id.in_(sites)


def drop_lease(db: Session, hook: Webhook, worker: str) -> None:
    """Let others send to the platform."""
    db.execute(
        update(WebhookCursor)
        .where(WebhookCursor.name == hook.name, WebhookCursor.lease_by == worker)
        .values(lease_by=None, lease_until=None)
    )


def note_delivered(db: Session, hook: Webhook, position: int, now: datetime) -> None:
    """The platform took it."""
    cursor = db.get_one(WebhookCursor, hook.name)
    if position > cursor.position:
        cursor.position, cursor.delivered_at = position, now
        cursor.failures, cursor.next_try_at, cursor.reason = 0, None, None


def note_undelivered(
    db: Session,
    hook: Webhook,
    change: AlertChange,
    reason: str,
    now: datetime,
    *,
    retry_after_s: float | None = None,
    uniform: Uniform = random.uniform,
) -> None:
    """It did not: try again with full jitter, or go on when the event is too old by now."""
    cursor = db.get_one(WebhookCursor, hook.name)
    position = change.position
    assert position is not None, "only an event with a place in the feed is sent"
    if now - change.at > timedelta(seconds=hook.age_max_s) and position > cursor.position:
        db.add(WebhookSkip(name=hook.name, position=position, reason=reason, at=now))
        cursor.position = position
    cursor.failures += 1
    cursor.reason = reason
    ceiling_s = min(RETRY_S_MAX, RETRY_S_FIRST * 2 ** min(cursor.failures, 12))
    cursor.next_try_at = now + timedelta(seconds=max(uniform(0.0, ceiling_s), retry_after_s or 0.0))
