"""The interview list (约谈): sites whose faults come again or stay overdue too often, each reason listed once.

A site is counted anew from the end of its last interview for that reason.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from server.audit import SYSTEM, person
from server.audit import note as note_audit
from server.life_cycle.record import NOTE_CHARACTERS_MAX, tell
from server.life_cycle.rules import InterviewReason, Rules
from server.models import Alert, Site, User
from server.models_life_cycle import Interview, OverdueStep
from server.scope import within


class UnknownInterview(Exception):
    """There is no such entry for this person."""


class InterviewHeld(Exception):
    """It was held already."""


def consider_interviews(db: Session, alert: Alert, rules: Rules, now: datetime) -> list[Interview]:
    """List the alert's site where it is due; *db* is in a writing transaction."""
    lock_site(db, alert.site_id)
    listed = []
    for reason, rule in rules.file.interviews.items():
        last_held = select(func.max(Interview.held_at)).where(
            Interview.site_id == alert.site_id, Interview.reason == reason
        )
        mine = select(Interview.id).where(
            Interview.site_id == alert.site_id, Interview.reason == reason, Interview.held_at.is_(None)
        )
        if alert.tier not in rule.tiers or db.scalar(mine.limit(1)) is not None:
            continue
        since = max(now - timedelta(days=rule.within_d), db.scalar(last_held) or now - timedelta(days=rule.within_d))
        counted = select(func.count()).select_from(Alert).where(
            Alert.site_id == alert.site_id, Alert.tier.in_(rule.tiers), Alert.state != "dismissed",
            _counts(reason, since),
        )  # fmt: skip
        count = db.scalar(counted) or 0
        if count < rule.count:
            continue
        entry = Interview(
            site_id=alert.site_id, reason=reason, count=count, within_d=rule.within_d, alert_id=alert.id,
            listed_at=now, note="",
        )  # fmt: skip
        db.add(entry)
        db.flush()
        detail = {"reason": reason, "count": count, "within_d": rule.within_d, "alert": alert.id}
        note_audit(db, SYSTEM, "interview.list", ("interview", entry.id), detail, site_id=alert.site_id)
        tell(db, alert, "interview")
        listed.append(entry)
    return listed


def lock_site(db: Session, site_id: int) -> None:
    """Let nobody else count this site meanwhile; taken before the audit log's lock, everywhere.

    Two who wrote an alert of the site refer to its row already: they must not wait for each other (NO KEY UPDATE).
    """
    db.execute(select(Site.id).where(Site.id == site_id).with_for_update(key_share=True)).one()


def _counts(reason: InterviewReason, since: datetime) -> ColumnElement[bool]:
    if reason == "repeat":
        return Alert.repeat_of_id.is_not(None) & (Alert.opened_at >= since)
    overdue = select(OverdueStep.alert_id).where(OverdueStep.name == "rectify", OverdueStep.at >= since)
    return Alert.id.in_(overdue)


def hold_interview(db: Session, user: User, interview_id: int, note: str, now: datetime, remote_addr: str) -> Interview:
    """Note that the site was talked to; raises UnknownInterview or InterviewHeld."""
    query = select(Interview).where(Interview.id == interview_id, within(user, Interview.site_id))
    entry = db.scalar(query.with_for_update())
    if entry is None:
        raise UnknownInterview
    if entry.held_at is not None:
        raise InterviewHeld
    entry.held_at, entry.held_by_id, entry.note = now, user.id, note[:NOTE_CHARACTERS_MAX]
    detail = {"reason": entry.reason, "note": entry.note}
    note_audit(db, person(user, remote_addr), "interview.hold", ("interview", entry.id), detail, site_id=entry.site_id)
    db.flush()
    return entry
