"""The page of the audit log: newest first, for auditors and administrators, cut to their sites."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from server.access import needs
from server.audit import PAGE_ROWS, list_entries
from server.audit_words import tell
from server.deps import SessionDep, StateDep, snapshot
from server.pages import render

router = APIRouter(include_in_schema=False)


@router.get("/audit", dependencies=[needs("audit.read")])
def audit_log(
    request: Request,
    state: StateDep,
    session: SessionDep,
    before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
) -> HTMLResponse:
    """A page of entries; *before* is the number to go on from. Times are UTC: the entries are of many sites."""
    with snapshot(state) as db:
        found = list_entries(db, session.user, before, PAGE_ROWS + 1)
    entries = found[:PAGE_ROWS]
    older = entries[-1].seq if len(found) > PAGE_ROWS else None
    return render(request, "audit.html", session=session, entries=entries, older=older, before=before, tell=tell)
