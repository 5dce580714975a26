"""Legal holds: who wants what kept, why and until when. No purge breaks one; placing and releasing is on record.

Each hold stands by itself: what two people held is free when both holds are released. Nobody lifts what was placed
from above them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from server.audit import Actor, note
from server.models import Alert, User
from server.policy import cut_of
from server.retention.models import LegalHold
from server.scope import WHOLE, reach_of

REASON_CHARACTERS_MAX = 2000
NAME_CHARACTERS_MAX = 80
IN_FORCE_MAX = 20  # on one alert
SPAN_MAX = timedelta(days=36_525)


class HoldRefused(ValueError):
    """A hold without a reason, on nothing, or one that is not there; the message says which."""


def place_hold(
    db: Session,
    actor: Actor,
    reason: str,
    now: datetime,
    *,
    site_id: int | None = None,
    alert_id: int | None = None,
    until: datetime | None = None,
    placed_within: str = WHOLE,
) -> LegalHold:
    """Hold an alert, or a whole site, in the caller's transaction; raises HoldRefused."""
    if not reason.strip():
        raise HoldRefused("a hold needs a reason")
    if until is not None and not now < until <= now + SPAN_MAX:
        raise HoldRefused("a hold ends in the future, within 100 years; without an end it lasts until it is released")
    until = until.astimezone(UTC) if until else None
    if alert_id is not None:
        alert = db.get(Alert, alert_id)
        if alert is None:
            raise HoldRefused(f"there is no alert {alert_id}")
        if len([hold for hold in holds_on(db, alert, now) if hold.alert_id is not None]) >= IN_FORCE_MAX:
            raise HoldRefused(f"alert {alert_id} has {IN_FORCE_MAX} holds already")
        site_id = alert.site_id
    if site_id is None:
        raise HoldRefused("a hold is on an alert or a site")
    hold = LegalHold(
        site_id=site_id, alert_id=alert_id, reason=reason[:REASON_CHARACTERS_MAX],
        placed_by=actor.name[:NAME_CHARACTERS_MAX], placed_at=now, until=until, placed_within=placed_within,
    )  # fmt: skip
    db.add(hold)
    db.flush()
    said = {"alert": alert_id, "reason": hold.reason, "until": until.isoformat() if until else None}
    note(db, actor, "hold.place", ("hold", hold.id), said, site_id=site_id)
    return hold


def release_hold(db: Session, actor: Actor, hold_id: int, reason: str, now: datetime) -> LegalHold:
    """End a hold in the caller's transaction; raises HoldRefused."""
    hold = db.get(LegalHold, hold_id)
    if hold is None or hold.released_at is not None:
        raise HoldRefused(f"there is no hold {hold_id} to release")
    if not reason.strip():
        raise HoldRefused("a release needs a reason")
    hold.released_by, hold.released_at = actor.name[:NAME_CHARACTERS_MAX], now
    hold.release_reason = reason[:REASON_CHARACTERS_MAX]
    said = {"alert": hold.alert_id, "reason": hold.release_reason}
    note(db, actor, "hold.release", ("hold", hold.id), said, site_id=hold.site_id)
    return hold


def rank_of(user: User) -> str:
    """How far this person reaches, as a hold of theirs says it."""
    return reach_of(user).region_path or ""


def may_lift(user: User, hold: LegalHold) -> bool:
    """Whether this person reaches as far as whoever placed the hold; an administrator always does, a token only as
    far as it is bound."""
    if user.role == "administrator" and cut_of(user.role) is None:
        return True
    rank = rank_of(user)
    return rank == WHOLE or not hold.placed_within or (rank != "" and hold.placed_within.startswith(rank))


def active(now: datetime) -> ColumnElement[bool]:
    """The condition that a hold counts."""
    return and_(LegalHold.released_at.is_(None), or_(LegalHold.until.is_(None), LegalHold.until > now))


def alert_is_held(now: datetime) -> ColumnElement[bool]:
    """The condition that an alert, or its site, is held."""
    whole_site = and_(LegalHold.alert_id.is_(None), LegalHold.site_id == Alert.site_id)
    return select(LegalHold.id).where(active(now), or_(LegalHold.alert_id == Alert.id, whole_site)).exists()


def holds_on(db: Session, alert: Alert, now: datetime) -> list[LegalHold]:
    """The holds in force that keep an alert, its own and those of its whole site, the oldest first."""
    own_or_site = or_(LegalHold.alert_id == alert.id, LegalHold.alert_id.is_(None))
    query = select(LegalHold).where(LegalHold.site_id == alert.site_id, own_or_site, active(now))
    return list(db.scalars(query.order_by(LegalHold.id)))


def list_holds(db: Session) -> list[LegalHold]:
    """All of them, the newest first."""
    return list(db.scalars(select(LegalHold).order_by(LegalHold.id.desc())))
