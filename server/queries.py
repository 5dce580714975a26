"""Reads. Every one is cut to what the person may see: where by `server.scope`, what by `server.policy`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, floor

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session, aliased, joinedload

from server.evidence_access import may_open
from server.life_cycle.state import STATES, WITH_SITE, State
from server.models import Alert, AlertMove, Box, Evidence, Rectification, Region, Site, StoredBatch, User
from server.models_life_cycle import Card, Recheck, RectificationPhoto
from server.retention.holds import holds_on
from server.retention.models import LegalHold
from server.scope import WHOLE, reach_of, within
from server.series.port import SeriesKey, SeriesStore

LIST_MAX = 200
COUNT_MAX = 1000
FEW_MAX = 5000  # alerts that are read and sorted without more ado
FEW_SITES_MAX = 200


@dataclass(frozen=True)
class AlertDetail:
    """Everything that the page of one alert shows."""

    alert: Alert
    box: Box | None
    evidence: list[Evidence]
    rectifications: list[Rectification]
    moves: list[AlertMove]
    photos: dict[int, list[RectificationPhoto]]  # by rectification
    rechecks: dict[int, Recheck]  # by rectification
    cards: list[Card]
    holds: list[LegalHold]  # in force


@dataclass(frozen=True)
class Narrowing:
    """What a list is narrowed to beside its state; nothing when all is left out. ``overdue_at``: overdue by then."""

    tier: int | None = None
    kind: str | None = None
    site_part: str = ""
    region_id: int | None = None
    overdue_at: datetime | None = None

    def conditions(self, alert: type[Alert]) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        if self.tier is not None:
            found.append(alert.tier == self.tier)
        if self.kind:
            found.append(alert.kind == self.kind)
        if self.overdue_at is not None:
            found += [alert.state.in_(sorted(WITH_SITE)), alert.deadline_at < self.overdue_at]
        if self.names_sites:
            found.append(alert.site_id.in_(self.sites()))
        return found

    @property
    def names_sites(self) -> bool:
        return bool(self.site_part) or self.region_id is not None

    def sites(self) -> Select[int]:
        sites = select(Site.id).where(Site.name.contains(self.site_part, autoescape=True))
        if self.region_id is None:
            return sites
        below = select(Region.id).where(Region.path.contains(f"/{self.region_id}/"))
        return sites.where(Site.region_id.in_(below))


EVERYTHING = Narrowing()


@dataclass(frozen=True)
class Counts:
    """Alerts per state, none for a state without; of the states in ``beyond`` there are more than COUNT_MAX."""

    of: dict[str, int]
    beyond: frozenset[str]

    def shown(self, state: str) -> str:
        """As a page says it: ``30``, or ``1000+``."""
        return f"{self.of.get(state, 0)}{'+' if state in self.beyond else ''}"

    @property
    def total(self) -> str:
        """All of them, as a page says it."""
        return f"{sum(self.of.values())}{'+' if self.beyond else ''}"


def _visible(viewer: User) -> Select[Alert]:
    return select(Alert).options(joinedload(Alert.site)).where(within(viewer, Alert.site_id))


def visible_alert(db: Session, viewer: User, alert_id: int) -> Alert | None:
    return db.scalar(_visible(viewer).where(Alert.id == alert_id))


def list_alerts(
    db: Session,
    viewer: User,
    state: str | None = None,
    limit: int = 50,
    before: int | None = None,
    narrowing: Narrowing = EVERYTHING,
) -> list[Alert]:
    """Newest first; *before* is the id to go on from."""
    alert = _few(db, viewer, narrowing) or Alert
    query = select(alert).options(joinedload(alert.site)).where(*_asked(alert, viewer, narrowing))
    if state is not None:
        query = query.where(alert.state == state)
    if before is not None:
        query = query.where(alert.id < before)
    return list(db.scalars(query.order_by(alert.id.desc()).limit(min(limit, LIST_MAX + 1))))


def _asked(alert: type[Alert], viewer: User, narrowing: Narrowing) -> list[ColumnElement[bool]]:
    return [within(viewer, alert.site_id), *narrowing.conditions(alert)]


def _few(db: Session, viewer: User, narrowing: Narrowing) -> type[Alert] | None:
    """The alerts of the sites that are asked for, if these are some of all and have few; None otherwise.

    The database cannot know that they are few, and would look for them among all alerts, the newest first. The limit
    keeps it from that.
    """
    path = reach_of(viewer).region_path
    if path == WHOLE and not narrowing.names_sites:
        return None
    if path is None and narrowing.tier is None and not narrowing.kind:
        return None  # the newest of one site stand in an index
    asked = select(Site.id).where(within(viewer, Site.id))
    if narrowing.names_sites:
        asked = asked.where(Site.id.in_(narrowing.sites()))
    sites = db.scalars(asked.limit(FEW_SITES_MAX + 1)).all()
    if len(sites) > FEW_SITES_MAX:
        return None
    theirs = select(Alert).where(Alert.site_id.in_(sites)).limit(FEW_MAX + 1)
    count = select(func.count()).select_from(theirs.with_only_columns(Alert.id).subquery())
    return aliased(Alert, theirs.cte("few")) if (db.scalar(count) or 0) <= FEW_MAX else None


def counts(db: Session, viewer: User, narrowing: Narrowing = EVERYTHING) -> Counts:
    """Alerts per state, each counted no further than COUNT_MAX: among a million, counting all takes half a second."""
    alert = _few(db, viewer, narrowing) or Alert
    mine = _asked(alert, viewer, narrowing)

    def counted(state: State) -> ColumnElement[int]:
        some = select(alert.id).where(alert.state == state, *mine).limit(COUNT_MAX + 1).subquery()
        return select(func.count()).select_from(some).scalar_subquery().label(state)

    found = db.execute(select(*map(counted, STATES))).one()._mapping
    return Counts(
        {state: min(found[state], COUNT_MAX) for state in STATES if found[state]},
        frozenset(state for state in STATES if found[state] > COUNT_MAX),
    )


def get_alert(db: Session, viewer: User, alert_id: int) -> AlertDetail | None:
    """One alert with all that belongs to it, or None when this viewer may not see it."""
    alert = visible_alert(db, viewer, alert_id)
    if alert is None:
        return None
    evidence = select(Evidence).where(Evidence.incident_id == alert.incident_id, Evidence.box_id == alert.box_id)
    people = (joinedload(Rectification.submitted_by), joinedload(Rectification.decided_by))
    rectifications = select(Rectification).options(*people).where(Rectification.alert_id == alert.id)
    moves = select(AlertMove).options(joinedload(AlertMove.user)).where(AlertMove.alert_id == alert.id)
    own = select(Rectification.id).where(Rectification.alert_id == alert.id)
    photos: dict[int, list[RectificationPhoto]] = {}
    of_own = select(RectificationPhoto).where(RectificationPhoto.rectification_id.in_(own))
    for photo in db.scalars(of_own.order_by(RectificationPhoto.id)):
        photos.setdefault(photo.rectification_id, []).append(photo)
    rechecks = select(Recheck).where(Recheck.alert_id == alert.id).order_by(Recheck.id)
    return AlertDetail(
        alert,
        db.get_one(Box, alert.box_id) if alert.box_id else None,
        [item for item in db.scalars(evidence.order_by(Evidence.role)) if may_open(viewer, item)],
        list(db.scalars(rectifications.order_by(Rectification.id))),
        list(db.scalars(moves.order_by(AlertMove.id))),
        photos,
        {item.rectification_id: item for item in db.scalars(rechecks)},
        list(db.scalars(select(Card).where(Card.alert_id == alert.id).order_by(Card.id))),
        holds_on(db, alert, datetime.now(UTC)),
    )


def visible_box(db: Session, viewer: User, box_id: str) -> Box | None:
    """A box of a site which this viewer may see."""
    return db.scalar(select(Box).where(Box.id == box_id, within(viewer, Box.site_id)))


def temperature_series(
    series: SeriesStore, box_id: str, sensor_id: str, start: datetime, end: datetime, points_max: int = 2000
) -> list[tuple[datetime, float | None]]:
    """The points of one sensor in order of time; None is a reading without a value. Thinned evenly to *points_max*.

    Raises SeriesUnavailable; asks no other store than the series, so it is called outside of a transaction.
    """
    key = SeriesKey(box_id, sensor_id, "temperature")
    found = series.range(key, ceil(start.timestamp() * 1000), floor(end.timestamp() * 1000))
    rows = [(point.at_ms, point.value) for point in found]
    step = max(1, len(rows) // points_max)
    return [(datetime.fromtimestamp(at_ms / 1000, UTC), value) for at_ms, value in rows[::step]]


def box_stats(db: Session, box_id: str) -> dict[str, int]:
    """What the record holds of one box: batches and records per lane, alerts, pictures."""
    stats: dict[str, int] = {}
    for lane in ("events", "readings"):
        row = db.execute(
            select(func.count(), func.coalesce(func.sum(StoredBatch.count), 0)).where(
                StoredBatch.box_id == box_id, StoredBatch.lane == lane
            )
        ).one()
        stats[f"{lane}_batches"], stats[lane] = row[0], int(row[1])  # PostgreSQL sums to a decimal
    for name, table in (("alerts", Alert), ("evidence", Evidence)):
        stats[name] = db.scalar(select(func.count()).select_from(table).where(table.box_id == box_id)) or 0
    return stats
