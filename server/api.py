"""The JSON API for people's programs and pages; every object is checked against who asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Query, Request, Response
from pydantic import AwareDatetime
from sqlalchemy.orm import Session
from starlette.datastructures import URL, FormData, UploadFile

from server import queries, service
from server.access import needs, open_to
from server.alert_state import MoveRefused, State
from server.conditional import VERSION, IfMatch, check_match
from server.deps import (
    COOKIE,
    AlertId,
    AppState,
    CsrfDep,
    OwnOriginDep,
    RemoteDep,
    StateDep,
    UserDep,
    in_thread,
    look_up,
    snapshot,
    transact,
)
from server.evidence_access import find_picture, note_access
from server.live import Change, EventStream
from server.login import log_in
from server.models import Alert, User
from server.photo import PHOTO_BYTES_MAX, PhotoRefused, read_photo
from server.problems import Problem, file_answer
from server.scope import reach_of
from server.service import NOTE_CHARACTERS_MAX

router = APIRouter(prefix="/api/v1", tags=["alerts"])
SERIES_SPAN_MAX = timedelta(days=31)
RECTIFICATION_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["photo"],
                    "properties": {
                        "photo": {"type": "string", "format": "binary"},
                        "note": {"type": "string", "maxLength": NOTE_CHARACTERS_MAX},
                    },
                }
            }
        },
    }
}


def alert_json(alert: Alert) -> dict[str, Any]:
    """An alert as the API shows it."""
    return {
        "id": alert.id,
        "incident_id": alert.incident_id,
        "kind": alert.kind,
        "tier": alert.tier,
        "state": alert.state,
        "site": alert.site.name,
        "source_id": alert.source_id,
        "source_name": alert.source_name,
        "place": alert.place,
        "opened_at": alert.opened_at,
        "ended_at": alert.ended_at,
        "deadline_at": alert.deadline_at,
        "data": alert.data,
    }


@router.post("/login", dependencies=[open_to("everybody"), OwnOriginDep])
def login(
    username: Annotated[str, Form(max_length=64)],
    password: Annotated[str, Form(max_length=200)],
    response: Response,
    state: StateDep,
    remote: RemoteDep,
    code: Annotated[str, Form(max_length=40)] = "",
) -> dict[str, str]:
    """Log in; gives the CSRF token for the header ``X-CSRF-Token`` and sets the session cookie."""
    secret, session = log_in(state, username, password, code, remote)
    set_cookie(response, state, secret)
    return {"csrf_token": session.csrf_token}


def set_cookie(response: Response, state: AppState, token: str) -> None:
    response.set_cookie(
        COOKIE, token, max_age=12 * 3600, httponly=True, samesite="lax", secure=state.settings.secure_cookies
    )


@router.get("/alerts", dependencies=[needs("alert.read")])
def alerts(
    request: Request,
    response: Response,
    user: UserDep,
    state: StateDep,
    status: Annotated[State | None, Query(alias="state")] = None,
    limit: Annotated[int, Query(ge=1, le=queries.LIST_MAX)] = 50,
    before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
) -> dict[str, Any]:
    """The caller's alerts, newest first; ``next`` (and the header ``Link``) leads to older ones, null at the end."""
    with snapshot(state) as db:
        found = queries.list_alerts(db, user, status, limit + 1, before)
        shown = found[:limit]
        counts = queries.counts(db, user)
    link = next_link(request, response, before=shown[-1].id) if len(found) > limit else None
    return {"alerts": [alert_json(alert) for alert in shown], "counts": counts, "next": link}


def next_link(request: Request, response: Response, **where: Any) -> str:
    """The address of the next page, the same question with *where*; also as a ``Link`` (RFC 8288)."""
    link = str(URL(path=request.url.path, query=request.url.query).include_query_params(**where))
    response.headers["link"] = f'<{link}>; rel="next"'
    return link


