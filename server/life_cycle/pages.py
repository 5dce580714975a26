"""The pages of alerts: the list, one alert with all that may be done now, cards, and the interview list."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, cast
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from server import coverage, queries, said
from server.access import NotAllowed, needs
from server.api import SERIES_SPAN_MAX
from server.chart import Chart, make_chart
from server.deps import AlertId, AppState, RemoteDep, SessionDep, StateDep, check_csrf, in_thread, look_up, snapshot
from server.evidence_access import Shown
from server.i18n import translate
from server.life_cycle import acting, lists
from server.life_cycle.acting import ProofProblem
from server.life_cycle.api import MOVING, InterviewId, PlainMove, held
from server.life_cycle.recheck import REASONS
from server.life_cycle.record import is_unconfirmed
from server.life_cycle.rules import rules_in_force
from server.life_cycle.state import FINAL, MAY, STATES, WITH_SITE, State, moves
from server.models import Alert, LoginSession
from server.models_life_cycle import Recheck
from server.notification.channels import receipts_of
from server.pages import language_of, number, render
from server.policy import may
from server.problems import Problem
from server.queries import Narrowing
from server.retention.desk import knows_why, may_see_holds
from server.retention.holds import may_lift
from server.series.port import SeriesStore, SeriesUnavailable
from server.service import Hand

router = APIRouter(include_in_schema=False)
NUMBER_DIGITS_MAX = 15


@router.get("/", dependencies=[needs("alert.read")])
def alert_list(request: Request, state: StateDep, session: SessionDep) -> HTMLResponse:
    return _list(request, state, session, "list.html")


@router.get("/partials/alerts", dependencies=[needs("alert.read")])
def alert_list_partial(request: Request, state: StateDep, session: SessionDep) -> HTMLResponse:
    return _list(request, state, session, "_alerts.html")


def _list(request: Request, state: AppState, session: LoginSession, template: str) -> HTMLResponse:
    said_ = {name: request.query_params.get(name, "")[:120] for name in ("tier", "kind", "site", "region", "overdue")}
    narrowing = Narrowing(
        _whole(said_["tier"]), said_["kind"] or None, said_["site"].strip(), _whole(said_["region"]),
        datetime.now(UTC) if said_["overdue"] else None,
    )  # fmt: skip
    status = request.query_params.get("status", "")
    wanted = status if status in STATES else ""
    with snapshot(state) as db:
        found = queries.list_alerts(db, session.user, wanted or None, narrowing=narrowing)
        counts = queries.counts(db, session.user, narrowing)
        regions = lists.regions_within_reach(db, session.user) if template == "list.html" else []
    narrowed = urlencode({name: value for name, value in said_.items() if value})
    language = language_of(request)
    kinds = sorted(((kind, translate(language, f"kind_{kind}")) for kind in rules_in_force().file.kinds), key=_name)
    return render(
        request, template, session=session, alerts=found, counts=counts, wanted=wanted, states=STATES,
        now=datetime.now(UTC), narrowed=narrowed, said=said_, kinds=kinds, regions=regions,
        with_site=WITH_SITE,
    )  # fmt: skip


def _name(item: tuple[str, str]) -> str:
    return item[1]


def _whole(text: str) -> int | None:
    """A whole number of a query, or None."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= NUMBER_DIGITS_MAX else None


@router.get("/alerts/{alert_id}", dependencies=[needs("alert.read")])
def alert_page(alert_id: AlertId, request: Request, state: StateDep, session: SessionDep) -> HTMLResponse:
    return show_alert(alert_id, request, state, session, None)


def show_alert(
    alert_id: int, request: Request, state: AppState, session: LoginSession, problem: Problem | None
) -> HTMLResponse:
    """The page of one alert, with the sentence of a *problem* if something was just refused."""
    with snapshot(state) as db:
        detail = queries.get_alert(db, session.user, alert_id)
        if detail is None:
            return render(request, "error.html", status=404, session=session, error="unknown_alert")
        receipts = receipts_of(db, alert_id) if may(session.user, "evidence.view") else []
        watched = coverage.of_alert(db, detail.alert)
    alert, language = detail.alert, language_of(request)
    zone = ZoneInfo(alert.site.time_zone)
    try:
        chart, no_chart = _chart(state.series, alert), "no_series"
    except SeriesUnavailable:
        chart, no_chart = None, "series_unavailable"  # the rest of the page is what people need first
    unconfirmed = is_unconfirmed(alert)
    state_now = cast(State, alert.state)
    return render(
        request, "detail.html", status=problem.status if problem else 200, session=session, alert=alert,
        detail=detail, receipts=receipts, watched=watched, shown=Shown.of(detail.evidence),
        chart=chart, no_chart=no_chart,
        moves=moves(state_now, session.user.role, unconfirmed=unconfirmed), unconfirmed=unconfirmed,
        errors=_errors(problem), earlier=problem.earlier_alert_id if isinstance(problem, ProofProblem) else None,
        final=state_now in FINAL,
        with_site=state_now in WITH_SITE, now=datetime.now(UTC), zone=alert.site.time_zone,
        reason=said.sentence(alert.data, language, zone), causes=said.causes(alert.data, language, zone),
        looks={key: _look(item, language) for key, item in detail.rechecks.items()},
        photos_max=rules_in_force().file.photos.count_max, step_names=("confirm", "acknowledge", "rectify", "review"),
        holds_shown=may_see_holds(session.user), hold_told=knows_why(session.user),
        may_lift=partial(may_lift, session.user),
    )  # fmt: skip


