"""The JSON API of sites and assets, and their tables as files."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from server.access import needs
from server.api import next_link
from server.assets import desk, register
from server.assets.desk import SiteHand
from server.assets.plan import Plan
from server.assets.sheets import SHEETS
from server.assets.table_file import FILE_BYTES_MAX
from server.assets.table_writing import MEDIA_TYPES, Format
from server.assets.versions import site_version
from server.conditional import VERSION, IfMatch
from server.deps import CsrfDep, RemoteDep, StateDep, UserDep, body_within, in_thread, look_up
from server.pages import language_of
from server.problems import MEDIA_TYPE, TABLE_FILE, Problem

router = APIRouter(prefix="/api/v1", tags=["assets"])
Table = Literal["sites", "contacts", "certificates", "cold_rooms", "sensors", "cameras"]
assert set(Table.__args__) == set(SHEETS), "the API names every table"  # type: ignore[attr-defined]
TableName = Annotated[Table, Path()]
Id = Annotated[int, Path(ge=0, le=2**53)]
Language = Literal["zh-CN", "en"]
FILE_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def refused(error: desk.AssetsWrong, language: str) -> Response:
    """A problem document that names each wrong cell."""
    body = {
        "type": f"urn:brightline:problem:{error.code}", "title": "Unprocessable Content", "status": error.status,
        "code": error.code, "detail": error.detail, "errors": [item.say(language) for item in error.errors],
    }  # fmt: skip
    return JSONResponse(body, error.status, media_type=MEDIA_TYPE)


def plan_json(plan: Plan) -> dict[str, Any]:
    """What was done."""
    return {"counts": plan.counts(), "digest": plan.digest}


@router.get("/sites", dependencies=[needs("site.read")])
def sites(
    request: Request,
    response: Response,
    user: UserDep,
    state: StateDep,
    name: Annotated[str, Query(max_length=120)] = "",
    after: Annotated[str, Query(max_length=120)] = "",
) -> dict[str, Any]:
    """The caller's sites by name, fifty at a time; *after* is the last name of the page before (``next``, ``Link``)."""
    found = look_up(state, lambda db: register.list_sites(db, user, name, after))
    page = found[: register.SITES_PER_PAGE]
    if len(found) > len(page):
        next_link(request, response, after=page[-1].site.name)
    return {
        "sites": [
            {
                "id": line.site.id, "name": line.site.name, "type": line.card.type if line.card else "",
                "grade": line.card.grade if line.card else "", "papers_expiring": line.expiring,
            }
            for line in page
        ],
        "next": page[-1].site.name if len(found) > len(page) else None,
    }  # fmt: skip


@router.get("/sites/{site_id}", dependencies=[needs("site.read")])
def site(site_id: Id, user: UserDep, state: StateDep, response: Response) -> dict[str, Any]:
    """A site with its assets; names and numbers are masked for those who need not know them."""
    found = look_up(state, lambda db: register.get_site(db, user, site_id))
    if found is None:
        raise desk.unknown()
    response.headers[VERSION] = str(site_version(found))
    return register.site_json(found, user)


@router.put("/sites/{site_id}/assets/{table}", dependencies=[needs("site.edit"), CsrfDep], response_model=None)
def put_asset(
    site_id: Id,
    table: TableName,
    texts: Annotated[dict[str, str], Body(max_length=30)],
    request: Request,
    user: UserDep,
    state: StateDep,
    remote: RemoteDep,
    if_match: IfMatch = None,
) -> dict[str, Any] | Response:
    """Add or change one row, column by column as text; what it is known by is among the columns.

    ``If-Match`` takes the ETag of the site (``GET sites/{id}``).
    """
    try:
        return plan_json(desk.put_row(state, SiteHand(user, site_id, remote, if_match), SHEETS[table], texts))
    except desk.AssetsWrong as error:
        return refused(error, language_of(request))


@router.delete(
    "/sites/{site_id}/assets/{table}/{asset_id}", dependencies=[needs("site.edit"), CsrfDep], status_code=204
)
def delete_asset(
    site_id: Id,
    table: TableName,
    asset_id: Id,
    user: UserDep,
    state: StateDep,
    remote: RemoteDep,
    if_match: IfMatch = None,
) -> None:
    """Take an asset out of the register; its alerts of expiry end. ``If-Match`` takes the ETag of the site."""
    desk.remove_asset(state, SiteHand(user, site_id, remote, if_match), SHEETS[table], asset_id)


@router.post("/sites/{site_id}/public-page", dependencies=[needs("site.edit"), CsrfDep])
def public_page(site_id: Id, user: UserDep, state: StateDep, remote: RemoteDep) -> dict[str, str]:
    """A new address for the site's public page; the old one leads nowhere any more."""
    return {"path": f"/p/{desk.renew_public_page(state, user, site_id, remote)}"}


@router.post("/assets/import", dependencies=[needs("site.edit"), CsrfDep], openapi_extra=FILE_BODY, response_model=None)
async def import_file(
    request: Request,
    user: UserDep,
    state: StateDep,
    remote: RemoteDep,
    dry_run: bool = True,
    digest: Annotated[str | None, Query(pattern=r"^[0-9a-f]{64}$")] = None,
) -> dict[str, Any] | Response:
    """Look a CSV or XLSX file through, or take it: all of it or nothing.

    *digest* is that of a dry run: then nothing else is done than what that one told.
    """
    data = await body_within(request, FILE_BYTES_MAX)
    language = language_of(request)
    if dry_run:
        return (await in_thread(lambda: look_up(state, lambda db: desk.check_file(db, user, data)))).say(language)
    try:
        return plan_json(await in_thread(lambda: desk.take_file(state, user, data, digest, remote)))
    except desk.AssetsWrong as error:
        return refused(error, language)


@router.get("/assets/export", response_class=Response, responses=TABLE_FILE, dependencies=[needs("site.edit")])
def export(
    user: UserDep,
    state: StateDep,
    remote: RemoteDep,
    table: Table | None = None,
    format: Format = "xlsx",
    language: Language = "zh-CN",
) -> Response:
    """The caller's assets as a file that can be imported again; CSV holds one table. Taking it is on record."""
    need_table(table, format)
    data = desk.give_out(state, user, table or "", format, language, remote)
    return attachment(data, table or "assets", format)


@router.get("/assets/template", response_class=Response, responses=TABLE_FILE, dependencies=[needs("site.edit")])
def template(table: Table | None = None, format: Format = "xlsx", language: Language = "zh-CN") -> Response:
    """A file with the headings to fill in."""
    need_table(table, format)
    return attachment(desk.template_file(table or "", format, language), f"template-{table or 'assets'}", format)


def need_table(table: str | None, format_: Format) -> None:
    """Raises Problem: CSV holds one table."""
    if format_ == "csv" and not table:
        raise Problem(422, "asset_table", "name a table; only XLSX holds all of them")


def attachment(data: bytes, name: str, format_: Format) -> Response:
    """A file to keep."""
    headers = {
        "content-disposition": f'attachment; filename="brightline-{name}.{format_}"', "cache-control": "no-store",
    }  # fmt: skip
    return Response(data, media_type=MEDIA_TYPES[format_], headers=headers)
