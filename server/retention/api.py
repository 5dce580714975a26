"""The JSON API of legal holds on alerts: those who supervise place and lift them, each for a reason on record."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Query
from pydantic import AwareDatetime, BaseModel

from server.access import needs
from server.conditional import IfMatch
from server.deps import AlertId, CsrfDep, RemoteDep, StateDep, UserDep
from server.retention import desk
from server.retention.desk import Wish
from server.retention.holds import REASON_CHARACTERS_MAX
from server.service import Hand

router = APIRouter(prefix="/api/v1", tags=["alerts"])
HoldId = Annotated[int, Query(ge=1, le=2**53, description="needed where several are on the alert")]
PLACED = {
    "id": 7, "of": "alert", "since": "2026-11-25T02:00:00Z", "until": None, "by": "zhang", "reason": "court case 12",
    "may_lift": True,
}  # fmt: skip


class StillHeld(BaseModel):
    """Whether other holds keep the alert still, its own or one of its whole site."""

    held: bool


@router.post(
    "/alerts/{alert_id}/hold",
    status_code=201,
    dependencies=[needs("alert.hold"), CsrfDep],
    responses={201: {"description": "Held", "content": {"application/json": {"example": PLACED}}}},
)
def place(
    alert_id: AlertId,
    user: UserDep,
    state: StateDep,
    remote: RemoteDep,
    reason: Annotated[str, Form(min_length=1, max_length=REASON_CHARACTERS_MAX)],
    until: Annotated[AwareDatetime | None, Form(description="in the future; without it, until it is lifted")] = None,
    if_match: IfMatch = None,
) -> dict[str, Any]:
    """Keep the evidence of an alert from every purge. Each hold counts by itself and is lifted by itself."""
    return desk.hold_json(desk.place(state, Hand(user, remote), alert_id, Wish(reason, until, if_match)), user)


@router.delete(
    "/alerts/{alert_id}/hold",
    dependencies=[needs("alert.hold"), CsrfDep],
    responses={200: {"description": "Lifted", "content": {"application/json": {"example": {"held": False}}}}},
)
def lift(
    alert_id: AlertId,
    user: UserDep,
    state: StateDep,
    remote: RemoteDep,
    reason: Annotated[str, Query(min_length=1, max_length=REASON_CHARACTERS_MAX)],
    hold: HoldId | None = None,
    if_match: IfMatch = None,
) -> StillHeld:
    """Lift one hold of the alert's own; ``held`` says whether another one keeps it still. One that was placed by
    somebody who reaches further than the caller (a province's, to a district) is not the caller's to lift.

    The reason stands in the query: what a DELETE carries as a body need not arrive (RFC 9110, 9.3.5).
    """
    left = desk.lift(state, Hand(user, remote), alert_id, hold, Wish(reason, if_match=if_match))
    return StillHeld(held=bool(left))
