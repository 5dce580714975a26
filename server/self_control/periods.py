"""Days, weeks and months on the site's own clock, and when a record of one is due. Pure: no clock of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from server.self_control.catalogue import Kind, Sheet


@dataclass(frozen=True)
class Period:
    """From the first to the last day, both included; weeks begin on Monday (ISO 8601)."""

    kind: Kind
    first: date
    last: date

    @property
    def days(self) -> list[date]:
        return [self.first + timedelta(days=number) for number in range((self.last - self.first).days + 1)]


def period_of(kind: Kind, day: date) -> Period:
    """The period of this kind in which *day* lies."""
    if kind == "daily":
        return Period(kind, day, day)
    if kind == "weekly":
        first = day - timedelta(days=day.weekday())
        return Period(kind, first, first + timedelta(days=6))
    first = day.replace(day=1)
    return Period(kind, first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1))


def periods_between(kind: Kind, first: date, last: date) -> Iterator[Period]:
    """Every period that touches the days from *first* to *last*, in order."""
    period = period_of(kind, first)
    while period.first <= last:
        yield period
        period = period_of(kind, period.last + timedelta(days=1))


def bounds(period: Period, zone: str) -> tuple[datetime, datetime]:
    """From the midnight that begins it to the midnight after it, in UTC; a day may have 23 or 25 hours."""
    return _midnight(period.first, zone), _midnight(period.last + timedelta(days=1), zone)


def sign_from(period: Period, zone: str, sheet: Sheet) -> datetime:
    """From when on it can be signed: an hour of its last day, by the site's clock."""
    if sheet.sign_from_h == 24:
        return bounds(period, zone)[1]
    return datetime.combine(period.last, time(sheet.sign_from_h), ZoneInfo(zone)).astimezone(UTC)


def due_at(period: Period, zone: str, sheet: Sheet) -> datetime:
    """When it is missing unless it is signed."""
    return bounds(period, zone)[1] + timedelta(hours=sheet.due_after_h)


def _midnight(day: date, zone: str) -> datetime:
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)
