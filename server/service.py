"""What people do to alerts. Every function makes one move and the row that tells of it, in the caller's transaction."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.alert_state import Move, State, next_state
from server.audit import note as note_audit
from server.audit import person
from server.blobs import FolderBlobStore
from server.models import Alert, AlertMove, Rectification, User
from server.notification.outbox import queue_notices
from server.photo import Photo
from server.queries import visible_alert

NOTE_CHARACTERS_MAX = 2000


class UnknownAlert(Exception):
    """There is no such alert for this person."""


class NoteMissing(Exception):
    """A rejection needs a reason."""


def acknowledge(db: Session, user: User, alert_id: int, remote_addr: str) -> Alert:
    """Say that it was seen; raises UnknownAlert or MoveRefused."""
    return _move(db, user, alert_id, "acknowledge", "", remote_addr)


def check_move(db: Session, user: User, alert_id: int, move: Move) -> None:
    """Whether this person may make the move now; raises UnknownAlert or MoveRefused."""
    alert = _visible(db, user, alert_id)
    next_state(cast(State, alert.state), move, user.role)


def submit_rectification(
    db: Session, user: User, alert_id: int, note: str, photo: Photo, blobs: FolderBlobStore, remote_addr: str
) -> Alert:
    """Claim that it is repaired, with a photo; raises UnknownAlert or MoveRefused, and then keeps no picture."""
    alert = _move(db, user, alert_id, "submit", note, remote_addr)
    original_sha256, photo_sha256 = blobs.put(photo.original), blobs.put(photo.shown)
    db.add(
        Rectification(
            alert_id=alert.id,
            note=note[:NOTE_CHARACTERS_MAX],
            original_sha256=original_sha256,
            photo_sha256=photo_sha256,
            submitted_by_id=user.id,
            submitted_at=datetime.now(UTC),
        )
    )
    db.flush()
    return alert


def decide(db: Session, user: User, alert_id: int, accept: bool, note: str, remote_addr: str) -> Alert:
    """Accept or reject the last rectification; raises UnknownAlert, MoveRefused or NoteMissing."""
    check_move(db, user, alert_id, "accept" if accept else "reject")
    if not accept and not note.strip():
        raise NoteMissing
    alert = _move(db, user, alert_id, "accept" if accept else "reject", note, remote_addr)
    last = db.scalar(
        select(Rectification).where(Rectification.alert_id == alert.id).order_by(Rectification.id.desc()).limit(1)
    )
    assert last is not None, "an alert is submitted only with a rectification"
    last.accepted, last.decided_by_id, last.decided_at = accept, user.id, datetime.now(UTC)
    last.decision_note = note[:NOTE_CHARACTERS_MAX]
    db.flush()
    return alert


def _visible(db: Session, user: User, alert_id: int) -> Alert:
    alert = visible_alert(db, user, alert_id)
    if alert is None:
        raise UnknownAlert
    return alert


def _move(db: Session, user: User, alert_id: int, move: Move, note: str, remote_addr: str) -> Alert:
    alert = _visible(db, user, alert_id)
    old = cast(State, alert.state)
    alert.state = next_state(old, move, user.role)
    db.add(
        AlertMove(
            alert_id=alert.id,
            at=datetime.now(UTC),
            user_id=user.id,
            move=move,
            old_state=old,
            new_state=alert.state,
            note=note[:NOTE_CHARACTERS_MAX],
            remote_addr=remote_addr[:64],
        )
    )
    detail = {"from": old, "to": alert.state, "note": note[:NOTE_CHARACTERS_MAX]}
    note_audit(db, person(user, remote_addr), f"alert.{move}", ("alert", alert.id), detail, site_id=alert.site_id)
    queue_notices(db, alert, move)
    return alert
