"""What pages and API share: a move or a rectification from a request; every refusal is a problem for its sender."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from fastapi import Request
from sqlalchemy.orm import Session
from starlette.datastructures import FormData, UploadFile

from server import service
from server.conditional import check_match
from server.deps import AppState, in_thread, look_up, transact
from server.life_cycle.proof import FIELDS, REMEDIES, Claim, DuplicatePhoto, Fault, ProofRefused, prove
from server.life_cycle.recheck import answer_recheck, look_at_series
from server.life_cycle.record import NOTE_CHARACTERS_MAX
from server.life_cycle.state import Move, MoveRefused
from server.live import Change
from server.models import Alert
from server.models_life_cycle import Recheck
from server.photo import PHOTO_BYTES_MAX, PhotoRefused, read_photo
from server.problems import Problem
from server.queries import visible_alert
from server.retention.purged import recall_blobs
from server.series.port import SeriesUnavailable
from server.service import Hand

FILES_MAX = 6


class ProofProblem(Problem):
    """A proof that was refused: all its faults, and the alert where the photo was used before if that may be told."""

    def __init__(self, faults: Sequence[Fault] = (), earlier_alert_id: int | None = None) -> None:
        if faults:
            super().__init__(422, faults[0], "; ".join(REMEDIES[fault] for fault in faults))
        else:
            where = f" for alert {earlier_alert_id}" if earlier_alert_id is not None else ""
            super().__init__(422, "photo_duplicate", f"this photo was used before{where}; take a new one")
        self.faults = tuple(faults)
        self.earlier_alert_id = earlier_alert_id


@dataclass(frozen=True)
class RectificationForm:
    """What a form of a rectification holds: photos that are not read yet, and its fields."""

    photos: tuple[UploadFile, ...]
    claim: Claim
    csrf: str


@asynccontextmanager
async def rectification_form(request: Request) -> AsyncIterator[RectificationForm]:
    """The parts of a form; raises Problem. Read after the log-in: strangers upload nothing."""
    async with request.form(max_files=FILES_MAX, max_fields=8, max_part_size=NOTE_CHARACTERS_MAX * 4) as form:
        photos = tuple(item for item in form.getlist("photo") if isinstance(item, UploadFile))
        if not photos:
            raise Problem(422, "photo_missing", "send a form (multipart/form-data) with files named photo")
        fields = {name: _field(form, name) for name in FIELDS}
        for name, characters_max in FIELDS.items():
            if len(fields[name]) > characters_max:
                raise Problem(422, "note_too_long", f"{name} has at most {characters_max} characters")
        yield RectificationForm(photos, Claim(**fields), str(form.get("csrf", "")))


def _field(form: FormData, name: str) -> str:
    return str(form.get(name, "")).strip()


def act(
    state: AppState, hand: Hand, alert_id: int, move: Move, note: str, picture: str = "", if_match: str | None = None
) -> Alert:
    """One of the moves without a photo, if the alert is still what *if_match* says; raises Problem."""

    def work(db: Session) -> Alert:
        _check_unchanged(db, hand, alert_id, if_match)
        return service.make_move(db, hand, alert_id, move, note, picture)

    return guarded(state, lambda: transact(state, work))


def _check_unchanged(db: Session, hand: Hand, alert_id: int, if_match: str | None) -> None:
    """Raises Problem 412 if the alert has changed since the caller read it, in the transaction that changes it."""
    found = visible_alert(db, hand.user, alert_id) if if_match is not None else None
    if found is not None:
        check_match(if_match, found.version)


async def rectify(
    state: AppState, hand: Hand, alert_id: int, form: RectificationForm, if_match: str | None = None
) -> Alert:
    """Submit a rectification; raises Problem. Photos are judged before the transaction that writes."""
    rules = hand.rules.file.photos
    if len(form.photos) > rules.count_max:
        raise Problem(422, "photos_too_many", f"send at most {rules.count_max} photos")
    uploads = [await photo.read(PHOTO_BYTES_MAX + 1) for photo in form.photos]

    def submit() -> Alert:
        seen = look_up(state, lambda db: service.check_move(db, hand, alert_id, "submit"))
        proof = prove(
            [read_photo(data) for data in uploads],
            form.claim,
            seen.opened_at,
            ZoneInfo(seen.site.time_zone),
            hand.clock(),
            timedelta(minutes=rules.clock_skew_min),
        )
        look_up(state, lambda db: service.check_proof(db, hand, alert_id, proof))
        kept = service.keep_photos(state.blobs, proof)

        def store(db: Session) -> tuple[Alert, Recheck | None]:
            _check_unchanged(db, hand, alert_id, if_match)
            done = service.submit_rectification(db, hand, alert_id, proof)
            if recall_blobs(db, kept, hand.clock()):
                service.keep_photos(state.blobs, proof)  # the retention may have deleted one since
            return done

        alert, asked = transact(state, store)
        if asked is not None and asked.way == "series":
            _look_now(state, hand, alert, asked)
        return alert

    return await in_thread(lambda: guarded(state, submit))


def _look_now(state: AppState, hand: Hand, alert: Alert, asked: Recheck) -> None:
    """A temperature that is well already is told at once; else the clockwork looks when the time is over."""
    try:
        result, reason = look_at_series(state.series, alert, hand.rules, hand.clock())
    except SeriesUnavailable:
        return
    if result == "compliant":
        transact(state, lambda db: answer_recheck(db, asked.id, result, hand.clock(), reason=reason))


def guarded(state: AppState, act: Callable[[], Alert]) -> Alert:
    """Run a move and tell the pages; its refusals become problems."""
    try:
        changed = act()
    except service.UnknownAlert as error:
        raise Problem(404, "unknown_alert", "there is no such alert for you") from error
    except MoveRefused as error:
        raise Problem(403 if error.code == "not_allowed" else 409, error.code, "this move is not possible") from error
    except service.NoteMissing as error:
        raise Problem(422, "note_missing", "say why") from error
    except service.UnknownPicture as error:
        raise Problem(422, "unknown_picture", "the picture is none of this alert that you may see") from error
    except ProofRefused as error:
        raise ProofProblem(error.faults) from error
    except DuplicatePhoto as error:
        raise ProofProblem((), error.alert_id) from error
    except PhotoRefused as error:
        status = {"photo_too_large": 413, "busy": 503}.get(error.code, 422)
        hint = "try again in a moment" if error.code == "busy" else "send JPEG, PNG or WebP photos of at most 10 MiB"
        raise Problem(status, error.code, hint) from error
    state.broadcaster.publish([Change.of(changed)])
    return changed
