"""What people do to alerts. Every function makes one move and the row that tells of it, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import cast

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from server.blob_port import BlobStore
from server.evidence_access import may_open
from server.life_cycle.likeness import find_alike, remember, signed
from server.life_cycle.proof import DuplicatePhoto, Proof, ProvedPhoto
from server.life_cycle.recheck import ask_recheck
from server.life_cycle.record import (
    NOTE_CHARACTERS_MAX,
    is_unconfirmed,
    plan_next_step,
    record_move,
    set_deadlines,
    set_review_deadline,
)
from server.life_cycle.rules import Rules, rules_in_force
from server.life_cycle.state import NEEDS_REASON, Move, MoveRefused, State, next_state
from server.models import Alert, AlertMove, Evidence, Rectification, User
from server.models_life_cycle import Dismissal, Recheck, RectificationPhoto
from server.queries import visible_alert

PUSH_AGAIN_AFTER = timedelta(minutes=10)


class UnknownAlert(Exception):
    """There is no such alert for this person."""


class UnknownPicture(Exception):
    """The picture is none of this alert, or this person may not see it."""


class NoteMissing(Exception):
    """A rejection, a dismissal and a reopening need a reason."""


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Hand:
    """Who acts, from where, under which rules and by which clock."""

    user: User
    remote_addr: str
    rules: Rules = field(default_factory=rules_in_force)
    clock: Callable[[], datetime] = utc_now


def check_move(db: Session, hand: Hand, alert_id: int, move: Move) -> Alert:
    """The alert, if this person may make the move now; raises UnknownAlert or MoveRefused."""
    alert = visible_alert(db, hand.user, alert_id)
    if alert is None:
        raise UnknownAlert
    next_state(cast(State, alert.state), move, hand.user.role, unconfirmed=is_unconfirmed(alert))
    return alert


def make_move(db: Session, hand: Hand, alert_id: int, move: Move, note: str = "", picture: str = "") -> Alert:
    """Every move but `submit_rectification`; raises UnknownAlert, MoveRefused, NoteMissing or UnknownPicture.

    *picture* (push only): the digest of the frame that the head of the site shall look at.
    """
    alert = check_move(db, hand, alert_id, move)
    if move in NEEDS_REASON and not note.strip():
        raise NoteMissing
    now = hand.clock()
    if move == "push":
        _check_not_pushed_lately(db, hand.user, alert, now)
    if move == "push" and picture:
        _check_picture(db, hand.user, alert, picture)
        note = f"{picture} {note}".strip()
    if move in ("reject", "reopen"):  # there is work again, with time for it; the notice tells until when
        set_deadlines(db, alert, hand.rules, now)
    record_move(db, alert, move, hand.user, note, now, hand.remote_addr)
    if move in ("accept", "reject"):
        _decide(db, alert, hand.user, move == "accept", note, now)
    elif move == "dismiss":
        db.add(Dismissal(alert_id=alert.id, model_sha256=_model_of(alert), user_id=hand.user.id, at=now))
    elif move == "reopen":
        standing = update(Dismissal).where(Dismissal.alert_id == alert.id, Dismissal.withdrawn_at.is_(None))
        db.execute(standing.values(withdrawn_at=now))
    plan_next_step(db, alert, hand.rules)
    db.flush()
    return alert


def _check_not_pushed_lately(db: Session, user: User, alert: Alert, now: datetime) -> None:
    """Raises MoveRefused: a head of a site who is called again and again mutes the channel for what is urgent."""
    mine = (AlertMove.alert_id == alert.id, AlertMove.user_id == user.id, AlertMove.move == "push")
    if db.scalar(select(AlertMove.id).where(*mine, AlertMove.at > now - PUSH_AGAIN_AFTER).limit(1)) is not None:
        raise MoveRefused("pushed_lately")


def check_proof(db: Session, hand: Hand, alert_id: int, proof: Proof) -> None:
    """Whether `submit_rectification` would take it now; raises UnknownAlert, MoveRefused or DuplicatePhoto."""
    check_move(db, hand, alert_id, "submit")
    _refuse_duplicates(db, hand, proof)


def keep_photos(blobs: BlobStore, proof: Proof) -> list[str]:
    """Keep all pictures before the transaction that names them: the store may be far, and writers wait.

    Gives their digests.
    """
    return [blobs.put(data) for proved in proof.photos for data in (proved.photo.original, proved.photo.shown)]


def submit_rectification(db: Session, hand: Hand, alert_id: int, proof: Proof) -> tuple[Alert, Recheck | None]:
    """Claim that it is repaired, with proof whose photos are kept, and ask for a second look.

    Raises UnknownAlert, MoveRefused or DuplicatePhoto.
    """
    alert = check_move(db, hand, alert_id, "submit")
    now = hand.clock()
    claim = proof.claim
    record_move(db, alert, "submit", hand.user, claim.matter, now, hand.remote_addr)
    _refuse_duplicates(db, hand, proof)  # the audit log's lock is held by now: nobody else submits meanwhile
    row = Rectification(
        alert_id=alert.id,
        note=claim.matter,
        person=claim.person,
        place=claim.place,
        scene=claim.scene,
        submitted_by_id=hand.user.id,
        submitted_at=now,
    )
    db.add(row)
    db.flush()
    for proved in proof.photos:
        _add_photo(db, row.id, proved)
    asked = ask_recheck(db, alert, row.id, hand.rules, now)
    set_review_deadline(db, alert, hand.rules, now)
    plan_next_step(db, alert, hand.rules)
    db.flush()
    return alert, asked


def _add_photo(db: Session, rectification_id: int, proved: ProvedPhoto) -> None:
    photo = RectificationPhoto(
        rectification_id=rectification_id,
        original_sha256=sha256(proved.photo.original).hexdigest(),
        photo_sha256=sha256(proved.photo.shown).hexdigest(),
        likeness=signed(proved.photo.likeness),
        taken_at=proved.taken_at,
        taken_from=proved.taken_from,
        latitude=proved.photo.place[0] if proved.photo.place else None,
        longitude=proved.photo.place[1] if proved.photo.place else None,
    )
    db.add(photo)
    db.flush()
    remember(db, photo, proved.photo.likeness)


def _refuse_duplicates(db: Session, hand: Hand, proof: Proof) -> None:
    """Raises DuplicatePhoto; it names the alert where the photo was used only to whoever may see it."""
    for proved in proof.photos:
        digest = sha256(proved.photo.original).hexdigest()
        found = find_alike(db, proved.photo.likeness, digest, hand.rules.file.photos.duplicate_distance_max)
        if found is not None:
            raise DuplicatePhoto(found if visible_alert(db, hand.user, found) is not None else None)


def _decide(db: Session, alert: Alert, user: User, accept: bool, note: str, now: datetime) -> None:
    last = db.scalar(
        select(Rectification).where(Rectification.alert_id == alert.id).order_by(Rectification.id.desc()).limit(1)
    )
    assert last is not None, "an alert is submitted only with a rectification"
    last.accepted, last.decided_by_id, last.decided_at = accept, user.id, now
    last.decision_note = note[:NOTE_CHARACTERS_MAX]


def _check_picture(db: Session, user: User, alert: Alert, picture: str) -> None:
    query = select(Evidence).where(
        Evidence.sha256 == picture, Evidence.incident_id == alert.incident_id, Evidence.box_id == alert.box_id
    )
    if not any(may_open(user, found) for found in db.scalars(query)):
        raise UnknownPicture


def _model_of(alert: Alert) -> str:
    """The digest of the model that raised the alert, as its box said; empty for none."""
    said = alert.data.get("model_sha256")
    return said[:64] if isinstance(said, str) else ""
