"""The pages of the reports: choose, look, sign, correct, download. Rendered on the server, made for a phone first."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import ValidationError

from server.access import needs
from server.deps import AppState, RemoteDep, SessionDep, StateDep, check_csrf, in_thread, look_up
from server.models import LoginSession, User
from server.pages import language_of, render
from server.policy import SITE_ROLES
from server.problems import Problem
from server.report_api import Number
from server.reports import desk, sensors
from server.reports.cards import Card, cards_of
from server.reports.corrections import targets
from server.reports.curve import make_curve
from server.reports.desk import Fix, Wanted
from server.reports.document import Document
from server.reports.ledger import possible
from server.reports.models import ReportFile, SensorCard
from server.reports.wording import Wording

router = APIRouter(prefix="/reports", include_in_schema=False)
Field = Annotated[str, Form(max_length=200)]
Text = Annotated[str, Form(max_length=2000)]
CARD_FIELDS = tuple(Card.model_fields)


@router.get("", dependencies=[needs("report.read")])
def choose(
    request: Request, state: StateDep, session: SessionDep, site: Annotated[str, Query(max_length=120)] = ""
) -> HTMLResponse:
    return _choose(request, state, session, None, site)


def _choose(
    request: Request, state: AppState, session: LoginSession, problem: Problem | None, site: str = ""
) -> HTMLResponse:
    user = session.user
    choices = look_up(state, lambda db: sensors.list_sensors(db, desk.series_in(state, db), user, site))
    signed = look_up(state, lambda db: sensors.list_reports(db, user))
    today = datetime.now(UTC).astimezone(ZoneInfo(choices[0].site.time_zone if choices else "UTC")).date()
    return render(
        request, "reports.html", status=problem.status if problem else 200, session=session, choices=choices,
        sites={item.site.id: item.site for item in choices}, reports=signed, error=problem.code if problem else None,
        first=today - timedelta(days=6), last=today, site_part=site,
        many_sites=user.role not in SITE_ROLES,
    )  # fmt: skip


def _unknown(request: Request, session: LoginSession) -> HTMLResponse:
    return render(request, "error.html", status=404, session=session, error="report_unknown")


@router.get("/temperature", dependencies=[needs("report.read")])
def temperature(
    request: Request,
    state: StateDep,
    session: SessionDep,
    source: Annotated[str, Query(max_length=130)] = "",
    first: Annotated[str, Query(alias="from", max_length=10)] = "",
    last: Annotated[str, Query(alias="to", max_length=10)] = "",
) -> HTMLResponse:
    """The draft of a temperature report over whole local days."""
    box_id, _, sensor_id = source.partition("/")
    box = look_up(state, lambda db: sensors.visible_box(db, session.user, box_id))
    if box is None:
        return _unknown(request, session)
    return _draft(
        request, state, session, box.site.time_zone, (first, last), {"box_id": box_id, "sensor_id": sensor_id}
    )


@router.get("/haccp", dependencies=[needs("report.read")])
def haccp(
    request: Request,
    state: StateDep,
    session: SessionDep,
    site: Annotated[int, Query(ge=0, le=2**53)] = 0,
    first: Annotated[str, Query(alias="from", max_length=10)] = "",
    last: Annotated[str, Query(alias="to", max_length=10)] = "",
) -> HTMLResponse:
    """The draft of a HACCP log over whole local days."""
    found = look_up(state, lambda db: sensors.visible_site(db, session.user, site))
    if found is None:
        return _unknown(request, session)
    return _draft(request, state, session, found.time_zone, (first, last), {"site_id": site})


def _draft(
    request: Request,
    state: AppState,
    session: LoginSession,
    zone: str,
    days: tuple[str, str],
    place: dict[str, Any],
) -> HTMLResponse:
    try:
        start, end = desk.days(_day(days[0]), _day(days[1]), zone, datetime.now(UTC))
        wanted = Wanted(start, end, **place)
        document = desk.make_draft(state, session.user, wanted)
    except Problem as problem:
        if problem.status == 404:
            return _unknown(request, session)
        return _choose(request, state, session, problem)
    return _show(request, state, session, document, wanted=wanted)


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise Problem(422, "report_period", "give both days as YYYY-MM-DD") from error
    if not 1971 <= day.year <= 2200:
        raise Problem(422, "report_period", "choose days between 1971 and 2200")
    return day


def _show(
    request: Request,
    state: AppState,
    session: LoginSession,
    document: Document,
    *,
    wanted: Wanted | None = None,
    files: list[ReportFile] | None = None,
    problem: Problem | None = None,
) -> HTMLResponse:
    content = document.content
    sensor = content.assets[0].sensor
    temperature = content.kind == "temperature"
    cards: list[SensorCard] = []
    if temperature and wanted is not None:
        cards = look_up(state, lambda db: cards_of(db, sensor.box_id, sensor.sensor_id))
    return render(
        request, "report.html", status=problem.status if problem else 200, session=session, document=document,
        content=content, words=Wording(language_of(request), content.zone), wanted=wanted, files=files or [],
        curve=make_curve(content, content.assets[0]) if temperature else None, cards=cards,
        moves=possible(document, session.user), targets=targets(content).values(),
        error=problem.code if problem else None, days=_local_days(document),
    )  # fmt: skip


def _local_days(document: Document) -> tuple[str, str]:
    """The first and the last local day that the report touches."""
    zone = ZoneInfo(document.content.zone)
    last = document.content.end - timedelta(microseconds=1)
    return document.content.start.astimezone(zone).date().isoformat(), last.astimezone(zone).date().isoformat()


@router.post("/sign", dependencies=[needs("report.sign")])
def sign(
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    start: Field,
    end: Field,
    content_sha256: Field,
    box: Field = "",
    sensor: Field = "",
    site: Annotated[int, Form(ge=0, le=2**53)] = 0,
    note: Text = "",
    csrf: Field = "",
) -> Response:
    """Sign what was looked at."""
    try:
        check_csrf(session, csrf)
        wanted = Wanted(_instant(start), _instant(end), box, sensor, site)
        document = desk.sign(state, session.user, wanted, content_sha256, note, remote)
    except Problem as problem:
        return _choose(request, state, session, problem)
    return RedirectResponse(f"/reports/{document.number}", 303)


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            raise ValueError("a time without a zone")
        return at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Problem(422, "report_period", "not a time with its zone") from error


@router.post("/cards", dependencies=[needs("report.write")])
async def card(request: Request, state: StateDep, session: SessionDep, remote: RemoteDep) -> Response:
    """Add a sensor card from the form; an empty field is not stated."""
    async with request.form(max_files=0, max_fields=30) as form:
        given = {name: str(form.get(name, "")).strip() for name in (*CARD_FIELDS, "csrf", "source", "from", "to")}
    return await in_thread(lambda: _put_card(request, state, session, given, remote))


def _put_card(request: Request, state: AppState, session: LoginSession, given: dict[str, str], remote: str) -> Response:
    box_id, _, sensor_id = given["source"].partition("/")
    try:
        check_csrf(session, given["csrf"])
        fields = {name: given[name] for name in CARD_FIELDS if given[name]}
        desk.put_card(state, session.user, box_id, sensor_id, Card.model_validate(fields), remote)
    except ValidationError:
        return _choose(request, state, session, Problem(422, "report_card_invalid", "the card is not right"))
    except Problem as problem:
        return _choose(request, state, session, problem)
    query = urlencode({"source": given["source"], "from": given["from"], "to": given["to"]})
    return RedirectResponse(f"/reports/temperature?{query}", 303)


@router.get("/{number}", dependencies=[needs("report.read")])
def report(number: Number, request: Request, state: StateDep, session: SessionDep, remote: RemoteDep) -> HTMLResponse:
    return _report(number, request, state, session, remote)


def _report(
    number: str,
    request: Request,
    state: AppState,
    session: LoginSession,
    remote: str,
    problem: Problem | None = None,
) -> HTMLResponse:
    try:
        _, document, files = desk.view_report(state, session.user, number, remote)
    except Problem as error:
        return render(request, "error.html", status=error.status, session=session, error=error.code)
    return _show(request, state, session, document, files=files, problem=problem)


@router.post("/{number}/{kind}", dependencies=[needs("report.review", "report.correct")])
def act(
    number: Number,
    kind: Literal["review", "correct"],
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    csrf: Field = "",
    note: Text = "",
    target: Field = "",
    corrected: Text = "",
    reason: Text = "",
    at: Field = "",
) -> Response:
    """Review or correct from a form; what is refused comes back as the page with a sentence."""
    try:
        check_csrf(session, csrf)
        fix = _fix(state, session.user, number, target, corrected, reason, at) if kind == "correct" else None
        desk.act(state, session.user, number, kind, note, remote, fix)
    except Problem as problem:
        return _report(number, request, state, session, remote, problem)
    return RedirectResponse(f"/reports/{number}", 303)


def _fix(state: AppState, user: User, number: str, target: str, corrected: str, reason: str, at: str) -> Fix:
    """The correction of a form; its time is local to the site."""
    moment = None
    if target == "reading":
        _, document, _ = desk.open_report(state, user, number)
        try:
            moment = datetime.fromisoformat(at).replace(tzinfo=ZoneInfo(document.content.zone))
        except ValueError as error:
            raise Problem(422, "report_unknown_target", "not a time") from error
    return Fix(target, corrected, reason, moment)
