"""Commands to boxes: put in a queue by a person, fetched by the box, answered by one of its events.

A command is offered until its result is here or it has expired; the box does it once. Both ends are in the audit log.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from server.audit import Actor, note
from server.boxes.second_looks import asked_of, take_second_look
from server.models import Box
from server.models_boxes import BoxCommand
from telemetry.commands import COMMANDS_MAX, KIND, Call, Command, CommandKind
from telemetry.messages import Event, Scalar

VALID_S = 600
WAITING_MAX = 100
NEEDS: dict[CommandKind, tuple[str, ...]] = {
    "snapshot": ("camera",),
    "clip": ("camera", "at"),
    "recheck": ("camera", "kind"),
    "restart": (),
    "hold": ("incident",),
    "release": ("incident",),
    "apply": (),
}
MAY_HAVE: dict[CommandKind, tuple[str, ...]] = {
    "clip": ("before_s", "after_s"),
    "recheck": ("zone",),
    "hold": ("why",),
    "release": ("why",),
    "apply": ("release", "sha256", "slot", "mode", "model_sha256"),
}
STATES = ("done", "refused", "failed")


class CommandRefused(Exception):
    """A command that cannot be given; the message says why, ``code`` is the key of its text on pages."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = f"command_{code}"


def issue(
    db: Session,
    box: Box,
    kind: CommandKind,
    arguments: dict[str, Scalar],
    actor: Actor,
    valid_s: int = VALID_S,
) -> BoxCommand:
    """Queue a command, in the caller's writing transaction; ring `BoxCalls` after it. Raises CommandRefused."""
    missing = [name for name in NEEDS[kind] if not arguments.get(name)]
    strange = sorted(arguments.keys() - set(NEEDS[kind]) - set(MAY_HAVE.get(kind, ())))
    if missing:
        raise CommandRefused("missing", f"{kind} needs {', '.join(missing)}")
    if strange:
        raise CommandRefused("strange", f"{kind} takes no {', '.join(strange)}")
    now = datetime.now(UTC)
    if len(waiting(db, box.id, now)) >= WAITING_MAX:
        raise CommandRefused("too_many", "too many commands wait for this box")
    row = BoxCommand(
        id=uuid.uuid4().hex, box_id=box.id, kind=kind, arguments=dict(arguments), actor=actor.name, state="queued",
        created_at=now, expires_at=now + timedelta(seconds=valid_s),
    )  # fmt: skip
    db.add(row)
    db.flush()
    note(db, actor, "box.command", ("box", box.id), {"id": row.id, "kind": kind, **arguments}, site_id=box.site_id)
    return row


def waiting(db: Session, box_id: str, now: datetime) -> list[BoxCommand]:
    """What the box has not answered and may still do, oldest first."""
    query = (
        select(BoxCommand)
        .where(BoxCommand.box_id == box_id, BoxCommand.state == "queued", BoxCommand.expires_at > now)
        .order_by(BoxCommand.created_at, BoxCommand.id)
        .limit(WAITING_MAX)
    )
    return list(db.scalars(query))


def offered(db: Session, call: Call, now: datetime) -> list[Command]:
    """The commands for an answer: what waits, without what the box is doing or has done already."""
    queued = [
        Command.model_validate(
            {"command_id": row.id, "kind": row.kind, "arguments": row.arguments, "expires_at": row.expires_at}
        )
        for row in waiting(db, call.box_id, now)
    ]
    found = [*asked_of(db, call.box_id, now), *queued]
    return [command for command in found if command.command_id not in call.known][:COMMANDS_MAX]


def take_result(db: Session, box: Box, event: Event) -> None:
    """The box told what became of a command; the first word counts."""
    if event.type != "box_status" or event.data.get("kind") != KIND:
        return
    if take_second_look(db, box, event, datetime.now(UTC)):
        return
    row = db.get(BoxCommand, str(event.data.get("command_id")))
    state = event.data.get("status")
    if row is None or row.box_id != box.id or row.state in STATES or state not in STATES:
        return
    row.state, row.answered_at = str(state), event.at
    row.result = {key: value for key, value in event.data.items() if key not in ("kind", "command_id", "status")}
    note(db, Actor("box", box.id, box.name), "box.command_result", ("box", box.id), {"id": row.id, "state": state},
         site_id=box.site_id)  # fmt: skip


def expire(db: Session, now: datetime) -> int:
    """Mark what nobody fetched in time; how many."""
    overdue = update(BoxCommand).where(BoxCommand.state == "queued", BoxCommand.expires_at <= now)
    return int(db.execute(overdue.values(state="expired")).rowcount)  # type: ignore[attr-defined]


def commands_of(db: Session, box_id: str, limit: int = 20) -> list[BoxCommand]:
    """The newest first."""
    query = select(BoxCommand).where(BoxCommand.box_id == box_id).order_by(BoxCommand.created_at.desc(), BoxCommand.id)
    return list(db.scalars(query.limit(limit)))
