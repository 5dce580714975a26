"""The JSON API of the reports: drafts, signed reports and their files, sign-off, corrections, sensor cards."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Form, Path, Query, Response
from pydantic import AwareDatetime

from server.access import needs
from server.deps import CsrfDep, RemoteDep, StateDep, UserDep, look_up
from server.problems import file_answer
from server.reports import desk, sensors
from server.reports.cards import Card
from server.reports.desk import Fix, Wanted
from server.reports.document import Document
from server.reports.files import MEDIA_TYPES, Format, file_name
from server.reports.models import SignedReport

router = APIRouter(prefix="/api/v1/reports", tags=["reports"])
Language = Literal["zh-CN", "en"]
Kind = Literal["temperature", "haccp"]
Number = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$")]
FormatName = Annotated[Format, Path(alias="format")]
Text = Annotated[str, Form(max_length=500)]
FILES = file_answer(*MEDIA_TYPES.values())


def wanted_of(
    kind: Kind,
    start: AwareDatetime,
    end: AwareDatetime,
    box: Annotated[str, Query(max_length=64)] = "",
    sensor: Annotated[str, Query(max_length=64)] = "",
    site: Annotated[int, Query(ge=0, le=2**53)] = 0,
) -> Wanted:
    """``temperature`` needs *box* and *sensor*, ``haccp`` a *site*."""
    if kind == "temperature" and not (box and sensor):
        raise desk.unknown()
    return Wanted(start, end, box, sensor) if kind == "temperature" else Wanted(start, end, site_id=site)


WantedDep = Annotated[Wanted, Depends(wanted_of)]


def attachment(document: Document, data: bytes, format_: str, language: str) -> Response:
    """A file to keep."""
    name = file_name(document, format_, language)
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return Response(data, media_type=MEDIA_TYPES[format_], headers=headers)


def report_json(report: SignedReport) -> dict[str, Any]:
    """A signed report as lists show it."""
    return {
        "number": report.number,
        "kind": report.kind,
        "site": report.site.name,
        "title": report.title,
        "start": report.start,
        "end": report.end,
        "content_sha256": report.content_sha256,
        "batches_sha256": report.batches_sha256,
        "entries": [
            {"edition": entry.edition, "move": entry.move, "by": entry.user.username, "at": entry.at}
            for entry in report.entries
        ],
    }


@router.get("", dependencies=[needs("report.read")])
def reports(user: UserDep, state: StateDep) -> dict[str, Any]:
    """The newest signed reports that the caller may see."""
    return {"reports": look_up(state, lambda db: [report_json(row) for row in sensors.list_reports(db, user)])}


@router.get("/sensors", dependencies=[needs("report.read")])
def list_sensors(user: UserDep, state: StateDep, site: Annotated[str, Query(max_length=120)] = "") -> dict[str, Any]:
    """The first 500 sensors that the caller may report on, of sites with *site* in their name."""
    found = look_up(state, lambda db: sensors.list_sensors(db, desk.series_in(state, db), user, site))
    return {
        "sensors": [
            {
                "site": item.site.name,
                "site_id": item.site.id,
                "box_id": item.box.id,
                "sensor_id": item.sensor_id,
                "name": item.card.name if item.card else "",
                "ccp": item.card.ccp if item.card else "",
            }
            for item in found
        ]
    }


@router.post("/sensors/{box_id}/{sensor_id}/cards", status_code=201, dependencies=[needs("report.write"), CsrfDep])
def add_card(
    box_id: str, sensor_id: str, card: Card, user: UserDep, state: StateDep, remote: RemoteDep
) -> dict[str, str]:
    """Add a sensor card; a second one needs a reason. Earlier cards stay on record."""
    desk.put_card(state, user, box_id, sensor_id, card, remote)
    return {"status": "added"}


@router.get("/drafts/{kind}/{format}", response_class=Response, responses=FILES, dependencies=[needs("report.read")])
def draft(
    format_: FormatName, wanted: WantedDep, user: UserDep, state: StateDep, language: Language = "zh-CN"
) -> Response:
    """A file of an unsigned report, made now, not kept; its JSON names the ``content_sha256`` to sign."""
    document = desk.make_draft(state, user, wanted)
    return attachment(document, desk.draft_file(state, document, format_, language), format_, language)


@router.post("/drafts/{kind}/sign", status_code=201, dependencies=[needs("report.sign"), CsrfDep])
def sign(
    wanted: WantedDep,
    user: UserDep,
    state: StateDep,
    remote: RemoteDep,
    content_sha256: Annotated[str, Form(max_length=64)],
    note: Text = "",
) -> dict[str, Any]:
    """Sign a report as its operator; refused with 409 when the record no longer gives *content_sha256*."""
    document = desk.sign(state, user, wanted, content_sha256, note, remote)
    return {"number": document.number, "edition": document.edition}


@router.get("/{number}", dependencies=[needs("report.read")])
def report(number: Number, user: UserDep, state: StateDep, remote: RemoteDep) -> dict[str, Any]:
    """A signed report: who did what, and the digests of all its files."""
    row, _, files = desk.view_report(state, user, number, remote)
    listed = [
        {
            "edition": file.edition,
            "format": file.format,
            "language": file.language,
            "sha256": file.sha256,
            "size_bytes": file.size_bytes,
        }
        for file in files
    ]
    return {**report_json(row), "files": listed}


@router.get(
    "/{number}/editions/{edition}/{format}",
    response_class=Response,
    responses=FILES,
    dependencies=[needs("report.read")],
)
def report_file(
    number: Number,
    edition: Annotated[int, Path(ge=1, le=1000)],
    format_: FormatName,
    user: UserDep,
    state: StateDep,
    remote: RemoteDep,
    language: Language = "zh-CN",
) -> Response:
    """A file of a signed report, byte for byte as it was signed."""
    data = desk.hand_out(state, user, number, edition, format_, language)
    _, document, _ = desk.view_report(state, user, number, remote)
    shown = document.model_copy(update={"edition": edition})
    return attachment(shown, data, format_, language)


@router.post("/{number}/review", dependencies=[needs("report.review"), CsrfDep])
def review(number: Number, user: UserDep, state: StateDep, remote: RemoteDep, note: Text = "") -> dict[str, Any]:
    """Sign as the reviewer: a regulator, or other staff than those who signed or corrected last."""
    document = desk.act(state, user, number, "review", note, remote)
    return {"number": number, "edition": document.edition}


@router.post("/{number}/corrections", dependencies=[needs("report.correct"), CsrfDep])
def correct(
    number: Number,
    user: UserDep,
    state: StateDep,
    remote: RemoteDep,
    target: Annotated[str, Form(max_length=120)],
    corrected: Text = "",
    reason: Text = "",
    at: Annotated[AwareDatetime | None, Form()] = None,
) -> dict[str, Any]:
    """Correct one statement, the original stays. For one reading, *target* is ``reading``, with its time."""
    fix = Fix(target, corrected, reason, at)
    document = desk.act(state, user, number, "correct", "", remote, fix)
    return {"number": number, "edition": document.edition}
