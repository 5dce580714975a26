"""What pages and API share of legal holds: one placed or lifted on an alert that the caller sees."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from server.audit import note, person
from server.conditional import check_match
from server.deps import AppState, transact
from server.models import Alert, User
from server.policy import may
from server.problems import Problem
from server.queries import visible_alert
from server.retention.holds import HoldRefused, holds_on, may_lift, place_hold, rank_of, release_hold
from server.retention.models import LegalHold
from server.service import Hand


@dataclass(frozen=True)
class Wish:
    """Why and until when to hold, or why to lift; *if_match*: only on the alert that the caller has seen."""

    reason: str
    until: datetime | None = None
    if_match: str | None = None


def place(state: AppState, hand: Hand, alert_id: int, wish: Wish) -> LegalHold:
    """Hold an alert; raises Problem 404 (not for the caller), 412 (changed) or 422 (says too little)."""

    def work(db: Session) -> LegalHold:
        alert = _seen(db, hand, alert_id, wish.if_match)
        actor = person(hand.user, hand.remote_addr)
        return place_hold(
            db, actor, wish.reason.strip(), hand.clock(), alert_id=alert.id, until=wish.until,
            placed_within=rank_of(hand.user),
        )  # fmt: skip

    try:
        return transact(state, work)
    except HoldRefused as error:
        raise Problem(422, "hold_refused", str(error)) from error


def lift(state: AppState, hand: Hand, alert_id: int, hold_id: int | None, wish: Wish) -> list[LegalHold]:
    """End one of an alert's own holds; gives those that keep it still. Raises Problem 403, 404, 409, 412 or 422.

    Without *hold_id* there must be one only: nobody lifts by mistake what another has placed. A try to lift what was
    placed from above is on record.
    """

    actor = person(hand.user, hand.remote_addr)

    def work(db: Session) -> list[LegalHold] | None:
        alert = _seen(db, hand, alert_id, wish.if_match)
        own = {hold.id: hold for hold in holds_on(db, alert, hand.clock()) if hold.alert_id is not None}
        if not own:
            raise Problem(409, "not_held", "no hold of its own is on this alert")
        if hold_id is None and len(own) > 1:
            raise Problem(409, "holds_several", f"say which hold: {', '.join(map(str, own))}")
        if hold_id is not None and hold_id not in own:
            raise Problem(409, "unknown_hold", "no such hold is on this alert, or it was lifted already")
        wanted = next(iter(own)) if hold_id is None else hold_id
        if not may_lift(hand.user, own[wanted]):
            note(db, actor, "hold.release_refused", ("hold", wanted), {"alert": alert.id}, site_id=alert.site_id)
            return None
        release_hold(db, actor, wanted, wish.reason.strip(), hand.clock())
        return holds_on(db, alert, hand.clock())

    try:
        left = transact(state, work)
    except HoldRefused as error:
        raise Problem(422, "hold_refused", str(error)) from error
    if left is None:
        raise Problem(403, "hold_rank", "it was placed from above you; ask there, or an administrator, to lift it")
    return left


def _seen(db: Session, hand: Hand, alert_id: int, if_match: str | None) -> Alert:
    alert = visible_alert(db, hand.user, alert_id)
    if alert is None:
        raise Problem(404, "unknown_alert", "there is no such alert for you")
    check_match(if_match, alert.version)
    return alert


def may_see_holds(user: User) -> bool:
    """Whoever sees evidence sees that it is held; parents, who see what the box blurred, do not."""
    return may(user, "evidence.view")


def hold_json(hold: LegalHold, user: User) -> dict[str, Any]:
    """A hold as the API shows it. Who placed it and why is for those who may place one, and for auditors."""
    told = knows_why(user)
    return {
        "id": hold.id,
        "of": "site" if hold.alert_id is None else "alert",
        "since": hold.placed_at,
        "until": hold.until,
        "by": hold.placed_by if told else None,
        "reason": hold.reason if told else None,
        "may_lift": hold.alert_id is not None and may(user, "alert.hold") and may_lift(user, hold),
    }


def knows_why(user: User) -> bool:
    """Whether this person may read who placed a hold and why."""
    return may(user, "alert.hold") or may(user, "audit.read")
