"""How a new alert comes under the rules: its tier, level and deadlines, and whether it is a repeat."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.life_cycle.interviews import consider_interviews
from server.life_cycle.record import set_deadlines, tell
from server.life_cycle.rules import Rules
from server.models import Alert, AlertMove


def raise_alert(db: Session, alert: Alert, rules: Rules, now: datetime) -> None:
    """Put a new alert under the rules: its tier, level, deadlines, and whether it is a repeat. Adds it and its row."""
    rule = rules.kind(alert.kind)
    alert.tier, alert.level, alert.state = rule.tier, rules.tier(rule.tier).level, "open"
    set_deadlines(db, alert, rules, now)
    before = _earlier(db, alert, rules)
    if before is not None:
        alert.repeat_of_id, alert.repeats = before.id, before.repeats + 1
    db.add(alert)
    db.flush()
    db.add(AlertMove(alert_id=alert.id, at=now, move="raise", old_state=None, new_state="open"))
    tell(db, alert, "raise")
    if before is not None:
        consider_interviews(db, alert, rules, now)


def _earlier(db: Session, alert: Alert, rules: Rules) -> Alert | None:
    """The last one of the same kind at the same source within the window, unless it was a false alarm."""
    window = rules.repeat_within(alert.kind)
    if window <= timedelta(0):
        return None
    query = select(Alert).where(
        Alert.site_id == alert.site_id,
        Alert.source_id == alert.source_id,
        Alert.kind == alert.kind,
        Alert.opened_at.between(alert.opened_at - window, alert.opened_at),
        Alert.state != "dismissed",
    )
    return db.scalar(query.order_by(Alert.opened_at.desc(), Alert.id.desc()).limit(1))
