"""A box within somebody's reach, and a command for it, as pages and programs give it."""

from __future__ import annotations

from sqlalchemy.orm import Session

from server.audit import person
from server.boxes.commands import VALID_S, issue
from server.deps import AppState, transact
from server.models import Box, User
from server.models_boxes import BoxCommand
from server.problems import Problem
from server.queries import visible_box
from telemetry.commands import CommandKind
from telemetry.messages import Scalar


def box_for(db: Session, user: User, box_id: str) -> Box:
    """The box; raises Problem when it is out of reach."""
    box = visible_box(db, user, box_id)
    if box is None:
        raise Problem(404, "unknown_box", "there is no such box for you")
    return box


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
        return issue(db, box_for(db, user, box_id), kind, arguments, person(user, remote), valid_s)

    row = transact(state, queue)
    state.calls.ring(box_id)
    return row
