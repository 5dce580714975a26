"""The page of how long cameras watched: one site and day; "no violations" stands there only with its coverage."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from server.access import needs
from server.coverage import coverage_of, find_site, find_sites
from server.deps import SessionDep, StateDep, snapshot
from server.pages import render
from server.policy import SITE_ROLES

router = APIRouter(include_in_schema=False)
FIRST_YEAR = 1970  # what comes before, and 9999, has no day in every zone


@router.get("/coverage", dependencies=[needs("statistics.read")])
def coverage_page(
    request: Request,
    state: StateDep,
    session: SessionDep,
    site: Annotated[int, Query(ge=0, le=2**53)] = 0,
    day: Annotated[str, Query(max_length=10)] = "",
    name: Annotated[str, Query(max_length=120)] = "",
) -> HTMLResponse:
    """The rows of *site* (without one: the first that this person may see) on *day* (without one: today)."""
    with snapshot(state) as db:
        sites = find_sites(db, session.user, name)
        chosen = find_site(db, session.user, site) if site else next(iter(sites), None)
        if chosen is None and site:
            return render(request, "error.html", status=404, session=session, error="coverage_unknown_site")
        today = datetime.now(UTC).astimezone(ZoneInfo(chosen.time_zone if chosen else "UTC")).date()
        wanted = _day(day) or today
        rows = coverage_of(db, chosen, wanted) if chosen else []
    return render(
        request, "coverage.html", session=session, sites=sites, chosen=chosen, day=wanted, today=today, rows=rows,
        site_part=name, many_sites=session.user.role not in SITE_ROLES,
    )  # fmt: skip


def _day(text: str) -> date | None:
    """A day as a form gives it, or None."""
    try:
        read = date.fromisoformat(text)
    except ValueError:
        return None
    return read if FIRST_YEAR < read.year < 9000 else None
