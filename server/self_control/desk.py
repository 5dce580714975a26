"""What the doors of self-control do, for pages and programs alike. Every function may raise Problem.

The boxes' series is read before the transaction that writes begins; nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from server.deps import AppState, look_up, transact
from server.models import Box, Site, User
from server.models_self_control import RetainedSample, SelfControlRecord
from server.reports.sensors import sensor_ids
from server.scope import within
from server.self_control import ledger, samples
from server.self_control.catalogue import Kind
from server.self_control.document import Form, Record
from server.self_control.missing import Owed, owed
from server.self_control.refusals import Refused, unknown
from server.self_control.samples import Judged, NewSample
from server.self_control.sightings import look

Result = TypeVar("Result")
SITES_MAX = 200
SAMPLE_DAYS = 7


@dataclass(frozen=True)
class Opened:
    """A record's row and its document as they stand."""

    row: SelfControlRecord
    document: Record


@dataclass(frozen=True)
class Kept:
    """A sample and what is wrong with it."""

    sample: RetainedSample
    judged: Judged


@dataclass(frozen=True)
class Thermometer:
    """A sensor that a refrigerator may have."""

    box_id: str
    sensor_id: str


def sites_of(state: AppState, user: User, name_part: str = "") -> list[Site]:
    """The first sites that this person may see, by name; those with *name_part* in it."""
    query = select(Site).where(within(user, Site.id), Site.name.contains(name_part, autoescape=True))
    return look_up(state, lambda db: list(db.scalars(query.order_by(Site.name).limit(SITES_MAX))))


def site_of(state: AppState, user: User, site_id: int) -> Site:
    """A site that this person may see; raises Refused."""
    found = look_up(state, lambda db: db.scalar(select(Site).where(Site.id == site_id, within(user, Site.id))))
    if found is None:
        raise unknown()
    return found


def list_owed(state: AppState, user: User, site_id: int | None = None) -> list[Owed]:
    return look_up(state, lambda db: owed(db, user, datetime.now(UTC), site_id))


def open_record(state: AppState, user: User, record_id: int) -> Opened:
    """A record with its document; raises Refused."""

    def find(db: Session) -> Opened:
        row = _row(db, user, record_id)
        return Opened(row, ledger.load(db, row))

    return look_up(state, find)


def _row(db: Session, user: User, record_id: int) -> SelfControlRecord:
    row = ledger.visible_record(db, user, record_id)
    if row is None:
        raise unknown()
    return row


def start(state: AppState, user: User, site_id: int, kind: Kind, day: date, remote: str) -> int:
    """Open the draft of a day's period, or find the record that is there; its number. Raises Problem."""
    site, now = site_of(state, user, site_id), datetime.now(UTC)
    period = ledger.wanted_period(kind, day, site.time_zone, now)
    existing = look_up(state, lambda db: ledger.find_record(db, site, period))
    if existing is not None:
        return existing.id
    seen = look(lambda work: look_up(state, work), state.series, site, period, now)

    def work(db: Session) -> int:
        return ledger.open_draft(db, user, db.get_one(Site, site.id), period, seen, now, remote).id

    return transact(state, work)


def save(state: AppState, user: User, record_id: int, version: int, form: Form, remote: str, *, refresh: bool) -> None:
    """Write the form of a draft; with *refresh*, after looking again at what the boxes saw. Raises Problem."""
    row = open_record(state, user, record_id).row
    seen = None
    if refresh and row.edition == 0:
        now = datetime.now(UTC)
        seen = look(lambda work: look_up(state, work), state.series, row.site, ledger.period_in(row), now)

    def work(db: Session) -> None:
        ledger.change_draft(db, user, _row(db, user, record_id), version, form, seen, remote)

    _once(state, work)


def sign(state: AppState, user: User, record_id: int, seen_sha256: str, note: str, remote: str) -> Record:
    """Sign what the person had before them; raises Problem."""
    now = datetime.now(UTC)
    return _once(state, lambda db: ledger.sign(db, user, _row(db, user, record_id), seen_sha256, note, now, remote))


def correct(
    state: AppState, user: User, record_id: int, target: str, corrected: str, reason: str, remote: str
) -> Record:
    """Correct one statement of a signed record; raises Problem."""
    now = datetime.now(UTC)

    def work(db: Session) -> Record:
        return ledger.correct(db, user, _row(db, user, record_id), target, corrected, reason, now, remote)

    return _once(state, work)


def _once(state: AppState, work: Callable[[Session], Result]) -> Result:
    """Run *work*; of two at once one is told to look again."""
    try:
        return transact(state, work)
    except StaleDataError as error:
        raise Refused("changed", "somebody was quicker; look again", status=409) from error


def list_kept(state: AppState, user: User, site_id: int, days: int = SAMPLE_DAYS) -> list[Kept]:
    """The samples of the last days, judged by their refrigerators' series; raises Problem."""
    site, now = site_of(state, user, site_id), datetime.now(UTC)
    rows = look_up(state, lambda db: samples.list_samples(db, user, site.id, now - timedelta(days=days)))
    return [Kept(row, samples.warnings_of(row, state.series, now)) for row in rows]


def thermometers(state: AppState, site: Site) -> list[Thermometer]:
    """The sensors of a site that have ever sent a temperature; raises SeriesUnavailable."""
    boxes = look_up(state, lambda db: list(db.scalars(select(Box.id).where(Box.site_id == site.id).order_by(Box.id))))
    return [Thermometer(box_id, sensor_id) for box_id in boxes for sensor_id in sensor_ids(state.series, box_id)]


def keep_sample(state: AppState, user: User, site_id: int, new: NewSample, remote: str) -> int:
    """Enter a sample; its number. Raises Problem."""
    site, now = site_of(state, user, site_id), datetime.now(UTC)
    return transact(state, lambda db: samples.add_sample(db, user, site, new, now, remote).id)


def end_sample(
    state: AppState, user: User, sample_id: int, how: Literal["removed", "void"], reason: str, remote: str
) -> None:
    """Say that a sample was taken out or entered by mistake; raises Problem."""

    def work(db: Session) -> None:
        samples.end_sample(db, user, _sample(db, user, sample_id), how, reason, datetime.now(UTC), remote)

    transact(state, work)


def sample_of(state: AppState, user: User, sample_id: int) -> RetainedSample:
    """A sample that this person may see; raises Refused."""
    return look_up(state, lambda db: _sample(db, user, sample_id))


def _sample(db: Session, user: User, sample_id: int) -> RetainedSample:
    sample = samples.visible_sample(db, user, sample_id)
    if sample is None:
        raise unknown()
    return sample
