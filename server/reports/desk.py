"""What the doors of the reports do, for pages and programs alike: look up, make, sign, hand out. Raises Problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.audit import note, person
from server.deps import AppState, look_up, transact
from server.models import Box, Site, User
from server.policy import may
from server.problems import Problem
from server.reports import builder, sensors
from server.reports.builder import ReportRefused
from server.reports.cards import Card, CardRefused, add_card
from server.reports.document import Content, Correction, Document, draft_of
from server.reports.files import Busy, Format, make_file, make_files
from server.reports.ledger import (
    ActRefused,
    DocumentLost,
    Move,
    keep_files,
    load_document,
    make_correction,
    next_edition,
    read_file,
    store_edition,
)
from server.reports.models import ReportFile, SignedReport
from server.reports.proof import prove_content
from server.series.port import SeriesStore
from server.series.stores import open_store

Result = TypeVar("Result")
SAYS = {
    "not_allowed": "this role may not do this",
    "wrong_state": "this is not possible in the report's present state",
    "same_person": "whoever signed or corrected it cannot review it",
    "already_signed": "a report with the same content is signed already",
    "changed": "somebody was quicker; look again",
    "reason_missing": "say why",
    "corrected_text": "give the correction, at most 500 characters",
    "corrected_value": "a reading is corrected by a temperature in °C",
    "unknown_target": "there is no such statement in the report",
    "card_reason": "say why the card is changed",
}
STATUS = {"not_allowed": 403, "wrong_state": 409, "already_signed": 409, "changed": 409, "same_person": 403}


@dataclass(frozen=True)
class Wanted:
    """What somebody wants a report on: one sensor of a box, or (without one) all control points of a site."""

    start: datetime
    end: datetime
    box_id: str = ""
    sensor_id: str = ""
    site_id: int = 0


def unknown() -> Problem:
    return Problem(404, "report_unknown", "there is no such report for you")


def guard(work: Callable[[], Result]) -> Result:
    """Run *work*; its refusals become problems with the code ``report_…``."""
    try:
        return work()
    except ReportRefused as error:
        raise Problem(422, f"report_{error.code}", error.detail) from error
    except (ActRefused, CardRefused) as error:
        raise Problem(STATUS.get(error.code, 422), f"report_{error.code}", SAYS[error.code]) from error
    except DocumentLost as error:
        raise Problem(500, "report_lost", f"{error}; run brightline-server verify") from error
    except Busy as error:
        raise Problem(503, "report_busy", "other reports are being made; try again in a minute") from error


def make_draft(state: AppState, user: User, wanted: Wanted) -> Document:
    """A report on the record as it stands, signed by nobody; raises Problem."""
    return guard(lambda: draft_of(look_up(state, lambda db: _build(state, db, user, wanted)[1])))


def series_in(state: AppState, db: Session) -> SeriesStore:
    """The series as this transaction sees it, where it lies in the record; else as it is now."""
    if state.settings.series.in_record:
        return open_store(state.settings.series, state.engine, reading=db.connection())
    return state.series


def _build(state: AppState, db: Session, user: User, wanted: Wanted) -> tuple[Site, Content]:
    builder.check_period(wanted.start, wanted.end, datetime.now(UTC))
    if wanted.sensor_id:
        box = _box(state, db, user, wanted.box_id, wanted.sensor_id)
        return box.site, builder.build_temperature(
            db, series_in(state, db), box, wanted.sensor_id, wanted.start, wanted.end
        )
    site = sensors.visible_site(db, user, wanted.site_id)
    if site is None:
        raise unknown()
    return site, builder.build_haccp(db, series_in(state, db), site, wanted.start, wanted.end)


def _box(state: AppState, db: Session, user: User, box_id: str, sensor_id: str) -> Box:
    box = sensors.visible_box(db, user, box_id)
    if box is None or sensor_id not in sensors.sensor_ids(series_in(state, db), box_id):
        raise Problem(404, "report_unknown", "there is no such sensor for you")
    return box


def sign(state: AppState, user: User, wanted: Wanted, seen_sha256: str, note: str, remote: str) -> Document:
    """Freeze a report and sign it, after its batches have proved it; raises Problem.

    *seen_sha256* is the digest of the content that the person had before them: what has changed since is not signed.
    """

    def work() -> Document:
        site, content, wrong = look_up(state, build_and_prove)
        draft = draft_of(content)
        if draft.content_sha256 != seen_sha256:
            raise ActRefused("changed")
        if wrong:
            raise Problem(409, "report_unproved", "the readings are not those of the batches; run verify")
        document = next_edition(draft, user, "sign", note)
        return _store(state, site, user, document, remote)

    def build_and_prove(db: Session) -> tuple[Site, Content, list[str]]:
        site, content = _build(state, db, user, wanted)
        seen = draft_of(content).content_sha256 == seen_sha256
        return site, content, prove_content(db, content) if seen else []

    if not may(user, "report.sign"):
        raise Problem(403, "report_not_allowed", SAYS["not_allowed"])
    return guard(work)


def _store(state: AppState, site: Site, user: User, document: Document, remote: str) -> Document:
    """Make the files outside the transaction that writes, then put them on record."""
    files = keep_files(state.blobs, make_files(document, state.settings.font))
    transact(state, lambda db: store_edition(db, site, user, document, files, remote))
    return document


def open_report(state: AppState, user: User, number: str) -> tuple[SignedReport, Document, list[ReportFile]]:
    """A signed report: its row, its newest edition and all its files; raises Problem."""

    def find(db: Session) -> tuple[SignedReport, Document, list[ReportFile]]:
        report = sensors.visible_report(db, user, number)
        if report is None:
            raise unknown()
        query = select(ReportFile).where(ReportFile.report_id == report.id)
        files = list(db.scalars(query.order_by(ReportFile.edition.desc(), ReportFile.id)))
        return report, load_document(db, state.blobs, report), files

    return guard(lambda: look_up(state, find))


def view_report(
    state: AppState, user: User, number: str, remote: str
) -> tuple[SignedReport, Document, list[ReportFile]]:
    """`open_report` for somebody who looks at it; the view goes on record."""
    report, document, files = open_report(state, user, number)
    transact(
        state, lambda db: note(db, person(user, remote), "report.view", ("report", number), site_id=report.site_id)
    )
    return report, document, files


def act(
    state: AppState, user: User, number: str, move: Move, note: str, remote: str, correction: Fix | None = None
) -> Document:
    """Review or correct a signed report; raises Problem."""

    def work() -> Document:
        report, document, _ = open_report(state, user, number)
        made: Correction | None = None
        if correction is not None:
            made = make_correction(
                document.content, correction.target, correction.at, correction.corrected, correction.reason
            )
        return _store(state, report.site, user, next_edition(document, user, move, note, made), remote)

    return guard(work)


@dataclass(frozen=True)
class Fix:
    """A correction as somebody asks for it; ``at`` only for one reading (target ``reading``)."""

    target: str
    corrected: str
    reason: str
    at: datetime | None = None


def hand_out(state: AppState, user: User, number: str, edition: int, format_: Format, language: str) -> bytes:
    """A file of a signed report, byte for byte as it was signed; raises Problem."""

    def find(db: Session) -> bytes:
        report = sensors.visible_report(db, user, number)
        if report is None:
            raise unknown()
        file = db.scalar(
            select(ReportFile).where(
                ReportFile.report_id == report.id, ReportFile.edition == edition, ReportFile.format == format_,
                ReportFile.language == (language if format_ == "pdf" else ""),
            )
        )  # fmt: skip
        if file is None:
            raise unknown()
        return read_file(state.blobs, report, file)

    return guard(lambda: look_up(state, find))


def draft_file(state: AppState, document: Document, format_: Format, language: str) -> bytes:
    """A file of a draft; raises Problem."""
    return guard(lambda: make_file(document, format_, language, state.settings.font))


def put_card(state: AppState, user: User, box_id: str, sensor_id: str, card: Card, remote: str) -> None:
    """Add a sensor card; its day begins at midnight where the site is. Raises Problem."""

    def work(db: Session) -> None:
        box = _box(state, db, user, box_id, sensor_id)
        add_card(db, user, box_id, sensor_id, card, midnight(card.valid_from, box.site.time_zone))
        sensor = ("sensor", sensors.title_of(box_id, sensor_id))
        note(db, person(user, remote), "sensor.card", sensor, {"reason": card.reason}, site_id=box.site_id)

    guard(lambda: transact(state, work))


def midnight(day: date, zone: str) -> datetime:
    """The beginning of a local day, in UTC."""
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


def days(first: date, last: date, zone: str, now: datetime) -> tuple[datetime, datetime]:
    """From the beginning of *first* to the end of *last*, local days; today ends with the last whole minute."""
    until = min(midnight(last + timedelta(days=1), zone), now.replace(second=0, microsecond=0))
    return midnight(first, zone), until
