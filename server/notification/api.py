"""The feed of changes for programs, from a cursor on: what a webhook missed can be read again here."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from server.access import needs
from server.deps import StateDep, UserDep, snapshot
from server.notification.channels import events_after
from server.notification.webhook import DEFAULT_SOURCE, cloud_event

router = APIRouter(prefix="/api/v1", tags=["events"])
EVENTS_MAX = 500


@router.get("/events", dependencies=[needs("alert.read")])
def events(
    user: UserDep,
    state: StateDep,
    after: Annotated[int, Query(ge=0, le=2**53, description="the cursor of the answer before; 0: from the start")] = 0,
    limit: Annotated[int, Query(ge=1, le=EVENTS_MAX)] = 100,
) -> JSONResponse:
    """Changes of the caller's alerts as CloudEvents 1.0, oldest first, with the cursor to go on from.

    An event keeps its id and its place: the same cursor gives the same events again.
    """
    source = state.settings.notification.public_url or DEFAULT_SOURCE
    with snapshot(state) as db:
        found, cursor = events_after(db, user, after, limit)
        told: dict[str, Any] = {"events": [cloud_event(change, source) for change in found], "cursor": cursor}
    return JSONResponse(told)