@router.get("/alerts/{alert_id}", dependencies=[needs("alert.read")])
def alert(alert_id: AlertId, user: UserDep, state: StateDep, response: Response) -> dict[str, Any]:
    """One alert with its pictures, rectifications and moves."""
    with snapshot(state) as db:
        detail = queries.get_alert(db, user, alert_id)
        if detail is None:
            raise Problem(404, "unknown_alert", "there is no such alert for you")
        response.headers[VERSION] = str(detail.alert.version)
        return {
            **alert_json(detail.alert),
            "evidence": [{"sha256": item.sha256, "role": item.role} for item in detail.evidence],
            "rectifications": [
                {
                    "note": item.note,
                    "photo": item.photo_sha256,
                    "submitted_at": item.submitted_at,
                    "accepted": item.accepted,
                }
                for item in detail.rectifications
            ],
            "moves": [
                {
                    "at": item.at,
                    "by": item.user.username if item.user else None,
                    "move": item.move,
                    "from": item.old_state,
                    "to": item.new_state,
                    "note": item.note,
                }
                for item in detail.moves
            ],
        }


def make_move(
    state: AppState, user: User, kind: str, alert_id: int, note: str, remote: str, if_match: str | None = None
) -> Alert:
    """One of the moves without a photo; raises Problem."""

    def move(db: Session) -> Alert:
        _check_unchanged(db, user, alert_id, if_match)
        if kind == "acknowledge":
            return service.acknowledge(db, user, alert_id, remote)
        return service.decide(db, user, alert_id, kind == "accept", note, remote)

    return guarded(state, lambda: transact(state, move))


def _check_unchanged(db: Session, user: User, alert_id: int, if_match: str | None) -> None:
    """Raises Problem 412 if the alert has changed since the caller read it, in the transaction that changes it."""
    found = queries.visible_alert(db, user, alert_id) if if_match is not None else None
    if found is not None:
        check_match(if_match, found.version)


def guarded(state: AppState, act: Callable[[], Alert]) -> Alert:
    """Run a move and tell the pages; its refusals become problems."""
    try:
        changed = act()
    except service.UnknownAlert as error:
        raise Problem(404, "unknown_alert", "there is no such alert for you") from error
    except MoveRefused as error:
        raise Problem(403 if error.code == "not_allowed" else 409, error.code, "this move is not possible") from error
    except service.NoteMissing as error:
        raise Problem(422, "note_missing", "say why it is rejected") from error
    except PhotoRefused as error:
        status = {"photo_too_large": 413, "busy": 503}.get(error.code, 422)
        hint = "try again in a moment" if error.code == "busy" else "send one JPEG, PNG or WebP photo of at most 10 MiB"
        raise Problem(status, error.code, hint) from error
    state.broadcaster.publish([Change.of(changed)])
    return changed


@router.post("/alerts/{alert_id}/moves/{kind}", dependencies=[needs("alert.acknowledge", "alert.review"), CsrfDep])
def move(
    alert_id: AlertId,
    kind: Literal["acknowledge", "accept", "reject"],
    user: UserDep,
    state: StateDep,
    remote: RemoteDep,
    note: Annotated[str, Form(max_length=2000)] = "",
    if_match: IfMatch = None,
) -> dict[str, str]:
    """Acknowledge, accept or reject (a rejection needs a note)."""
    return {"state": make_move(state, user, kind, alert_id, note, remote, if_match).state}


async def rectify(
    state: AppState, user: User, alert_id: int, note: str, photo: UploadFile, remote: str, if_match: str | None = None
) -> Alert:
    """Submit a rectification; raises Problem. The photo is judged before the transaction that writes."""
    data = await photo.read(PHOTO_BYTES_MAX + 1)

    def submit() -> Alert:
        look_up(state, lambda db: service.check_move(db, user, alert_id, "submit"))
        picture = read_photo(data)

        def store(db: Session) -> Alert:
            _check_unchanged(db, user, alert_id, if_match)
            return service.submit_rectification(db, user, alert_id, note, picture, state.blobs, remote)

        return transact(state, store)

    return await in_thread(lambda: guarded(state, submit))


