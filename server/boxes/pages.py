"""The pages of the boxes: which runs what, who is silent, what is missing; and a form that asks a box for something."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from server.access import needs
from server.boxes.commands import CommandRefused
from server.boxes.desk import box_for, order
from server.boxes.queries import box_sheet, boxes_of
from server.boxes.wording import reason_text
from server.deps import AppState, RemoteDep, SessionDep, StateDep, check_csrf, snapshot
from server.models import LoginSession
from server.pages import language_of, render
from server.problems import Problem
from telemetry.messages import Scalar

router = APIRouter(include_in_schema=False)
BOXES_PER_PAGE = 100
Asked = Literal["snapshot", "clip", "restart"]
Seconds = Annotated[float, Form(ge=0, le=30)]


@router.get("/boxes", dependencies=[needs("box.read")])
def boxes_page(
    request: Request, state: StateDep, session: SessionDep, after: Annotated[str | None, Query(max_length=64)] = None
) -> HTMLResponse:
    """All boxes within reach, by site."""
    with snapshot(state) as db:
        found = boxes_of(db, session.user, datetime.now(UTC), after, BOXES_PER_PAGE + 1)
    more = found[BOXES_PER_PAGE - 1].box.id if len(found) > BOXES_PER_PAGE else ""
    return render(request, "boxes.html", session=session, boxes=found[:BOXES_PER_PAGE], more=more)


@router.get("/boxes/{box_id}", dependencies=[needs("box.read")])
def box_page(box_id: str, request: Request, state: StateDep, session: SessionDep) -> HTMLResponse:
    """One box: its status, cameras with their models, what is missing, and its commands."""
    return _page(box_id, request, state, session)


def _page(
    box_id: str, request: Request, state: AppState, session: LoginSession, error: str = "", status: int = 200
) -> HTMLResponse:
    now = datetime.now(UTC)
    with snapshot(state) as db:
        sheet = box_sheet(db, session.user, box_id, now)
    if sheet is None:
        return render(request, "error.html", status=404, session=session, error="unknown_box")
    zone = sheet.shown.box.site.time_zone
    local_now = now.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%dT%H:%M:%S")
    return render(
        request, "box.html", status=status, session=session, item=sheet.shown, sheet=sheet, error=error, zone=zone,
        local_now=local_now, now=now, reason_text=partial(reason_text, language=language_of(request)),
    )  # fmt: skip


@router.post("/boxes/{box_id}/commands", dependencies=[needs("box.command")])
def command_from_form(
    box_id: str,
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    kind: Annotated[Asked, Form()],
    csrf: Annotated[str, Form()] = "",
    camera: Annotated[str, Form(max_length=64)] = "",
    at: Annotated[str, Form(max_length=40)] = "",
    before_s: Seconds = 5,
    after_s: Seconds = 5,
) -> Response:
    """Queue what the form asks for; *at* is a time of the site's clock."""
    check_csrf(session, csrf)
    arguments: dict[str, Scalar] = {} if kind == "restart" else {"camera": camera.strip()}
    try:
        if kind == "clip":
            moment = _moment(state, session, box_id, at)
            arguments |= {"at": moment.isoformat(), "before_s": before_s, "after_s": after_s}
        order(state, session.user, box_id, kind, arguments, remote)
    except CommandRefused as error:
        return _page(box_id, request, state, session, error.code, 422)
    except Problem as problem:
        return render(request, "error.html", status=problem.status, session=session, error=problem.code)
    return RedirectResponse(f"/boxes/{box_id}#commands", 303)


def _moment(state: AppState, session: LoginSession, box_id: str, text: str) -> datetime:
    """The moment in UTC, which must be past; raises CommandRefused, Problem for a box out of reach."""
    now = datetime.now(UTC)
    with snapshot(state) as db:
        zone = ZoneInfo(box_for(db, session.user, box_id).site.time_zone)
    try:
        moment = datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise CommandRefused("moment", "give the moment as YYYY-MM-DDTHH:MM:SS") from error
    if moment > now:
        raise CommandRefused("moment", "the moment lies ahead")
    return moment
