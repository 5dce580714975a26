"""Which sensors and reports a person may see: those within their reach, if their role reads reports at all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, false, select
from sqlalchemy.orm import InstrumentedAttribute, Session, selectinload

from server.models import Box, SeriesPoint, Site, User
from server.policy import may
from server.reports.models import SensorCard, SignedReport
from server.scope import within

SITES_MAX = 200
SENSORS_MAX = 500
REPORTS_MAX = 100
QUANTITY = "temperature"


@dataclass(frozen=True)
class SensorChoice:
    """A sensor that may be reported on."""

    site: Site
    box: Box
    sensor_id: str
    card: SensorCard | None


def title_of(box_id: str, sensor_id: str) -> str:
    """The name under which a report on a sensor is filed."""
    return f"{box_id}/{sensor_id}"


def _readable(viewer: User, site_id: InstrumentedAttribute[int]) -> ColumnElement[bool]:
    return within(viewer, site_id) if may(viewer, "report.read") else false()


def visible_sites(db: Session, viewer: User, name_part: str = "") -> list[Site]:
    """The sites whose reports this person may see, by name; those with *name_part* in it."""
    query = select(Site).where(_readable(viewer, Site.id)).order_by(Site.name).limit(SITES_MAX)
    if name_part:
        query = query.where(Site.name.contains(name_part, autoescape=True))
    return list(db.scalars(query))


def visible_site(db: Session, viewer: User, site_id: int) -> Site | None:
    return db.scalar(select(Site).where(Site.id == site_id, _readable(viewer, Site.id)))


def visible_box(db: Session, viewer: User, box_id: str) -> Box | None:
    """The box, or None when this person may not see its reports."""
    return db.scalar(select(Box).where(Box.id == box_id, _readable(viewer, Box.site_id)))


def has_series(db: Session, box_id: str, sensor_id: str) -> bool:
    """Whether this sensor has ever sent a temperature."""
    query = select(SeriesPoint.observed_at_ms).where(
        SeriesPoint.box_id == box_id, SeriesPoint.sensor_id == sensor_id, SeriesPoint.quantity == QUANTITY
    )
    return db.scalar(query.limit(1)) is not None


def list_sensors(db: Session, viewer: User, site_part: str = "") -> list[SensorChoice]:
    """The first sensors with temperatures that this person may report on, by site (see `visible_sites`) and sensor."""
    found: list[SensorChoice] = []
    for site in visible_sites(db, viewer, site_part):
        for box in db.scalars(select(Box).where(Box.site_id == site.id).order_by(Box.name, Box.id)):
            newest = _newest_cards(db, box.id)
            found += [
                SensorChoice(site, box, sensor_id, newest.get(sensor_id)) for sensor_id in _sensor_ids(db, box.id)
            ]
            if len(found) >= SENSORS_MAX:
                return found[:SENSORS_MAX]
    return found


def _sensor_ids(db: Session, box_id: str) -> list[str]:
    """The box's sensors with temperatures; hops from one to the next in the key instead of reading every point."""
    found: list[str] = []
    last = ""
    while len(found) < SENSORS_MAX:
        query = select(SeriesPoint.sensor_id).where(SeriesPoint.box_id == box_id, SeriesPoint.sensor_id > last)
        following = db.scalar(query.order_by(SeriesPoint.sensor_id).limit(1))
        if following is None:
            break
        last = following
        if has_series(db, box_id, following):
            found.append(following)
    return found


def _newest_cards(db: Session, box_id: str) -> dict[str, SensorCard]:
    query = select(SensorCard).where(SensorCard.box_id == box_id).order_by(SensorCard.valid_from, SensorCard.id)
    return {card.sensor_id: card for card in db.scalars(query)}


def critical_points(db: Session, site: Site, end: datetime) -> list[tuple[Box, str]]:
    """The sensors whose card in force before *end* names a critical control point, by that name."""
    query = (
        select(SensorCard, Box)
        .join(Box, Box.id == SensorCard.box_id)
        .where(Box.site_id == site.id, SensorCard.valid_from < end)
        .order_by(SensorCard.valid_from, SensorCard.id)
    )
    newest = {(box.id, card.sensor_id): (card, box) for card, box in db.execute(query)}
    marked = [(card.ccp, card.sensor_id, box) for card, box in newest.values() if card.ccp]
    return [(box, sensor_id) for _, sensor_id, box in sorted(marked, key=lambda item: (item[0], item[2].id, item[1]))]


def _visible_reports(viewer: User) -> Select[SignedReport]:
    query = select(SignedReport).options(selectinload(SignedReport.entries))
    return query.where(_readable(viewer, SignedReport.site_id))


def list_reports(db: Session, viewer: User) -> list[SignedReport]:
    """The newest signed reports that this person may see."""
    return list(db.scalars(_visible_reports(viewer).order_by(SignedReport.id.desc()).limit(REPORTS_MAX)))


def visible_report(db: Session, viewer: User, number: str) -> SignedReport | None:
    return db.scalar(_visible_reports(viewer).where(SignedReport.number == number))
