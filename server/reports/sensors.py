"""Which sensors and reports a person may see: those within their reach, if their role reads reports at all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, false, select
from sqlalchemy.orm import InstrumentedAttribute, Session, selectinload

from server.models import Box, Site, User
from server.policy import may
from server.reports.models import SensorCard, SignedReport
from server.scope import within
from server.series.port import SeriesStore

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


def list_sensors(db: Session, series: SeriesStore, viewer: User, site_part: str = "") -> list[SensorChoice]:
    """The first sensors with temperatures that this person may report on, by site (see `visible_sites`) and sensor."""
    found: list[SensorChoice] = []
    for site in visible_sites(db, viewer, site_part):
        for box in db.scalars(select(Box).where(Box.site_id == site.id).order_by(Box.name, Box.id)):
            newest = _newest_cards(db, box.id)
            found += [
                SensorChoice(site, box, sensor_id, newest.get(sensor_id)) for sensor_id in sensor_ids(series, box.id)
            ]
            if len(found) >= SENSORS_MAX:
                return found[:SENSORS_MAX]
    return found


def sensor_ids(series: SeriesStore, box_id: str) -> list[str]:
    """The box's sensors that have ever sent a temperature; raises SeriesUnavailable."""
    return [key.sensor_id for key in series.keys(box_id) if key.quantity == QUANTITY]


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
