"""The page of the statistics: figures, the months as bars, tables by kind, region and site, files to keep."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from server.access import needs
from server.deps import SessionDep, StateDep
from server.i18n import catalogue
from server.pages import language_of, render
from server.problems import Problem
from server.statistics import bars, desk, files
from server.statistics.api import FormatName, hand_out
from server.statistics.facts import Wanted
from server.statistics.tables import RANKS, By, Overview, Rank

router = APIRouter(prefix="/statistics", include_in_schema=False)
SITES_SHOWN_MAX = 100
MonthText = Annotated[str, Query(max_length=7)]
KINDS = sorted(key.removeprefix("kind_") for key in catalogue() if key.startswith("kind_") and key != "kind_unknown")


@router.get("", dependencies=[needs("statistics.read")])
def statistics(
    request: Request,
    state: StateDep,
    session: SessionDep,
    first: Annotated[MonthText, Query(alias="from")] = "",
    last: Annotated[MonthText, Query(alias="to")] = "",
    kind: Annotated[str, Query(max_length=40)] = "",
    site: Annotated[str, Query(max_length=16)] = "",
    name: Annotated[str, Query(max_length=120)] = "",
    rank: Rank = "risk",
) -> HTMLResponse:
    """What is wanted comes from the form; a wrong period shows the last months with a sentence."""
    problem: Problem | None = None
    try:
        wanted = desk.wanted_of(first, last, kind, _number(site), name)
        overview: Overview | None = desk.make_overview(state, session.user, wanted, rank)
    except Problem as error:
        problem, overview, wanted = error, None, desk.wanted_of("", "", "", None, "")
    query = urlencode(_words(wanted, rank))
    return render(
        request, "statistics.html", status=problem.status if problem else 200, session=session, overview=overview,
        wanted=wanted, months=desk.months_of(wanted), rank=rank, ranks=RANKS, query=query, kinds=KINDS,
        bars=bars.make_bars(overview.tables["month"]) if overview else [], shown=files.shown,
        label=lambda line, by: files.name_of(line, by, language_of(request)), chart=bars, sites_max=SITES_SHOWN_MAX,
        error=problem.code if problem else None,
    )  # fmt: skip


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 16 else None


def _words(wanted: Wanted, rank: Rank) -> dict[str, str]:
    """The question as a query."""
    words = {
        "from": f"{wanted.first:%Y-%m}", "to": f"{wanted.last:%Y-%m}", "kind": wanted.kind,
        "site": str(wanted.site_id or ""), "name": wanted.site_part, "rank": rank,
    }  # fmt: skip
    return {key: value for key, value in words.items() if value}


@router.get("/files/{by}/{format}", dependencies=[needs("statistics.read")])
def file(
    by: By,
    format_: FormatName,
    request: Request,
    state: StateDep,
    session: SessionDep,
    first: Annotated[MonthText, Query(alias="from")] = "",
    last: Annotated[MonthText, Query(alias="to")] = "",
    kind: Annotated[str, Query(max_length=40)] = "",
    site: Annotated[str, Query(max_length=16)] = "",
    name: Annotated[str, Query(max_length=120)] = "",
    rank: Rank = "risk",
) -> Response:
    """One table as a file in the language of the page."""
    try:
        wanted = desk.wanted_of(first, last, kind, _number(site), name)
        return hand_out(state, session.user, wanted, by, format_, rank, language_of(request))
    except Problem as problem:
        return render(request, "error.html", status=problem.status, session=session, error=problem.code)
