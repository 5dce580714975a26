"""Brings the second look after a rectification to the box, and its answer back to the alert.

The rows of `Recheck` are the queue: what is asked of a box and not answered yet is offered as a command of its own.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.audit import Actor
from server.life_cycle.recheck import RecheckOver, Result, answer_recheck, give_up_recheck
from server.models import Box
from server.models_life_cycle import Recheck
from telemetry.commands import COMMANDS_MAX, Command
from telemetry.messages import Event

PREFIX = "recheck-"
RESULTS: dict[object, Result] = {"violating": "violating", "compliant": "compliant", "unknown": "unknown"}


def asked_of(db: Session, box_id: str, now: datetime) -> list[Command]:
    """The second looks that this box is to take."""
    query = (
        select(Recheck)
        .where(Recheck.box_id == box_id, Recheck.way == "box", Recheck.state == "asked", Recheck.expires_at > now)
        .order_by(Recheck.id)
        .limit(COMMANDS_MAX)
    )
    return [
        Command(
            command_id=f"{PREFIX}{row.id}",
            kind="recheck",
            arguments={"camera": row.source_id, "kind": row.kind, "zone": row.zone},
            expires_at=row.expires_at,
        )
        for row in db.scalars(query)
    ]


def take_second_look(db: Session, box: Box, event: Event, now: datetime) -> bool:
    """Whether *event* answers a second look; if so its alert is told."""
    number = str(event.data.get("command_id")).removeprefix(PREFIX)
    if not number.isdecimal() or len(number) > 15 or not str(event.data.get("command_id")).startswith(PREFIX):
        return False
    asked = db.get(Recheck, int(number))
    if asked is None or asked.box_id != box.id:
        return True
    evidence = event.data.get("evidence")
    verdict = RESULTS.get(str(event.data.get("verdict")))
    try:
        if event.data.get("status") == "done" and verdict is not None:
            digest = evidence[0] if isinstance(evidence, list) and evidence else ""
            answer_recheck(
                db, asked.id, verdict, now, evidence_sha256=digest, reason=str(event.data.get("reason") or ""),
                actor=Actor("box", box.id, box.name),
            )  # fmt: skip
        else:
            give_up_recheck(db, asked.id, str(event.data.get("reason") or "refused"), now)
    except RecheckOver:
        pass
    return True