def _errors(problem: Problem | None) -> list[str]:
    if problem is None:
        return []
    return list(problem.faults) if isinstance(problem, ProofProblem) and problem.faults else [problem.code]


def _look(recheck: Recheck, language: str) -> str:
    """What the second look saw, in a sentence."""
    told = translate(language, f"recheck_{recheck.result or recheck.state}")
    reason = translate(language, f"recheck_reason_{recheck.reason}") if recheck.reason in REASONS else recheck.reason
    return f"{told} ({reason})" if reason else told


def _chart(series: SeriesStore, alert: Alert) -> Chart | None:
    if alert.kind not in ("temperature_excursion", "temperature_warning") or alert.box_id is None:
        return None
    end = min((alert.ended_at or datetime.now(UTC)) + timedelta(minutes=10), alert.opened_at + SERIES_SPAN_MAX)
    points = queries.temperature_series(
        series, alert.box_id, alert.source_id, alert.opened_at - timedelta(hours=1), end
    )
    limit_c = number(alert.data.get("limit_c"))
    return make_chart(points, limit_c, alert.opened_at, alert.ended_at, alert.site.time_zone)


@router.post("/alerts/{alert_id}/submit", dependencies=[needs("alert.rectify")])
async def submit(
    alert_id: AlertId, request: Request, state: StateDep, session: SessionDep, remote: RemoteDep
) -> Response:
    """A rectification from the form; its body is read only now that somebody is logged in."""
    try:
        async with acting.rectification_form(request) as form:
            check_csrf(session, form.csrf)
            await acting.rectify(state, Hand(session.user, remote), alert_id, form)
    except Problem as problem:
        refused = problem
        return await in_thread(lambda: show_alert(alert_id, request, state, session, refused))
    return RedirectResponse(f"/alerts/{alert_id}", 303)


@router.post("/alerts/{alert_id}/{kind}", dependencies=[MOVING])
def act(
    alert_id: AlertId,
    kind: PlainMove,
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    csrf: Annotated[str, Form()] = "",
    note: Annotated[str, Form(max_length=2000)] = "",
    picture: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """One move from a form; what is refused comes back as the page with a sentence."""
    if not may(session.user, MAY[kind]):
        raise NotAllowed
    try:
        check_csrf(session, csrf)
        acting.act(state, Hand(session.user, remote), alert_id, kind, note, picture)
    except Problem as problem:
        return show_alert(alert_id, request, state, session, problem)
    return RedirectResponse(f"/alerts/{alert_id}", 303)


@router.get("/cards", dependencies=[needs("alert.read")])
def card_list(request: Request, state: StateDep, session: SessionDep) -> HTMLResponse:
    with snapshot(state) as db:
        cards = lists.list_cards(db, session.user)
    return render(request, "cards.html", session=session, cards=cards)


@router.get("/interviews", dependencies=[needs("alert.read")])
def interview_list(request: Request, state: StateDep, session: SessionDep) -> HTMLResponse:
    return _interviews(request, state, session, None)


def _interviews(request: Request, state: AppState, session: LoginSession, problem: Problem | None) -> HTMLResponse:
    with snapshot(state) as db:
        entries = lists.list_interviews(db, session.user)
    return render(
        request, "interviews.html", status=problem.status if problem else 200, session=session, entries=entries,
        error=problem.code if problem else None,
    )  # fmt: skip


@router.post("/interviews/{interview_id}/hold", dependencies=[needs("alert.review")])
def hold_page(
    interview_id: InterviewId,
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    csrf: Annotated[str, Form()] = "",
    note: Annotated[str, Form(max_length=2000)] = "",
) -> Response:
    if look_up(state, lambda db: lists.find_interview(db, session.user, interview_id)) is None:
        return render(request, "error.html", status=404, session=session, error="unknown_interview")
    try:
        check_csrf(session, csrf)
        held(state, Hand(session.user, remote), interview_id, note)
    except Problem as problem:
        return _interviews(request, state, session, problem)
    return RedirectResponse("/interviews", 303)
