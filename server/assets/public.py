"""What everybody may know of a site, behind the token of its QR code: no name, no picture, nothing of any person.

Facts are made at most once a minute for each site, and an address asks so many times a minute and no more.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from server.assets.register import WARN_DAYS, local_day
from server.models import Alert, Site
from server.models_assets import AssetSensor, Certificate, ColdRoom, SiteCard
from server.self_control.meals import MealKept, meals_today
from server.series.port import SeriesKey, SeriesStore, SeriesUnavailable
from server.statistics.outcome import outcome_of

CACHE_S = 60.0
CACHED_MAX = 1_000
ASKS_PER_MINUTE_MAX = 60
ADDRESSES_MAX = 10_000
RATE_DAYS = 90
FRESH_MS = 30 * 60 * 1000
TEMPERATURE_KINDS = ("temperature_excursion", "temperature_warning")
RoomStatus = Literal["good", "out_of_range", "no_reading"]
LicenceStatus = Literal["valid", "expiring", "expired"]


@dataclass(frozen=True)
class Licence:
    """A licence of the site; public."""

    number: str
    holder: str
    expires_on: date
    status: LicenceStatus


@dataclass(frozen=True)
class Room:
    """A cold room today: its newest temperature in °C, if one is known and fresh."""

    name: str
    status: RoomStatus
    temperature_c: float | None


@dataclass(frozen=True)
class Facts:
    """All that the public page shows. ``rectified_pct`` is None where there was nothing to rectify."""

    site: str
    type: str
    address: str
    grade: str
    zone: str
    at: datetime
    licences: tuple[Licence, ...]
    health: dict[LicenceStatus, int]
    rooms: tuple[Room, ...]
    meals: tuple[MealKept, ...]
    excursions_today: int
    confirmed: int
    rectified_pct: int | None


@dataclass(frozen=True)
class _Sensor:
    room: str
    key: SeriesKey


@dataclass(frozen=True)
class Ground:
    """What the record says, and which sensors are still to be asked; made in one reading transaction."""

    facts: Facts
    rooms: tuple[tuple[str, bool], ...]
    sensors: tuple[_Sensor, ...]


def read_ground(db: Session, token: str, now: datetime) -> Ground | None:
    """What the record holds for the page of this token, or None when there is none."""
    row = db.execute(
        select(Site, SiteCard).join(SiteCard, SiteCard.site_id == Site.id).where(SiteCard.public_token == token)
    ).one_or_none()
    if row is None:
        return None
    site, card = row[0], row[1]
    today = local_day(site, now)
    licences, health = _papers(db, site, today)
    confirmed, closed = _measures(db, site, now)
    midnight = datetime.combine(today, time(), ZoneInfo(site.time_zone)).astimezone(UTC)
    excursions = select(func.count()).where(
        Alert.site_id == site.id, Alert.kind == "temperature_excursion", Alert.state != "dismissed",
        (Alert.ended_at.is_(None)) | (Alert.ended_at >= midnight),
    )  # fmt: skip
    facts = Facts(
        site=site.name, type=card.type, address=card.address, grade=card.grade, zone=site.time_zone, at=now,
        licences=licences, health=health, rooms=(), meals=meals_today(db, site, now),
        excursions_today=db.scalar(excursions) or 0, confirmed=confirmed,
        rectified_pct=closed * 100 // confirmed if confirmed else None,
    )  # fmt: skip
    return Ground(facts, *_rooms(db, site))


def _status(expires_on: date, today: date) -> LicenceStatus:
    if expires_on < today:
        return "expired"
    return "expiring" if expires_on - timedelta(days=WARN_DAYS) <= today else "valid"


def _papers(db: Session, site: Site, today: date) -> tuple[tuple[Licence, ...], dict[LicenceStatus, int]]:
    licences = []
    health: dict[LicenceStatus, int] = {"valid": 0, "expiring": 0, "expired": 0}
    query = select(Certificate).where(Certificate.site_id == site.id).order_by(Certificate.number)
    for item in db.scalars(query):
        status = _status(item.expires_on, today)
        if item.kind == "licence":
            licences.append(Licence(item.number, item.holder, item.expires_on, status))
        else:
            health[status] += 1
    return tuple(licences), health


def _measures(db: Session, site: Site, now: datetime) -> tuple[int, int]:
    """整改率 over RATE_DAYS: the confirmed alerts and the closed ones of them; a false alarm is not confirmed."""
    since = Alert.opened_at >= now - timedelta(days=RATE_DAYS)
    query = select(Alert.state, func.count()).where(Alert.site_id == site.id, since).group_by(Alert.state)
    counts: Counter[str] = Counter()
    for state, number in db.execute(query):
        counts[outcome_of(state)] += number
    return counts.total() - counts["dismissed"], counts["closed"]


def _rooms(db: Session, site: Site) -> tuple[tuple[tuple[str, bool], ...], tuple[_Sensor, ...]]:
    """The rooms, each with whether one of its sensors is out of range now; and the sensors to ask."""
    names = list(db.scalars(select(ColdRoom.name).where(ColdRoom.site_id == site.id).order_by(ColdRoom.name)))
    owned = db.scalars(
        select(AssetSensor).where(AssetSensor.site_id == site.id, AssetSensor.box_id != "", AssetSensor.cold_room != "")
    )
    sensors = tuple(
        _Sensor(item.cold_room, SeriesKey(item.box_id, item.source_id, "temperature"))
        for item in owned
        if item.cold_room in names
    )
    open_ = set(
        db.execute(
            select(Alert.box_id, Alert.source_id).where(
                Alert.site_id == site.id, Alert.ended_at.is_(None), Alert.state != "dismissed",
                Alert.kind.in_(TEMPERATURE_KINDS),
            )
        )
    )  # fmt: skip
    out = {item.room for item in sensors if (item.key.box_id, item.key.sensor_id) in open_}
    return tuple((name, name in out) for name in names), sensors


def read_rooms(series: SeriesStore, ground: Ground) -> tuple[Room, ...]:
    """The rooms with their newest temperature of the last half hour; the highest where a room has several sensors."""
    end_ms = int(ground.facts.at.timestamp() * 1000)
    newest: dict[str, float] = {}
    for sensor in ground.sensors:
        try:
            point = series.latest(sensor.key, end_ms - FRESH_MS, end_ms)
        except SeriesUnavailable:
            continue  # the page says that there is no reading
        if point is not None and point.value is not None:
            newest[sensor.room] = max(point.value, newest.get(sensor.room, point.value))
    return tuple(
        Room(name, "out_of_range" if out else "good" if name in newest else "no_reading", newest.get(name))
        for name, out in ground.rooms
    )


@dataclass
class PublicDesk:
    """Keeps facts for CACHE_S, and counts who asks. Safe for several threads; both memories are bounded."""

    _facts: OrderedDict[str, tuple[float, Any]] = field(default_factory=OrderedDict)
    _asks: OrderedDict[str, tuple[int, int]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def admits(self, address: str, now_s: float) -> bool:
        """Whether this address may ask once more within its minute."""
        minute = int(now_s // 60)
        with self._lock:
            last, asked = self._asks.pop(address, (minute, 0))
            asked = asked + 1 if last == minute else 1
            self._asks[address] = (minute, asked)
            if len(self._asks) > ADDRESSES_MAX:
                self._asks.popitem(last=False)
        return asked <= ASKS_PER_MINUTE_MAX

    def cached(self, token: str, now_s: float) -> Facts | None:
        """The facts that are not too old."""
        with self._lock:
            made_s, facts = self._facts.get(token, (-CACHE_S, None))
        return facts if 0 <= now_s - made_s < CACHE_S else None

    def keep(self, token: str, facts: Facts, now_s: float) -> None:
        """Keep facts of a site; a token that leads nowhere is never kept."""
        with self._lock:
            self._facts[token] = (now_s, facts)
            self._facts.move_to_end(token)
            if len(self._facts) > CACHED_MAX:
                self._facts.popitem(last=False)

    def forget(self) -> None:
        """After a change of a token or a card."""
        with self._lock:
            self._facts.clear()
