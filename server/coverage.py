"""How long a camera really watched, per day and kind: what makes "no violations" worth saying, and says when it is not.

Read from the `coverage` events of the record, one a quarter of an hour. What a box sent is taken as far as it is
sound: seconds below 0, above the report's own span or that are no numbers count for nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.models import Alert, Box, Site, StoredEvent, User
from server.scope import within

SITES_MAX = 200
REPORTS_MAX = 20_000  # of one site and day: 200 cameras
ROWS_MAX = 64  # of one report, as boxes send them
SPAN_S_MAX = 3600.0  # of one report; a box tells a quarter of an hour
ROUNDING_S = 1.0


@dataclass(frozen=True)
class CoverageRow:
    """Of one day, camera, kind and zone (empty: the whole picture). ``violations`` were opened on that day."""

    camera_id: str
    camera_name: str
    kind: str
    zone: str
    due_s: float
    judged_s: float
    violations: int

    @property
    def share_pct(self) -> float:
        """Judged of due in percent, rounded down: 100 is said only of all of it."""
        return math.floor(1000 * self.judged_s / self.due_s) / 10 if self.due_s else 0.0


@dataclass(frozen=True)
class _Counted:
    kind: str
    zone: str
    due_s: float
    judged_s: float


def find_sites(db: Session, viewer: User, name_part: str) -> list[Site]:
    """The first sites that this person may see, by name; those with *name_part* in it."""
    query = select(Site).where(within(viewer, Site.id), Site.name.contains(name_part, autoescape=True))
    return list(db.scalars(query.order_by(Site.name).limit(SITES_MAX)))


def find_site(db: Session, viewer: User, site_id: int) -> Site | None:
    return db.scalar(select(Site).where(Site.id == site_id, within(viewer, Site.id)))


def day_of(site: Site, day: date) -> tuple[datetime, datetime]:
    """From midnight to midnight of the site's own clock, in UTC."""
    zone = ZoneInfo(site.time_zone)
    start = datetime(day.year, day.month, day.day, tzinfo=zone)
    following = day + timedelta(days=1)
    return start.astimezone(UTC), datetime(following.year, following.month, following.day, tzinfo=zone).astimezone(UTC)


def coverage_of(db: Session, site: Site, day: date, *, box_id: str = "", camera_id: str = "") -> list[CoverageRow]:
    """The rows of *site* on *day*, by camera, kind and zone; of one camera where it is named.

    A report counts for the day in which it began. Whether the reader may see the site, the caller has asked.
    """
    start, end = day_of(site, day)
    sums: dict[tuple[str, str, str, str], list[float]] = {}
    names: dict[tuple[str, str], str] = {}
    for event, began in _reports(db, site, start, end, box_id, camera_id):
        camera = (event.box_id, event.source_id)
        names[camera] = str(event.data.get("camera_name") or event.source_id)[:80]
        span_s = (event.at - began).total_seconds()
        for row in _counted(event.data.get("rows"), span_s):
            total = sums.setdefault((*camera, row.kind, row.zone), [0.0, 0.0])
            total[0] += row.due_s
            total[1] += row.judged_s
    opened = _violations(db, site, start, end)
    return [
        CoverageRow(
            camera, names[box, camera], kind, zone, due_s, judged_s, opened[box, camera, kind, zone]
        )
        for (box, camera, kind, zone), (due_s, judged_s) in sorted(sums.items())
    ]  # fmt: skip


def of_alert(db: Session, alert: Alert) -> list[CoverageRow]:
    """The rows of the alert's own camera on the day in which it opened; none for a sensor's alert or the centre's."""
    if alert.box_id is None:
        return []
    day = alert.opened_at.astimezone(ZoneInfo(alert.site.time_zone)).date()
    return coverage_of(db, alert.site, day, box_id=alert.box_id, camera_id=alert.source_id)


def judged_sums(at: datetime, data: Mapping[str, object]) -> tuple[datetime | None, list[tuple[str, float, float]]]:
    """When the report that came at *at* began (None: it is not sound), and (kind, due, judged) in seconds."""
    began = began_at(at, data)
    if began is None:
        return None, []
    span_s = (at - began).total_seconds()
    return began, [(row.kind, row.due_s, row.judged_s) for row in _counted(data.get("rows"), span_s)]


def _reports(
    db: Session, site: Site, start: datetime, end: datetime, box_id: str, camera_id: str
) -> Iterator[tuple[StoredEvent, datetime]]:
    boxes = select(Box.id).where(Box.site_id == site.id)
    query = select(StoredEvent).where(
        StoredEvent.box_id.in_(boxes if not box_id else boxes.where(Box.id == box_id)),
        StoredEvent.type == "coverage",
        StoredEvent.at > start,
        StoredEvent.at <= end + timedelta(seconds=SPAN_S_MAX),
    )
    if camera_id:
        query = query.where(StoredEvent.source_id == camera_id)
    for event in db.scalars(query.order_by(StoredEvent.at).limit(REPORTS_MAX)):
        began = began_at(event.at, event.data)
        if began is not None and start <= began < end:
            yield event, began


def began_at(at: datetime, data: Mapping[str, object]) -> datetime | None:
    """When the report began; None for one that is no quarter of an hour or so before its end."""
    try:
        began = datetime.fromisoformat(str(data.get("started_at")))
    except ValueError:
        return None
    if began.tzinfo is None or not timedelta() <= at - began <= timedelta(seconds=SPAN_S_MAX):
        return None
    return began


def _counted(rows: object, span_s: float) -> Iterator[_Counted]:
    """The sound ones of *rows*, each ``kind zone due judged`` with - for the whole picture."""
    for row in rows[:ROWS_MAX] if isinstance(rows, list) else []:
        parts = str(row).split(" ")
        if len(parts) != 4:
            continue
        kind, zone, *numbers = parts
        try:
            due_s, judged_s = (float(part) for part in numbers)
        except ValueError:
            continue
        if 0 <= judged_s <= due_s + ROUNDING_S and due_s <= span_s + ROUNDING_S:
            yield _Counted(kind[:64], "" if zone == "-" else zone[:64], due_s, min(judged_s, due_s))


def _violations(db: Session, site: Site, start: datetime, end: datetime) -> Counter[tuple[str, str, str, str]]:
    query = select(Alert).where(Alert.site_id == site.id, Alert.opened_at >= start, Alert.opened_at < end)
    return Counter(
        (alert.box_id or "", alert.source_id, alert.kind, str(alert.data.get("zone") or ""))
        for alert in db.scalars(query)
    )
