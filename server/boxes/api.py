"""Boxes for people's programs, and the door at which boxes wait for their commands."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from server.access import needs, open_to
from server.api import next_link
from server.audit import person
from server.boxes.commands import CommandRefused, commands_of, offered
from server.boxes.desk import box_for, order
from server.boxes.door import admit
from server.boxes.keys import KeyRefused, check_change, rotate_key
from server.boxes.queries import BOXES_MAX, boxes_of
from server.boxes.revocation import revoke
from server.deps import AppState, CsrfDep, RemoteDep, StateDep, UserDep, in_thread, look_up, transact
from server.models_boxes import BoxCommand
from server.problems import Problem
from telemetry.batch import BatchError
from telemetry.commands import (
    AskedKind,
    Call,
    Command,
    Commands,
    Signed,
    read_call,
    sign_answer,
    verify_call,
)
from telemetry.key_change import KeyChangeError, SignedKeyChange, open_change
from telemetry.messages import Scalar, Text

router = APIRouter(prefix="/api/v1", tags=["box"])


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
    asked = await admit(state, signed, read_call, verify_call)
    found = await _wait_for_commands(state, asked)
    response.headers["cache-control"] = "no-store"
    return sign_answer(Commands(box_id=asked.box_id, number=asked.number, commands=found), state.calls.signer)


class KeyAnswer(BaseModel):
    """The public key that the box has here now, and since when."""

    public_key: str
    since: datetime


@router.post("/boxes/self/key", dependencies=[open_to("box")])
def change_key(signed: SignedKeyChange, state: StateDep, remote: RemoteDep) -> KeyAnswer:
    """A box takes a new key. It may ask again until it hears the answer; what the old key signed before stays valid."""
    try:
        change = open_change(signed)
        look_up(state, lambda db: check_change(db, change))
        since = transact(state, lambda db: rotate_key(db, change, remote))
    except KeyChangeError as error:
        raise Problem(400, "signature", str(error)) from error
    except KeyRefused as error:
        raise Problem(409, "key", str(error)) from error
    except BatchError as error:
        raise Problem(403 if error.code == "revoked" else 401, error.code, error.detail) from error
    return KeyAnswer(public_key=change.new_key, since=since)


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
def boxes(
    request: Request,
    response: Response,
    user: UserDep,
    state: StateDep,
    after: Annotated[str | None, Query(max_length=64, description="the last box of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=BOXES_MAX)] = BOXES_MAX,
) -> dict[str, Any]:
    """The boxes that the caller may see: what each told last, whether it is silent, how many commands wait.

    By site and name; ``next`` (and ``Link``) leads on.
    """
    found = look_up(state, lambda db: boxes_of(db, user, datetime.now(UTC), after, limit + 1))
    shown = found[:limit]
    link = next_link(request, response, after=shown[-1].box.id) if len(found) > limit else None
    return {"boxes": [item.as_json() for item in shown], "next": link}


@router.get("/boxes/{box_id}/commands", dependencies=[needs("box.read")])
def commands(box_id: str, user: UserDep, state: StateDep) -> dict[str, Any]:
    """The newest commands of one box."""

    def find(db: Session) -> list[BoxCommand]:
        return commands_of(db, box_for(db, user, box_id).id)

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
        return revoke(db, box_for(db, user, box_id), person(user, remote))

    return {"id": box_id, "revoked_at": transact(state, take_away)}


def command_json(row: BoxCommand) -> dict[str, Any]:
    return {
        "id": row.id, "kind": row.kind, "arguments": row.arguments, "by": row.actor, "state": row.state,
        "created_at": row.created_at, "expires_at": row.expires_at, "answered_at": row.answered_at,
        "result": row.result,
    }  # fmt: skip
