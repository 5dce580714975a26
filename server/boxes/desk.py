"""A command for a box, as pages and programs give it."""

from __future__ import annotations

from sqlalchemy.orm import Session

from server.audit import person
from server.boxes.commands import VALID_S, issue
from server.deps import AppState, transact
from server.models import User
from server.models_boxes import BoxCommand
from server.problems import Problem
from server.queries import visible_box
from telemetry.commands import CommandKind
from telemetry.messages import Scalar


def order(
    state: AppState,
    user: User,
    box_id: str,
    kind: CommandKind,
    arguments: dict[str, Scalar],
    remote: str,
    valid_s: int = VALID_S,
) -> BoxCommand:
    """Queue it and wake the box that waits. Raises Problem for a box out of reach, CommandRefused."""

    def queue(db: Session) -> BoxCommand:
        box = visible_box(db, user, box_id)
        if box is None:
            raise Problem(404, "unknown_box", "there is no such box for you")
        return issue(db, box, kind, arguments, person(user, remote), valid_s)

    row = transact(state, queue)
    state.calls.ring(box_id)
    return row