@asynccontextmanager
async def photo_form(request: Request) -> AsyncIterator[tuple[UploadFile, FormData]]:
    """The parts of a form with one file ``photo``; raises Problem. Read after the log-in: strangers upload nothing."""
    async with request.form(max_files=1, max_fields=4, max_part_size=NOTE_CHARACTERS_MAX * 4) as form:
        photo = form.get("photo")
        if not isinstance(photo, UploadFile):
            raise Problem(422, "photo_missing", "send a form (multipart/form-data) with one file named photo")
        if len(note_of(form)) > NOTE_CHARACTERS_MAX:
            raise Problem(422, "note_too_long", f"a note has at most {NOTE_CHARACTERS_MAX} characters")
        yield photo, form


def note_of(form: FormData) -> str:
    return str(form.get("note", ""))


@router.post(
    "/alerts/{alert_id}/rectifications",
    status_code=201,
    dependencies=[needs("alert.rectify"), CsrfDep],
    openapi_extra=RECTIFICATION_BODY,
)
async def rectifications(
    alert_id: AlertId,
    user: UserDep,
    state: StateDep,
    remote: RemoteDep,
    request: Request,
    if_match: IfMatch = None,
) -> dict[str, str]:
    """Submit a rectification with its photo."""
    async with photo_form(request) as (photo, form):
        done = await rectify(state, user, alert_id, note_of(form), photo, remote, if_match)
        return {"state": done.state}


@router.get(
    "/evidence/{sha256}",
    response_class=Response,
    responses=file_answer("image/jpeg", "image/png", "video/mp4", "application/octet-stream"),
    dependencies=[needs("evidence.blurred", "evidence.view", "evidence.sealed")],
)
def picture(sha256: str, user: UserDep, state: StateDep, remote: RemoteDep) -> Response:
    """A picture, film, proof photo or sealed original of an alert of the caller; every view is on record."""
    found = look_up(state, lambda db: find_picture(db, user, sha256))
    if found is None:
        raise Problem(404, "unknown_picture", "there is no such picture for you")
    try:
        data = state.blobs.get(sha256)
    except KeyError as error:
        raise Problem(404, "unknown_picture", "the picture is on record but its bytes are missing") from error
    transact(state, lambda db: note_access(db, user, found, remote))
    return Response(found.body(data), media_type=found.media_type, headers=found.headers)


@router.get("/alerts/{alert_id}/series", dependencies=[needs("alert.read")])
def series(
    alert_id: AlertId,
    user: UserDep,
    state: StateDep,
    start: AwareDatetime | None = None,
    end: AwareDatetime | None = None,
) -> dict[str, Any]:
    """The temperature of the alert's sensor, by default from an hour before it to now; at most 31 days."""
    with snapshot(state) as db:
        found = queries.visible_alert(db, user, alert_id)
        if found is None:
            raise Problem(404, "unknown_alert", "there is no such alert for you")
        last = end or datetime.now(UTC)
        if last.year < 1971:
            raise Problem(422, "span", "there was no sensor before 1971")
        first = start or max(found.opened_at - timedelta(hours=1), last - SERIES_SPAN_MAX)
        if not timedelta(0) < last - first <= SERIES_SPAN_MAX:
            raise Problem(422, "span", "start must be before end, by at most 31 days")
    points = queries.temperature_series(state.series, found.box_id, found.source_id, first, last)
    return {"sensor_id": found.source_id, "unit": "°C", "points": points}


@router.get("/boxes/{box_id}/stats", tags=["box"], dependencies=[needs("box.read")])
def stats(box_id: str, user: UserDep, state: StateDep) -> dict[str, int]:
    """What the centre holds of one box."""
    if look_up(state, lambda db: queries.visible_box(db, user, box_id)) is None:
        raise Problem(404, "unknown_box", "there is no such box for you")
    in_series = sum(extent.points for extent in state.series.extents(box_id).values())
    return {**look_up(state, lambda db: queries.box_stats(db, box_id)), "points": in_series}


@router.get("/stream", response_class=EventStream, dependencies=[needs("alert.read")])
async def stream(user: UserDep, state: StateDep) -> EventStream:
    """Server-sent events: one ``alert`` event for every change of an alert that the caller may see."""
    if state.broadcaster.full:
        raise Problem(503, "busy", "too many pages listen; try again later")
    return EventStream(state.broadcaster.stream(reach_of(user)))
