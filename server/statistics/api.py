"""The JSON API of the statistics, and their files."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Response

from server.access import needs
from server.deps import AppState, StateDep, UserDep
from server.i18n import translate
from server.models import User
from server.problems import TABLE_FILE, Problem
from server.reports.files import Busy
from server.statistics import desk, files
from server.statistics.facts import Wanted
from server.statistics.tables import By, Line, Rank

router = APIRouter(prefix="/api/v1/statistics", tags=["statistics"])
Language = Literal["zh-CN", "en"]
FormatName = Annotated[files.Format, Path(alias="format")]
MonthText = Annotated[str, Query(max_length=7)]


def wanted_of(
    first: Annotated[MonthText, Query(alias="from")] = "",
    last: Annotated[MonthText, Query(alias="to")] = "",
    kind: Annotated[str, Query(max_length=40)] = "",
    site: Annotated[int | None, Query(ge=1, le=2**53)] = None,
    name: Annotated[str, Query(max_length=120)] = "",
) -> Wanted:
    """Months as YYYY-MM (the last three without), a kind of alert, a site, or a part of the sites' names."""
    return desk.wanted_of(first, last, kind, site, name)


WantedDep = Annotated[Wanted, Depends(wanted_of)]


def line_json(line: Line) -> dict[str, Any]:
    """A line; shares and coverage in %."""
    found: dict[str, Any] = {"key": line.key, "name": line.name, "sites": line.sites, "depth": line.depth}
    found |= {name: files.figure(line, name) for name in files.FIGURES}
    if line.risk is not None:
        reasons = [{"term": item.name, "value": item.value, "points": item.points} for item in line.risk.reasons]
        found["risk"] = {"score": line.risk.score, "reasons": reasons}
    return found


@router.get("", dependencies=[needs("statistics.read")])
def statistics(
    wanted: WantedDep, user: UserDep, state: StateDep, by: By = "site", rank: Rank = "risk"
) -> dict[str, Any]:
    """The figures in all and by month, kind, region or site (ranked, with each site's risk and its reasons)."""
    overview = desk.make_overview(state, user, wanted, rank)
    return {
        "months": desk.months_of(wanted),
        "coverage_counted": overview.coverage_counted,
        "total": line_json(overview.total),
        "lines": [line_json(line) for line in overview.tables[by]],
    }


@router.get(
    "/files/{by}/{format}", response_class=Response, responses=TABLE_FILE, dependencies=[needs("statistics.read")]
)
def file(
    by: By,
    format_: FormatName,
    wanted: WantedDep,
    user: UserDep,
    state: StateDep,
    rank: Rank = "risk",
    language: Language = "zh-CN",
) -> Response:
    """One table as CSV, XLSX or PDF."""
    return hand_out(state, user, wanted, by, format_, rank, language)


def hand_out(
    state: AppState, user: User, wanted: Wanted, by: By, format_: files.Format, rank: Rank, language: str
) -> Response:
    """A file to keep; raises Problem."""
    months = desk.months_of(wanted)
    period = f"{months[0]} – {months[-1]}"
    overview = desk.make_overview(state, user, wanted, rank)
    try:
        data = files.make_file(overview, by, format_, language, translate(language, "st"), period, state.settings.font)
    except Busy as error:
        raise Problem(503, "report_busy", "other reports are being made; try again in a minute") from error
    name = f"brightline-statistics-{by}-{months[0]}-{months[-1]}.{format_}"
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return Response(data, media_type=files.MEDIA_TYPES[format_], headers=headers)
