"""The form of legal holds on the page of an alert; what is refused comes back as that page with a sentence."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import RedirectResponse, Response

from server.access import needs
from server.deps import AlertId, RemoteDep, SessionDep, StateDep, check_csrf, look_up
from server.life_cycle.pages import show_alert
from server.problems import Problem
from server.queries import visible_alert
from server.retention import desk
from server.retention.desk import Wish
from server.retention.holds import REASON_CHARACTERS_MAX
from server.service import Hand

router = APIRouter(include_in_schema=False)
Reason = Annotated[str, Form(max_length=REASON_CHARACTERS_MAX)]
HoldId = Annotated[int, Path(ge=1, le=2**53)]


@router.post("/alerts/{alert_id}/hold", dependencies=[needs("alert.hold")])
def place(
    alert_id: AlertId,
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    csrf: Annotated[str, Form()] = "",
    reason: Reason = "",
    last_day: Annotated[str, Form(max_length=10)] = "",
) -> Response:
    """Hold the alert; *last_day* is a day of its site, and kept whole."""
    try:
        check_csrf(session, csrf)
        alert = look_up(state, lambda db: visible_alert(db, session.user, alert_id))
        until = _end_of(last_day, ZoneInfo(alert.site.time_zone)) if alert and last_day else None
        desk.place(state, Hand(session.user, remote), alert_id, Wish(reason, until))
    except Problem as problem:
        return show_alert(alert_id, request, state, session, problem)
    return RedirectResponse(f"/alerts/{alert_id}#hold", 303)


def _end_of(day: str, zone: ZoneInfo) -> datetime:
    """The midnight after a day of the site, in UTC; raises Problem."""
    try:
        return datetime.combine(date.fromisoformat(day) + timedelta(days=1), time(), zone).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Problem(422, "hold_refused", "the last day is a date such as 2027-01-31") from error


@router.post("/alerts/{alert_id}/hold/{hold_id}/lift", dependencies=[needs("alert.hold")])
def lift(
    alert_id: AlertId,
    hold_id: HoldId,
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    csrf: Annotated[str, Form()] = "",
    reason: Reason = "",
) -> Response:
    """Lift one hold of the alert's own."""
    try:
        check_csrf(session, csrf)
        desk.lift(state, Hand(session.user, remote), alert_id, hold_id, Wish(reason))
    except Problem as problem:
        return show_alert(alert_id, request, state, session, problem)
    return RedirectResponse(f"/alerts/{alert_id}#hold", 303)
