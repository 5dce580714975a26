"""The one place where an alert changes: its state, the row that tells of it, and the entry in the audit log.

Whoever moves an alert, a person or the centre, goes through `record_move`, within the caller's writing transaction.
"""

from __future__ import annotations

from datetime import datetime
from typing import cast
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.audit import SYSTEM, person
from server.audit import note as note_audit
from server.life_cycle.escalation import CARDS, Standing, Step, StepName, next_step
from server.life_cycle.rules import Rules
from server.life_cycle.state import Move, State, next_state
from server.models import Alert, AlertMove, Site, User
from server.models_life_cycle import Card, OverdueStep
from server.notification.outbox import queue_notices

NOTE_CHARACTERS_MAX = 2000


def is_unconfirmed(alert: Alert) -> bool:
    """Whether it waits for a person who says that it is true."""
    return alert.confirm_by_at is not None and alert.confirmed_at is None


def record_move(
    db: Session, alert: Alert, move: Move, user: User | None, note: str, at: datetime, remote_addr: str = ""
) -> None:
    """Make a move; no *user* is the centre itself. Raises MoveRefused and changes nothing."""
    old = cast(State, alert.state)
    role = user.role if user else None
    alert.state = next_state(old, move, role, unconfirmed=is_unconfirmed(alert))
    if move == "confirm":
        alert.confirmed_at = at
    db.add(
        AlertMove(
            alert_id=alert.id,
            at=at,
            user_id=user.id if user else None,
            move=move,
            old_state=old,
            new_state=alert.state,
            note=note[:NOTE_CHARACTERS_MAX],
            remote_addr=remote_addr[:64],
        )
    )
    actor = person(user, remote_addr) if user else SYSTEM
    detail = {"from": old, "to": alert.state, "note": note[:NOTE_CHARACTERS_MAX]}
    note_audit(db, actor, f"alert.{move}", ("alert", alert.id), detail, site_id=alert.site_id)
    tell(db, alert, move)


def tell(db: Session, alert: Alert, change: str) -> None:
    """Note for those who have to hear of it that *alert* changed, in the transaction of the change."""
    db.flush()
    queue_notices(db, alert, change)


def set_deadlines(db: Session, alert: Alert, rules: Rules, start: datetime) -> None:
    """Give the alert its deadlines, counted from *start*."""
    zone = ZoneInfo(db.get_one(Site, alert.site_id).time_zone)
    by = rules.deadlines(alert.kind, alert.tier, start, zone)
    alert.acknowledge_by_at, alert.deadline_at = by.acknowledge_by_at, by.rectify_by_at
    if alert.confirmed_at is None:
        alert.confirm_by_at = by.confirm_by_at
    alert.next_step_at = min(by.acknowledge_by_at, by.rectify_by_at, by.confirm_by_at or by.rectify_by_at)


def set_review_deadline(db: Session, alert: Alert, rules: Rules, start: datetime) -> None:
    """Until when somebody has to review what was submitted at *start*."""
    zone = ZoneInfo(db.get_one(Site, alert.site_id).time_zone)
    alert.review_by_at = rules.review_by(alert.tier, start, zone)


def standing_of(alert: Alert) -> Standing:
    """What decides on the steps of this alert."""
    return Standing(
        cast(State, alert.state),
        alert.tier,
        alert.level,
        alert.confirm_by_at if is_unconfirmed(alert) else None,
        alert.acknowledge_by_at,
        alert.deadline_at,
        alert.review_by_at,
    )


def done_steps(db: Session, alert: Alert) -> set[Step]:
    """The steps of this alert that were done."""
    steps = select(OverdueStep.due_at, OverdueStep.name).where(OverdueStep.alert_id == alert.id)
    cards = select(Card.due_at, Card.colour).where(Card.alert_id == alert.id)
    done = {Step(due_at, cast(StepName, name)) for due_at, name in db.execute(steps)}
    return done | {Step(due_at, cast(StepName, f"{colour}_card")) for due_at, colour in db.execute(cards)}


def plan_next_step(db: Session, alert: Alert, rules: Rules) -> None:
    """Note when the clockwork has to look at the alert again."""
    step = next_step(standing_of(alert), done_steps(db, alert), rules)
    alert.next_step_at = step.due_at if step else None


def do_step(db: Session, alert: Alert, step: Step, rules: Rules, now: datetime) -> None:
    """A step that fell due: a card, or one level up. The unique rows make it happen once."""
    if step.name in CARDS:
        colour = step.name.removesuffix("_card")
        db.add(Card(site_id=alert.site_id, alert_id=alert.id, colour=colour, due_at=step.due_at, at=now))
        detail = {"colour": colour, "due_at": step.due_at.isoformat()}
        note_audit(db, SYSTEM, "alert.card", ("alert", alert.id), detail, site_id=alert.site_id)
        tell(db, alert, step.name)
        return
    before, alert.level = alert.level, rules.level_above(alert.level)
    db.add(
        OverdueStep(
            alert_id=alert.id, name=step.name, due_at=step.due_at, at=now, level_before=before, level_after=alert.level
        )
    )
    record_move(db, alert, "escalate", None, step.name, now)
