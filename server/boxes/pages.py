"""The page of the boxes: which runs what, who is silent, what waits."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from server.access import needs
from server.boxes.queries import boxes_of
from server.deps import SessionDep, StateDep, snapshot
from server.pages import render

router = APIRouter(include_in_schema=False)


@router.get("/boxes", dependencies=[needs("box.read")])
def boxes_page(request: Request, state: StateDep, session: SessionDep) -> HTMLResponse:
    """All boxes within reach, by site."""
    with snapshot(state) as db:
        found = boxes_of(db, session.user, datetime.now(UTC))
    return render(request, "boxes.html", session=session, boxes=found)
