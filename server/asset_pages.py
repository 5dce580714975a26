"""The pages of sites and assets: look, edit row by row, bring tables in and take them out. Made for a phone first."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Annotated, Any

import segno
from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from server.access import needs
from server.asset_api import Id, Table, TableName, attachment, need_table
from server.assets import desk, register
from server.assets.desk import SiteHand
from server.assets.register import local_day, sees_names, shown
from server.assets.sheets import SHEETS
from server.assets.table_file import FILE_BYTES_MAX
from server.assets.table_writing import Format
from server.assets.versions import site_version
from server.deps import AppState, RemoteDep, SessionDep, StateDep, check_csrf, in_thread, look_up
from server.models import LoginSession
from server.pages import language_of, render
from server.policy import may
from server.problems import Problem

router = APIRouter(include_in_schema=False)
Field = Annotated[str, Form(max_length=200)]
Name = Annotated[str, Query(max_length=120)]
FIELDS_MAX = 40


@router.get("/sites", dependencies=[needs("site.read")])
def sites(request: Request, state: StateDep, session: SessionDep, name: Name = "", after: Name = "") -> HTMLResponse:
    found = look_up(state, lambda db: register.list_sites(db, session.user, name, after))
    page = found[: register.SITES_PER_PAGE]
    more = page[-1].site.name if len(found) > len(page) else ""
    return render(request, "sites.html", session=session, lines=page, more=more, wanted=name)


@router.get("/sites/{site_id}", dependencies=[needs("site.read")])
def site(site_id: Id, request: Request, state: StateDep, session: SessionDep) -> HTMLResponse:
    return _site(site_id, request, state, session)


def _site(
    site_id: int,
    request: Request,
    state: AppState,
    session: LoginSession,
    problem: Problem | None = None,
    table: str = "",
    given: dict[str, str] | None = None,
) -> HTMLResponse:
    """The page of a site; what was refused comes back in its form with a sentence."""
    found = look_up(state, lambda db: register.get_site(db, session.user, site_id))
    if found is None:
        return render(request, "error.html", status=404, session=session, error="asset_unknown")
    language = language_of(request)
    unlinked = register.unlinked(state.series, found) if may(session.user, "site.edit") else []

    def text(name: str, column: Any, item: Any) -> str:
        licence = getattr(item, "kind", "") == "licence"
        full = sees_names(session.user, SHEETS[name])
        written: str = column.write(shown(column, getattr(item, column.name), full=full, licence=licence), language)
        return written

    errors = [item.say(language) for item in problem.errors] if isinstance(problem, desk.AssetsWrong) else []
    return render(
        request, "site.html", status=problem.status if problem else 200, session=session, found=found, text=text,
        sheets=[sheet for sheet in SHEETS.values() if sheet.key], card=SHEETS["sites"],
        extra={"region": found.region, "time_zone": found.site.time_zone}, table=table, given=given or {},
        errors=errors, error=problem.code if problem and not errors else None,
        seen=site_version(found), today=local_day(found.site, datetime.now(UTC)), warn_days=register.WARN_DAYS,
        unlinked=unlinked,
    )  # fmt: skip


def _hand(session: LoginSession, site_id: int, remote: str, seen: str) -> SiteHand:
    """Who sends a form of a site, and the version of it that they had before them."""
    return SiteHand(session.user, site_id, remote, f'"{seen}"' if seen else None)


@router.post("/sites/{site_id}/assets/{table}", dependencies=[needs("site.edit")])
async def put_asset(
    site_id: Id, table: TableName, request: Request, state: StateDep, session: SessionDep, remote: RemoteDep
) -> Response:
    """Add or change a row from its form."""
    async with request.form(max_files=0, max_fields=FIELDS_MAX) as form:
        given = {name: str(value) for name, value in form.items()}
    names = {column.name for column in SHEETS[table].columns}
    texts = {name: text for name, text in given.items() if name in names}

    def work() -> Response:
        try:
            check_csrf(session, given.get("csrf"))
            desk.put_row(state, _hand(session, site_id, remote, given.get("seen", "")), SHEETS[table], texts)
        except Problem as problem:
            return _site(site_id, request, state, session, problem, table, texts)
        return RedirectResponse(f"/sites/{site_id}#{table}", 303)

    return await in_thread(work)


@router.post("/sites/{site_id}/assets/{table}/{asset_id}/remove", dependencies=[needs("site.edit")])
def remove_asset(
    site_id: Id,
    table: TableName,
    asset_id: Id,
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    csrf: Field = "",
    seen: Field = "",
) -> Response:
    try:
        check_csrf(session, csrf)
        desk.remove_asset(state, _hand(session, site_id, remote, seen), SHEETS[table], asset_id)
    except Problem as problem:
        return _site(site_id, request, state, session, problem)
    return RedirectResponse(f"/sites/{site_id}#{table}", 303)


@router.post("/sites/{site_id}/public-page", dependencies=[needs("site.edit")])
def public_page(
    site_id: Id, request: Request, state: StateDep, session: SessionDep, remote: RemoteDep, csrf: Field = ""
) -> Response:
    """A new public page, with a new address."""
    try:
        check_csrf(session, csrf)
        desk.renew_public_page(state, session.user, site_id, remote)
    except Problem as problem:
        return _site(site_id, request, state, session, problem)
    return RedirectResponse(f"/sites/{site_id}#public", 303)


@router.get("/sites/{site_id}/qr.svg", dependencies=[needs("site.read")])
def qr_code(site_id: Id, request: Request, state: StateDep, session: SessionDep) -> Response:
    """The QR code of the public page, to print; an empty picture while there is none."""
    found = look_up(state, lambda db: register.get_site(db, session.user, site_id))
    if found is None:
        raise desk.unknown()
    if found.card is None or not found.card.public_token:
        return Response('<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>', media_type="image/svg+xml")
    out = io.BytesIO()
    address = f"{str(request.base_url).rstrip('/')}/p/{found.card.public_token}"
    segno.make(address, error="m", micro=False).save(out, kind="svg", scale=8, border=4, light="#fff")
    return Response(out.getvalue(), media_type="image/svg+xml", headers={"cache-control": "no-store"})


@router.get("/assets", dependencies=[needs("site.edit")])
def tables(request: Request, session: SessionDep) -> HTMLResponse:
    """Where tables are brought in and taken out."""
    return _tables(request, session)


def _tables(
    request: Request,
    session: LoginSession,
    problem: Problem | None = None,
    report: dict[str, Any] | None = None,
    token: str = "",
    done: dict[str, int] | None = None,
) -> HTMLResponse:
    return render(
        request, "assets.html", status=problem.status if problem else 200, session=session, report=report,
        token=token, done=done, error=problem.code if problem else None, sheets=list(SHEETS.values()),
    )  # fmt: skip


@router.post("/assets/import", dependencies=[needs("site.edit")])
async def look_through(request: Request, state: StateDep, session: SessionDep) -> Response:
    """Look a file through and show what it would do; nothing is changed yet."""
    async with request.form(max_files=1, max_fields=5) as form:
        upload = form.get("file")
        data = b"" if upload is None or isinstance(upload, str) else await upload.read(FILE_BYTES_MAX + 1)
        csrf = str(form.get("csrf", ""))

    def work() -> Response:
        try:
            check_csrf(session, csrf)
            checked, token = desk.draft(state, session.user, data)
        except Problem as problem:
            return _tables(request, session, problem)
        return _tables(request, session, report=checked.say(language_of(request)), token=token)

    return await in_thread(work)


@router.post("/assets/take", dependencies=[needs("site.edit")])
def take(
    request: Request, state: StateDep, session: SessionDep, remote: RemoteDep, csrf: Field = "", token: Field = ""
) -> Response:
    """Take what was looked through."""
    try:
        check_csrf(session, csrf)
        plan = desk.take_draft(state, session.user, token, remote)
    except desk.AssetsWrong as problem:
        errors = [item.say(language_of(request)) for item in problem.errors]
        counts = {"add": 0, "update": 0, "same": 0, "errors": len(errors)}
        return _tables(request, session, problem, report={"counts": counts, "changes": [], "errors": errors})
    except Problem as problem:
        return _tables(request, session, problem)
    return _tables(request, session, done=plan.counts())


@router.get("/assets/export", dependencies=[needs("site.edit")])
def export(
    request: Request,
    state: StateDep,
    session: SessionDep,
    remote: RemoteDep,
    table: Table | None = None,
    format: Format = "xlsx",
) -> Response:
    """All tables as XLSX, or one as CSV, in the language of the page."""
    need_table(table, format)
    data = desk.give_out(state, session.user, table or "", format, language_of(request), remote)
    return attachment(data, table or "assets", format)


@router.get("/assets/template", dependencies=[needs("site.edit")])
def template(request: Request, table: Table | None = None, format: Format = "xlsx") -> Response:
    need_table(table, format)
    data = desk.template_file(table or "", format, language_of(request))
    return attachment(data, f"template-{table or 'assets'}", format)
