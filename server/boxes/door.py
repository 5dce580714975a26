"""The door of the boxes' own calls: signed by the box, not revoked, and each number only once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from server.boxes.calls import StaleCall
from server.boxes.keys import check_not_revoked
from server.deps import AppState, in_thread, look_up
from server.ingest import key_of
from server.problems import Problem
from telemetry.batch import BatchError
from telemetry.commands import Call, CommandError, Fetch, Signed
from telemetry.signing import PublicKey

Asked = TypeVar("Asked", Call, Fetch)


async def admit(
    state: AppState, signed: Signed, read: Callable[[Signed], Asked], verify: Callable[[Signed, PublicKey], None]
) -> Asked:
    """What the box asks, as *read* and *verify* know its kind; its number is used up. Raises Problem.

    409 says in ``brightline-after`` what the next number must be above.
    """
    try:
        asked = read(signed)
    except CommandError as error:
        raise Problem(400, "malformed", str(error)) from error
    await in_thread(lambda: _check(state, asked.box_id, lambda key: verify(signed, key)))
    try:
        state.calls.take_number(asked.box_id, asked.number)
    except StaleCall as error:
        raise Problem(409, "number", str(error), headers={"brightline-after": str(error.after)}) from error
    return asked


def _check(state: AppState, box_id: str, verify: Callable[[PublicKey], None]) -> None:
    key = look_up(state, lambda db: key_of(db, box_id))
    if key is None:
        raise Problem(401, "unknown_box", "no such box is enrolled here")
    try:
        verify(key)
        look_up(state, lambda db: check_not_revoked(db, box_id))
    except CommandError as error:
        raise Problem(400, "signature", str(error)) from error
    except BatchError as error:
        raise Problem(403, error.code, error.detail) from error
