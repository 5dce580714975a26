"""The JSON API of self-control: records, their files and signatures, retained samples, and what is missing."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Path, Query, Response

from server.access import needs
from server.deps import CsrfDep, RemoteDep, StateDep, UserDep, look_up
from server.models_self_control import SelfControlRecord
from server.problems import TABLE_FILE, Problem
from server.reports.files import Busy
from server.self_control import desk, files, ledger
from server.self_control.catalogue import Kind
from server.self_control.document import Form as FormOf
from server.self_control.document import Record
from server.self_control.missing import Owed
from server.self_control.samples import NewSample, sample_json
from telemetry.messages import Message

router = APIRouter(prefix="/api/v1/self-control", tags=["self-control"])
RecordId = Annotated[int, Path(ge=1, le=2**53)]
SampleId = Annotated[int, Path(ge=1, le=2**53)]
SiteId = Annotated[int, Query(alias="site", ge=1, le=2**53)]
Language = Literal["zh-CN", "en"]
FormatName = Annotated[files.Format, Path(alias="format")]
Text = Annotated[str, Form(max_length=500)]


class Start(Message):
    """Which record to open: of the period in which *day* lies."""

    site: Annotated[int, Query(ge=1, le=2**53)]
    kind: Kind
    day: date


def row_json(row: SelfControlRecord) -> dict[str, Any]:
    """A record as lists show it."""
    return {
        "id": row.id,
        "site": row.site.name,
        "site_id": row.site_id,
        "kind": row.kind,
        "first_day": row.first_day,
        "edition": row.edition,
        "zero_risk": row.zero_risk,
        "signed_at": row.signed_at,
        "version": row.version,
    }


def owed_json(item: Owed) -> dict[str, Any]:
    """A record that is not signed."""
    return {
        "site": item.site.name,
        "site_id": item.site.id,
        "kind": item.period.kind,
        "first_day": item.period.first,
        "last_day": item.period.last,
        "due_at": item.due_at,
        "stage": item.stage,
        "record_id": item.record_id,
    }


@router.get("/records", dependencies=[needs("selfcontrol.read")])
def records(
    user: UserDep,
    state: StateDep,
    site: Annotated[int | None, Query(ge=1, le=2**53)] = None,
    kind: Kind | None = None,
    before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
) -> dict[str, Any]:
    """The newest records that the caller may see, at most 200; *before* is the id to go on from."""
    found = look_up(state, lambda db: ledger.list_records(db, user, site, kind, before))
    return {"records": [row_json(row) for row in found]}


@router.get("/missing", dependencies=[needs("selfcontrol.read")])
def missing(
    user: UserDep, state: StateDep, site: Annotated[int | None, Query(ge=1, le=2**53)] = None
) -> dict[str, Any]:
    """What the caller's sites owe: missing, due soon, or open; the longest overdue first."""
    return {"owed": [owed_json(item) for item in desk.list_owed(state, user, site)]}


@router.post("/records", status_code=201, dependencies=[needs("selfcontrol.write"), CsrfDep])
def start(wanted: Start, user: UserDep, state: StateDep, remote: RemoteDep) -> dict[str, int]:
    """Open the draft of a period, filled in from what the boxes saw; the record that is there if there is one."""
    return {"id": desk.start(state, user, wanted.site, wanted.kind, wanted.day, remote)}


@router.get("/records/{record_id}", dependencies=[needs("selfcontrol.read")])
def record(record_id: RecordId, user: UserDep, state: StateDep) -> dict[str, Any]:
    """One record with its document; ``content_sha256`` is what a signature names."""
    opened = desk.open_record(state, user, record_id)
    return {**row_json(opened.row), "document": opened.document.model_dump(mode="json")}


@router.put("/records/{record_id}/form", dependencies=[needs("selfcontrol.write"), CsrfDep])
def fill(
    record_id: RecordId,
    form: FormOf,
    user: UserDep,
    state: StateDep,
    remote: RemoteDep,
    version: Annotated[int, Query(ge=0, le=2**53)],
    refresh: bool = False,
) -> dict[str, Any]:
    """Write the form of a draft of this *version*; *refresh* looks again at what the boxes saw."""
    desk.save(state, user, record_id, version, form, remote, refresh=refresh)
    return record(record_id, user, state)


@router.post("/records/{record_id}/sign", dependencies=[needs("selfcontrol.sign"), CsrfDep])
def sign(
    record_id: RecordId,
    user: UserDep,
    state: StateDep,
    remote: RemoteDep,
    content_sha256: Annotated[str, Form(max_length=64)],
    note: Text = "",
) -> dict[str, Any]:
    """Sign the record as it was looked at, by its digest."""
    return said(desk.sign(state, user, record_id, content_sha256, note, remote))


@router.post("/records/{record_id}/corrections", status_code=201, dependencies=[needs("selfcontrol.sign"), CsrfDep])
def correct(
    record_id: RecordId,
    user: UserDep,
    state: StateDep,
    remote: RemoteDep,
    target: Annotated[str, Form(max_length=80)],
    corrected: Annotated[str, Form(max_length=4000)],
    reason: Text,
) -> dict[str, Any]:
    """Correct one statement of a signed record; the original stays legible."""
    return said(desk.correct(state, user, record_id, target, corrected, reason, remote))


def said(document: Record) -> dict[str, Any]:
    return {"number": document.number, "edition": document.edition, "zero_risk": document.content.zero_risk}


@router.get(
    "/records/{record_id}/files/{format}",
    response_class=Response,
    responses=TABLE_FILE,
    dependencies=[needs("selfcontrol.read")],
)
def file(
    record_id: RecordId, format_: FormatName, user: UserDep, state: StateDep, language: Language = "zh-CN"
) -> Response:
    """The record as PDF, CSV or JSON; the JSON of a signed one is the bytes that were signed."""
    document = desk.open_record(state, user, record_id).document
    try:
        data = files.make_file(document, format_, language, state.settings.font)
    except Busy as error:
        raise Problem(503, "report_busy", "other reports are being made; try again in a minute") from error
    name = files.file_name(document, format_, language)
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return Response(data, media_type=files.MEDIA_TYPES[format_], headers=headers)


@router.get("/samples", dependencies=[needs("selfcontrol.read")])
def samples(
    user: UserDep, state: StateDep, site: SiteId, days: Annotated[int, Query(ge=1, le=31)] = desk.SAMPLE_DAYS
) -> dict[str, Any]:
    """The samples of a site's last days, with their warnings."""
    return {"samples": [sample_json(item.sample, item.judged) for item in desk.list_kept(state, user, site, days)]}


@router.post("/samples", status_code=201, dependencies=[needs("selfcontrol.write"), CsrfDep])
def add_sample(new: NewSample, user: UserDep, state: StateDep, remote: RemoteDep, site: SiteId) -> dict[str, int]:
    """Enter a retained sample."""
    return {"id": desk.keep_sample(state, user, site, new, remote)}


@router.post("/samples/{sample_id}/{how}", dependencies=[needs("selfcontrol.write"), CsrfDep])
def end_sample(
    sample_id: SampleId,
    how: Literal["removed", "void"],
    user: UserDep,
    state: StateDep,
    remote: RemoteDep,
    reason: Text = "",
) -> dict[str, str]:
    """Say that a sample was taken out (too early: with a reason) or was entered by mistake (with a reason)."""
    desk.end_sample(state, user, sample_id, how, reason, remote)
    return {"status": how}
