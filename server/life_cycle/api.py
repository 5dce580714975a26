"""The JSON API of the life cycle: moves, rectifications, cards, the interview list, false alarms by model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Path, Query, Request

from server.access import needs
from server.deps import AlertId, CsrfDep, RemoteDep, StateDep, UserDep, snapshot, transact
from server.life_cycle import acting, lists
from server.life_cycle.interviews import InterviewHeld, UnknownInterview, hold_interview
from server.life_cycle.proof import FIELDS
from server.models_life_cycle import Card, Interview
from server.problems import Problem
from server.service import Hand

router = APIRouter(prefix="/api/v1", tags=["alerts"])
PlainMove = Literal["confirm", "acknowledge", "start", "accept", "reject", "dismiss", "push", "reopen"]
InterviewId = Annotated[int, Path(ge=1, le=2**53)]
Before = Annotated[int | None, Query(ge=1, le=2**53)]
RECTIFICATION_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["photo", "person", "matter", "scene"],
                    "properties": {
                        "photo": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        **{name: {"type": "string", "maxLength": limit} for name, limit in FIELDS.items()},
                    },
                }
            }
        },
    }
}
MOVING = needs("alert.acknowledge", "alert.rectify", "alert.review", "alert.dismiss", "alert.push")


def card_json(card: Card) -> dict[str, Any]:
    return {
        "id": card.id,
        "colour": card.colour,
        "site": card.site.name,
        "alert": card.alert_id,
        "kind": card.alert.kind,
        "due_at": card.due_at,
        "at": card.at,
    }


def interview_json(entry: Interview) -> dict[str, Any]:
    return {
        "id": entry.id,
        "site": entry.site.name,
        "reason": entry.reason,
        "count": entry.count,
        "within_d": entry.within_d,
        "alert": entry.alert_id,
        "listed_at": entry.listed_at,
        "held_at": entry.held_at,
        "held_by": entry.held_by.username if entry.held_by else None,
        "note": entry.note,
    }


@router.post("/alerts/{alert_id}/moves/{kind}", dependencies=[MOVING, CsrfDep])
def move(
    alert_id: AlertId,
    kind: PlainMove,
    user: UserDep,
    state: StateDep,
    remote: RemoteDep,
    note: Annotated[str, Form(max_length=2000)] = "",
    picture: Annotated[str, Form(max_length=64)] = "",
) -> dict[str, str]:
    """One move. A rejection, a dismissal and a reopening need a note; a push may name a picture of the alert."""
    return {"state": acting.act(state, Hand(user, remote), alert_id, kind, note, picture).state}


@router.post(
    "/alerts/{alert_id}/rectifications",
    status_code=201,
    dependencies=[needs("alert.rectify"), CsrfDep],
    openapi_extra=RECTIFICATION_BODY,
)
async def rectifications(
    alert_id: AlertId, user: UserDep, state: StateDep, remote: RemoteDep, request: Request
) -> dict[str, str]:
    """Submit a rectification with its photos, each with time, place, person, matter and scene."""
    async with acting.rectification_form(request) as form:
        return {"state": (await acting.rectify(state, Hand(user, remote), alert_id, form)).state}


@router.get("/cards", dependencies=[needs("alert.read")])
def cards(
    user: UserDep, state: StateDep, colour: Literal["yellow", "red"] | None = None, before: Before = None
) -> dict[str, Any]:
    """The cards of the caller's sites, newest first."""
    with snapshot(state) as db:
        return {"cards": [card_json(card) for card in lists.list_cards(db, user, colour, before)]}


@router.get("/interviews", dependencies=[needs("alert.read")])
def interviews(
    user: UserDep,
    state: StateDep,
    still_open: Annotated[bool | None, Query(alias="open")] = None,
    before: Before = None,
) -> dict[str, Any]:
    """The interview list (约谈) of the caller's sites, newest first."""
    with snapshot(state) as db:
        found = lists.list_interviews(db, user, still_open=still_open, before=before)
        return {"interviews": [interview_json(entry) for entry in found]}


@router.post("/interviews/{interview_id}/hold", dependencies=[needs("alert.review"), CsrfDep])
def hold(
    interview_id: InterviewId,
    user: UserDep,
    state: StateDep,
    remote: RemoteDep,
    note: Annotated[str, Form(max_length=2000)] = "",
) -> dict[str, str]:
    """Note that the site was talked to; it is counted anew from now on."""
    held(state, Hand(user, remote), interview_id, note)
    return {"state": "held"}


def held(state: StateDep, hand: Hand, interview_id: int, note: str) -> None:
    """The same for a page; raises Problem."""
    try:
        transact(state, lambda db: hold_interview(db, hand.user, interview_id, note, hand.clock(), hand.remote_addr))
    except UnknownInterview as error:
        raise Problem(404, "unknown_interview", "there is no such entry for you") from error
    except InterviewHeld as error:
        raise Problem(409, "wrong_state", "this interview was held already") from error


@router.get("/false-alarms", dependencies=[needs("statistics.read")])
def false_alarms(user: UserDep, state: StateDep) -> dict[str, Any]:
    """How many alerts each model raised on the caller's sites, and how many of them were dismissed as false."""
    with snapshot(state) as db:
        found = lists.false_alarms(db, user)
    return {
        "models": [
            {"model_sha256": item.model_sha256, "alerts": item.alerts, "dismissed": item.dismissed} for item in found
        ]
    }
