"""Boxes for people's programs, and the door at which boxes wait for their commands."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from server.access import needs, open_to
from server.audit import person
from server.boxes.calls import StaleCall
from server.boxes.commands import CommandRefused, commands_of, offered
from server.boxes.desk import order
from server.boxes.queries import boxes_of
from server.boxes.revocation import revoke
from server.deps import AppState, CsrfDep, RemoteDep, StateDep, UserDep, in_thread, look_up, transact
from server.ingest import check_not_revoked, key_of
from server.models_boxes import BoxCommand
from server.problems import Problem
from server.queries import visible_box
from telemetry.batch import BatchError
from telemetry.commands import (
    Call,
    Command,
    CommandError,
    Commands,
    Signed,
    read_call,
    sign_answer,
    verify_call,
)
from telemetry.messages import Scalar, Text

router = APIRouter(prefix="/api/v1", tags=["box"])


AskedKind = Literal["snapshot", "clip", "recheck", "restart", "hold", "release"]  # what is rolled out comes by itself


class CommandRequest(BaseModel):
    """``arguments``: see the kinds in the description of boxes."""

    model_config = ConfigDict(extra="forbid")

    kind: AskedKind
    arguments: Annotated[dict[Annotated[str, Field(max_length=64)], Text | float | None], Field(max_length=8)] = {}
    valid_s: Annotated[int, Field(ge=10, le=86_400)] = 600


# before the routes of people: "self" is no box
@router.post("/boxes/self/commands", dependencies=[open_to("box")])
async def call(signed: Signed, state: StateDep, response: Response) -> Signed:
    """A box waits here for its commands. 409: the number was used, `brightline-after` says what the next is above."""
    try:
        asked = read_call(signed)
    except CommandError as error:
        raise Problem(400, "malformed", str(error)) from error
    await in_thread(lambda: _check(state, signed, asked))
    try:
        state.calls.take_number(asked.box_id, asked.number)
    except StaleCall as error:
        raise Problem(409, "number", str(error), headers={"brightline-after": str(error.after)}) from error
    found = await _wait_for_commands(state, asked)
    response.headers["cache-control"] = "no-store"
    return sign_answer(Commands(box_id=asked.box_id, number=asked.number, commands=found), state.calls.signer)


def _check(state: AppState, signed: Signed, asked: Call) -> None:
    key = look_up(state, lambda db: key_of(db, asked.box_id))
    if key is None:
        raise Problem(401, "unknown_box", "no such box is enrolled here")
    try:
        verify_call(signed, key)
        look_up(state, lambda db: check_not_revoked(db, asked.box_id))
    except CommandError as error:
        raise Problem(400, "signature", str(error)) from error
    except BatchError as error:
        raise Problem(403, error.code, error.detail) from error


async def _wait_for_commands(state: AppState, asked: Call) -> list[Command]:
    until_s = time.monotonic() + asked.wait_s
    while True:
        bell = state.calls.bell(asked.box_id)
        found = await in_thread(lambda: look_up(state, lambda db: offered(db, asked, datetime.now(UTC))))
        rest_s = until_s - time.monotonic()
        if found or rest_s <= 0 or state.calls.closed:
            return found
        await state.calls.wait(bell, rest_s)


@router.get("/boxes", dependencies=[needs("box.read")])
def boxes(user: UserDep, state: StateDep) -> dict[str, Any]:
    """The boxes that the caller may see: what each told last, whether it is silent, how many commands wait."""
    found = look_up(state, lambda db: boxes_of(db, user, datetime.now(UTC)))
    return {"boxes": [item.as_json() for item in found]}


@router.get("/boxes/{box_id}/commands", dependencies=[needs("box.read")])
def commands(box_id: str, user: UserDep, state: StateDep) -> dict[str, Any]:
    """The newest commands of one box."""

    def find(db: Session) -> list[BoxCommand]:
        if visible_box(db, user, box_id) is None:
            raise Problem(404, "unknown_box", "there is no such box for you")
        return commands_of(db, box_id)

    return {"commands": [command_json(row) for row in look_up(state, find)]}


@router.post("/boxes/{box_id}/commands", status_code=202, dependencies=[needs("box.command"), CsrfDep])
def command(box_id: str, request: CommandRequest, user: UserDep, state: StateDep, remote: RemoteDep) -> dict[str, Any]:
    """Ask a box for something; the box does it when it calls, its result comes as an event."""
    arguments: dict[str, Scalar] = {key: value for key, value in request.arguments.items() if value is not None}
    try:
        return command_json(order(state, user, box_id, request.kind, arguments, remote, request.valid_s))
    except CommandRefused as error:
        raise Problem(422, "command", str(error)) from error


@router.post("/boxes/{box_id}/revocation", dependencies=[needs("box.manage"), CsrfDep])
def revocation(box_id: str, user: UserDep, state: StateDep, remote: RemoteDep) -> dict[str, Any]:
    """Take nothing more of this box: its key may be in other hands. What it signed before stays valid."""

    def take_away(db: Session) -> datetime:
        box = visible_box(db, user, box_id)
        if box is None:
            raise Problem(404, "unknown_box", "there is no such box for you")
        return revoke(db, box, person(user, remote))

    return {"id": box_id, "revoked_at": transact(state, take_away)}


def command_json(row: BoxCommand) -> dict[str, Any]:
    return {
        "id": row.id, "kind": row.kind, "arguments": row.arguments, "by": row.actor, "state": row.state,
        "created_at": row.created_at, "expires_at": row.expires_at, "answered_at": row.answered_at,
        "result": row.result,
    }  # fmt: skip
