"""Makes the content of a report from the record. The same record gives the same content, byte for byte.

Values are read from the series and proved against the signed batches before anybody signs (`server.reports.proof`):
a report never rests on a derived table alone.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.models import Box, Site
from server.reports import sensors
from server.reports.box_limits import read_told_limits
from server.reports.cards import cards_of, describe_sensor, limits_in_force
from server.reports.document import Asset, Content, Kind, Verified, digest_points, lanes_of
from server.reports.excursions import find_excursions, span_of_excursions
from server.reports.gaps import GapReasons
from server.reports.models import ReportEntry, SignedReport
from server.reports.series import Point, summarise
from server.reports.sources import BatchRef, digest_of, find_batches
from server.series.port import SeriesKey, SeriesStore, to_ms

QUANTITY = "temperature"
PERIOD_MAX = timedelta(days=31)
READINGS_MAX = 100_000  # of one report: 31 days of two readings a minute; beyond, choose a shorter period
ASSETS_MAX = 40


class ReportRefused(Exception):
    """``code`` is one of period, future, too_many_readings, no_data, no_ccp, too_many_assets, changed."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def check_period(start: datetime, end: datetime, now: datetime) -> None:
    """Raises ReportRefused unless the period is over and at most 31 days long."""
    if start.year < 1971 or not timedelta(0) < end - start <= PERIOD_MAX + timedelta(hours=1):
        raise ReportRefused("period", "the period must begin before it ends, and have at most 31 days")
    if end > now:
        raise ReportRefused("future", "the period must be over; choose an end before now")


def build_temperature(
    db: Session, series: SeriesStore, box: Box, sensor_id: str, start: datetime, end: datetime
) -> Content:
    """The content of a temperature report on one sensor; raises ReportRefused."""
    points = read_points(series, box.id, sensor_id, start, end)
    refs = read_refs(db, box.id, sensor_id, start, end)
    if not points:
        raise ReportRefused("no_data", "there is no reading of this sensor in the period")
    asset = _asset(db, box, sensor_id, points, start, end)
    return _content("temperature", box.site, start, end, [asset], refs)


def build_haccp(db: Session, series: SeriesStore, site: Site, start: datetime, end: datetime) -> Content:
    """The content of a HACCP log on all critical control points of a site; raises ReportRefused."""
    found = sensors.critical_points(db, site, end)
    if not found:
        raise ReportRefused("no_ccp", "no sensor of this site is marked as a critical control point on its card")
    if len(found) > ASSETS_MAX:
        raise ReportRefused("too_many_assets", f"a log takes at most {ASSETS_MAX} critical control points")
    assets: list[Asset] = []
    refs: list[BatchRef] = []
    readings = 0
    for box, sensor_id in found:
        points = read_points(series, box.id, sensor_id, start, end, READINGS_MAX - readings)
        readings += len(points)
        refs += read_refs(db, box.id, sensor_id, start, end)
        asset = _asset(db, box, sensor_id, points, start, end)
        verified = _verified(db, site, asset, start, end)
        assets.append(asset.model_copy(update={"points": [], "verified": verified}))
    return _content("haccp", site, start, end, assets, refs)


def _content(
    kind: Kind, site: Site, start: datetime, end: datetime, assets: list[Asset], refs: list[BatchRef]
) -> Content:
    return Content(
        kind=kind,
        site=site.name,
        zone=site.time_zone,
        start=start,
        end=end,
        assets=assets,
        lanes=lanes_of(refs),
        batches=len(set(refs)),
        batches_sha256=digest_of(refs),
    )


def _asset(db: Session, box: Box, sensor_id: str, points: list[Point], start: datetime, end: datetime) -> Asset:
    cards = cards_of(db, box.id, sensor_id)
    limits = limits_in_force(db, box, sensor_id, cards, start, end)
    return Asset(
        sensor=describe_sensor(db, box, sensor_id, cards, end),
        limits=limits,
        statistics=summarise(points, limits, to_ms(start), to_ms(end)),
        gaps=GapReasons(db, box, sensor_id, start, end).explain(points, to_ms(start), to_ms(end)),
        excursions=find_excursions(db, box.id, sensor_id, start, end),
        points=points,
        points_sha256=digest_points(points),
    )


def read_points(
    series: SeriesStore, box_id: str, sensor_id: str, start: datetime, end: datetime, points_max: int = READINGS_MAX
) -> list[Point]:
    """The series from *start* to before *end*; raises ReportRefused with too many, or SeriesUnavailable."""
    found = series.range(SeriesKey(box_id, sensor_id, QUANTITY), to_ms(start), to_ms(end) - 1)
    points = [(point.at_ms, point.value, point.quality) for point in islice(found, points_max + 1)]
    if len(points) > points_max:
        raise ReportRefused("too_many_readings", f"a report takes at most {READINGS_MAX} readings; shorten the period")
    return points


def read_refs(db: Session, box_id: str, sensor_id: str, start: datetime, end: datetime) -> list[BatchRef]:
    """The batches of readings and events of one sensor; raises ReportRefused with too many.

    Events count from the beginning to the end of every excursion that touches the period, and where the box told the
    limits that held in it.
    """
    readings = find_batches(db, box_id, sensor_id, "readings", to_ms(start), to_ms(end), READINGS_MAX)
    first, last = span_of_excursions(db, box_id, sensor_id, start, end)
    events = find_batches(db, box_id, sensor_id, "events", to_ms(first), to_ms(last) + 1, READINGS_MAX)
    for told in read_told_limits(db, box_id, sensor_id, start, end):
        at_ms = to_ms(told.at)
        events += find_batches(db, box_id, sensor_id, "events", at_ms, at_ms + 1, READINGS_MAX)
    if len(readings) + len(events) > READINGS_MAX:
        raise ReportRefused("too_many_readings", f"a report takes at most {READINGS_MAX} batches; shorten the period")
    return readings + events


def _verified(db: Session, site: Site, asset: Asset, start: datetime, end: datetime) -> list[Verified]:
    """The reviewed temperature reports on this sensor that lie in the period."""
    title = sensors.title_of(asset.sensor.box_id, asset.sensor.sensor_id)
    query = (
        select(SignedReport, ReportEntry)
        .join(ReportEntry, ReportEntry.report_id == SignedReport.id)
        .where(
            SignedReport.site_id == site.id, SignedReport.kind == "temperature", SignedReport.title == title,
            SignedReport.start < end, SignedReport.end > start, ReportEntry.move == "reviewed",
        )
        .order_by(ReportEntry.id)
    )  # fmt: skip
    return [
        Verified(number=report.number, start=report.start, end=report.end, by=entry.user.display_name, at=entry.at)
        for report, entry in db.execute(query)
    ]
