"""The pages of self-control: what is owed, the sheet to fill in, the signed record, the samples."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import ValidationError

from server.access import needs
from server.deps import AppState, RemoteDep, SessionDep, StateDep, check_csrf, in_thread, look_up
from server.models import LoginSession, Site
from server.pages import language_of, render
from server.policy import SITE_ROLES, may
from server.problems import Problem
from server.self_control import desk, ledger
from server.self_control.api import FormatName, RecordId, SampleId
from server.self_control.api import file as api_file
from server.self_control.catalogue import KINDS, MEALS, Kind, sample_rules, sheets
from server.self_control.document import Answer, Finding, corrections_of, statements
from server.self_control.document import Form as FormOf
from server.self_control.refusals import Refused
from server.self_control.samples import NewSample, keep_until
from server.self_control.wording import Wording, celsius, length

router = APIRouter(prefix="/records", include_in_schema=False)
FIELDS_MAX = 1500
Field = Annotated[str, Form(max_length=200)]
Text = Annotated[str, Form(max_length=4000)]
SiteQuery = Annotated[int | None, Query(ge=1, le=2**53)]


@router.get("", dependencies=[needs("selfcontrol.read")])
def overview(
    request: Request,
    state: StateDep,
    session: SessionDep,
    site: SiteQuery = None,
    name: Annotated[str, Query(max_length=120)] = "",
) -> HTMLResponse:
    return _overview(request, state, session, site, name)


def _overview(
    request: Request,
    state: AppState,
    session: LoginSession,
    site_id: int | None,
    name: str = "",
    problem: Problem | None = None,
) -> HTMLResponse:
    user = session.user
    sites = desk.sites_of(state, user, name)
    chosen = next((item for item in sites if item.id == site_id), None)
    if user.role in SITE_ROLES and sites:
        chosen = sites[0]
    owed = desk.list_owed(state, user, chosen.id if chosen else None)
    rows = look_up(state, lambda db: ledger.list_records(db, user, chosen.id if chosen else None))
    return render(
        request, "records.html", status=problem.status if problem else 200, session=session, sites=sites, site=chosen,
        owed=owed, records=rows, kinds=KINDS, name_part=name, many_sites=user.role not in SITE_ROLES,
        today=datetime.now(UTC).astimezone(ZoneInfo(chosen.time_zone if chosen else "UTC")).date(),
        error=problem.code if problem else None, titles=_titles(language_of(request)),
    )  # fmt: skip


def _titles(language: str) -> dict[str, str]:
    return {kind: sheet.title.title(language) for kind, sheet in sheets().items()}


@router.post("", dependencies=[needs("selfcontrol.write")])
def start(
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    site: Annotated[int, Form(ge=1, le=2**53)],
    kind: Annotated[Kind, Form()],
    day: Field = "",
    csrf: Field = "",
) -> Response:
    """Open the draft of a day, week or month."""
    try:
        check_csrf(session, csrf)
        number = desk.start(state, session.user, site, kind, _day(day), remote)
    except Problem as problem:
        if problem.status == 404:
            return _unknown(request, session)
        return _overview(request, state, session, site, problem=problem)
    return RedirectResponse(f"/records/{number}", 303)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise Refused("day_wrong", "give the day as YYYY-MM-DD") from error


def _unknown(request: Request, session: LoginSession) -> HTMLResponse:
    return render(request, "error.html", status=404, session=session, error="sc_unknown")


@router.get("/samples", dependencies=[needs("selfcontrol.read")])
def samples(request: Request, state: StateDep, session: SessionDep, site: SiteQuery = None) -> HTMLResponse:
    return _samples(request, state, session, site)


def _samples(
    request: Request, state: AppState, session: LoginSession, site_id: int | None, problem: Problem | None = None
) -> HTMLResponse:
    sites = desk.sites_of(state, session.user)
    if site_id is None and len(sites) == 1:
        site_id = sites[0].id
    try:
        site: Site | None = desk.site_of(state, session.user, site_id) if site_id is not None else None
    except Refused:
        return _unknown(request, session)
    kept = desk.list_kept(state, session.user, site.id) if site else []
    zone = ZoneInfo(site.time_zone if site else "UTC")
    return render(
        request, "samples.html", status=problem.status if problem else 200, session=session, sites=sites, site=site,
        kept=kept, sensors=desk.thermometers(state, site) if site else [], meals=MEALS, rules=sample_rules(),
        keep_until=keep_until, now=datetime.now(UTC), local_now=datetime.now(zone).strftime("%Y-%m-%dT%H:%M"),
        error=problem.code if problem else None, celsius=celsius,
    )  # fmt: skip


@router.post("/samples", dependencies=[needs("selfcontrol.write")])
def add_sample(
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    site: Annotated[int, Form(ge=1, le=2**53)],
    meal: Field = "",
    dish: Field = "",
    weight_g: Field = "",
    taken_at: Field = "",
    taken_by: Field = "",
    sensor: Field = "",
    csrf: Field = "",
) -> Response:
    """Enter a sample; its time is local to the site."""
    try:
        zone = ZoneInfo(desk.site_of(state, session.user, site).time_zone)
        check_csrf(session, csrf)
        box_id, _, sensor_id = sensor.partition("/")
        fields = {"meal": meal, "dish": dish.strip(), "weight_g": weight_g, "taken_by": taken_by.strip()}
        at = datetime.fromisoformat(taken_at).replace(tzinfo=zone)
        new = NewSample.model_validate({**fields, "taken_at": at, "box_id": box_id, "sensor_id": sensor_id})
        desk.keep_sample(state, session.user, site, new, remote)
    except ValueError:  # also pydantic's
        return _samples(request, state, session, site, Refused("sample_form", "the sample is not right"))
    except Problem as problem:
        return _unknown(request, session) if problem.status == 404 else _samples(request, state, session, site, problem)
    return RedirectResponse(f"/records/samples?site={site}", 303)


@router.post("/samples/{sample_id}/{how}", dependencies=[needs("selfcontrol.write")])
def end_sample(
    sample_id: SampleId,
    how: Literal["removed", "void"],
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    reason: Field = "",
    csrf: Field = "",
) -> Response:
    """Take a sample out, or make it void."""
    try:
        site_id = desk.sample_of(state, session.user, sample_id).site_id
    except Refused:
        return _unknown(request, session)
    try:
        check_csrf(session, csrf)
        desk.end_sample(state, session.user, sample_id, how, reason, remote)
    except Problem as problem:
        return _samples(request, state, session, site_id, problem)
    return RedirectResponse(f"/records/samples?site={site_id}", 303)


@router.get("/{record_id}", dependencies=[needs("selfcontrol.read")])
def record(
    record_id: RecordId, request: Request, state: StateDep, session: SessionDep, review: bool = False
) -> HTMLResponse:
    """The sheet to fill in; with *review*, or once signed, or to whoever only reads: the record as it reads."""
    return _record(request, state, session, record_id, review=review)


def _record(
    request: Request,
    state: AppState,
    session: LoginSession,
    record_id: int,
    *,
    review: bool,
    problem: Problem | None = None,
) -> HTMLResponse:
    try:
        opened = desk.open_record(state, session.user, record_id)
    except Refused as error:
        return render(request, "error.html", status=error.status, session=session, error=error.code)
    row, document = opened.row, opened.document
    sheet = ledger.sheet_of(row)
    edit = row.edition == 0 and not review and may(session.user, "selfcontrol.write")
    lacks = problem.lacks if isinstance(problem, Refused) else ()
    return render(
        request, "record.html", status=problem.status if problem else 200, session=session, row=row, document=document,
        content=document.content, sheet=sheet, edit=edit, words=Wording(language_of(request), document.content),
        alerts={alert.alert_id: alert for alert in document.content.seen.alerts},
        answers={answer.code: answer for answer in document.content.form.answers},
        corrections=corrections_of(document), targets=list(statements(document.content)),
        may_sign=ledger.signer_fits(session.user, sheet), error=problem.code if problem else None, lacks=lacks,
        celsius=celsius, length=length,
    )  # fmt: skip


@router.post("/{record_id}/form", dependencies=[needs("selfcontrol.write")])
async def fill(
    record_id: RecordId, request: Request, state: StateDep, session: SessionDep, remote: RemoteDep
) -> Response:
    """Save the sheet; ``do`` says what follows: stay, look again at the boxes, or review it to sign."""
    async with request.form(max_files=0, max_fields=FIELDS_MAX) as form:
        given = {name: str(value) for name, value in form.items()}
    return await in_thread(lambda: _fill(record_id, request, state, session, given, remote))


def _fill(
    record_id: int, request: Request, state: AppState, session: LoginSession, given: dict[str, str], remote: str
) -> Response:
    try:
        check_csrf(session, given.get("csrf", ""))
        version = given.get("version", "")
        number = int(version) if version.isdecimal() and len(version) < 12 else -1
        do = given.get("do", "save")
        desk.save(state, session.user, record_id, number, read_form(given), remote, refresh=do == "refresh")
    except ValidationError:
        refused = Refused("form", "a text is too long or a day is none")
        return _record(request, state, session, record_id, review=False, problem=refused)
    except Problem as problem:
        return _record(request, state, session, record_id, review=False, problem=problem)
    return RedirectResponse(f"/records/{record_id}{'?review=1' if do == 'review' else ''}", 303)


def read_form(given: dict[str, str]) -> FormOf:
    """The form from its fields ``item.CODE.name``, ``finding.ID.name`` and ``field.CODE``; raises ValidationError."""
    items: dict[str, dict[str, Any]] = {}
    findings: dict[str, dict[str, Any]] = {}
    fields: dict[str, str] = {}
    for key, value in given.items():
        kind, _, rest = key.partition(".")
        code, _, name = rest.rpartition(".")
        text = value.replace("\r\n", "\n").strip()
        if kind == "item" and name in Answer.model_fields:
            items.setdefault(code, {"code": code})[name] = text
        elif kind == "finding" and name in Finding.model_fields:
            findings.setdefault(code, {"alert_id": code})[name] = text or (None if name == "due_on" else "")
        elif kind == "field":
            fields[rest] = text
    return FormOf.model_validate(
        {
            "operating": given.get("operating", "yes") == "yes", "answers": list(items.values()),
            "findings": list(findings.values()), "fields": fields,
        }
    )  # fmt: skip


@router.post("/{record_id}/sign", dependencies=[needs("selfcontrol.sign")])
def sign(
    record_id: RecordId,
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    content_sha256: Field = "",
    note: Annotated[str, Form(max_length=500)] = "",
    csrf: Field = "",
) -> Response:
    """Sign what was reviewed."""
    try:
        check_csrf(session, csrf)
        desk.sign(state, session.user, record_id, content_sha256, note, remote)
    except Problem as problem:
        return _record(request, state, session, record_id, review=True, problem=problem)
    return RedirectResponse(f"/records/{record_id}", 303)


@router.post("/{record_id}/correct", dependencies=[needs("selfcontrol.sign")])
def correct(
    record_id: RecordId,
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    target: Field = "",
    corrected: Text = "",
    reason: Annotated[str, Form(max_length=500)] = "",
    csrf: Field = "",
) -> Response:
    """Correct one statement of a signed record."""
    try:
        check_csrf(session, csrf)
        desk.correct(state, session.user, record_id, target, corrected, reason, remote)
    except Problem as problem:
        return _record(request, state, session, record_id, review=True, problem=problem)
    return RedirectResponse(f"/records/{record_id}", 303)


@router.get("/{record_id}/files/{format}", dependencies=[needs("selfcontrol.read")])
def file(record_id: RecordId, format_: FormatName, request: Request, state: StateDep, session: SessionDep) -> Response:
    """A file in the language of the page."""
    try:
        return api_file(record_id, format_, session.user, state, language_of(request))  # type: ignore[arg-type]
    except Problem as problem:
        return render(request, "error.html", status=problem.status, session=session, error=problem.code)
