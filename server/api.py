"""The JSON API for people's programs and pages; every object is checked against who asks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, Response
from pydantic import AwareDatetime
from starlette.datastructures import URL

from server import queries
from server.access import needs, open_to
from server.conditional import VERSION
from server.deps import (
    COOKIE,
    AlertId,
    AppState,
    OwnOriginDep,
    RemoteDep,
    StateDep,
    UserDep,
    look_up,
    snapshot,
    transact,
)
from server.evidence_access import find_picture, note_access
from server.life_cycle.state import State
from server.live import EventStream
from server.login import log_in
from server.models import Alert, Rectification, User
from server.policy import may
from server.problems import Problem, file_answer
from server.queries import Narrowing
from server.retention.desk import hold_json, may_see_holds
from server.scope import reach_of

router = APIRouter(prefix="/api/v1", tags=["alerts"])
SERIES_SPAN_MAX = timedelta(days=31)


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
        "level": alert.level,
        "acknowledge_by_at": alert.acknowledge_by_at,
        "confirm_by_at": alert.confirm_by_at,
        "confirmed_at": alert.confirmed_at,
        "review_by_at": alert.review_by_at,
        "repeat_of": alert.repeat_of_id,
        "repeats": alert.repeats,
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
    tier: Annotated[int | None, Query(ge=1, le=3)] = None,
    kind: Annotated[str | None, Query(max_length=40)] = None,
    site: Annotated[str, Query(max_length=120, description="part of the site's name")] = "",
    region: Annotated[int | None, Query(ge=1, le=2**53)] = None,
    overdue: bool = False,
) -> dict[str, Any]:
    """The caller's alerts, newest first, narrowed to what is asked for; ``next`` (and ``Link``) leads to older ones.

    ``counts``: how many are in each state, counted up to 1000; ``counts_beyond`` names the states that have more.
    """
    narrowing = Narrowing(tier, kind, site, region, datetime.now(UTC) if overdue else None)
    with snapshot(state) as db:
        found = queries.list_alerts(db, user, status, limit + 1, before, narrowing)
        shown = found[:limit]
        counts = queries.counts(db, user, narrowing)
    link = next_link(request, response, before=shown[-1].id) if len(found) > limit else None
    return {
        "alerts": [alert_json(alert) for alert in shown],
        "counts": counts.of,
        "counts_beyond": sorted(counts.beyond),
        "next": link,
    }


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
            "rectifications": [_rectification_json(detail, item, user) for item in detail.rectifications],
            "cards": [{"colour": card.colour, "at": card.at} for card in detail.cards],
            "holds": [hold_json(hold, user) for hold in detail.holds] if may_see_holds(user) else [],
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


def _rectification_json(detail: queries.AlertDetail, item: Rectification, user: User) -> dict[str, Any]:
    """A claim with its photos and what the second look saw. Where the phone was is for reviewers only."""
    recheck = detail.rechecks.get(item.id)
    return {
        "matter": item.note,
        "person": item.person,
        "place": item.place,
        "scene": item.scene,
        "submitted_at": item.submitted_at,
        "accepted": item.accepted,
        "photos": [
            {
                "sha256": photo.photo_sha256,
                "taken_at": photo.taken_at,
                "taken_from": photo.taken_from,
                "position": [photo.latitude, photo.longitude]
                if photo.latitude is not None and may(user, "alert.review")
                else None,
            }
            for photo in detail.photos.get(item.id, [])
        ],
        "recheck": recheck
        and {
            "way": recheck.way,
            "state": recheck.state,
            "result": recheck.result,
            "reason": recheck.reason,
            "evidence": recheck.evidence_sha256,
            "answered_at": recheck.answered_at,
        },
    }


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
    box_id = found.box_id
    points = queries.temperature_series(state.series, box_id, found.source_id, first, last) if box_id else []
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
