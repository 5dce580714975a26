"""Working days and hours as data: a YAML file for each country and year, joined into one calendar.

In a year that no file covers only the weekly rest days count. Pure but for `load_calendar`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from server.rules_file import Section, read_section

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "calendar"
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEKDAYS: tuple[Weekday, ...] = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
LOOK_AHEAD_D = 400
MISSED_AHEAD_D = 30  # a year that is not on file is told so long before it begins


def _plain(value: time) -> time:
    if value.tzinfo is not None or value.microsecond:
        raise ValueError("must be a time of the day such as 06:30, in the site's zone")
    return value


class Holiday(Section):
    """Days without work, both ends included."""

    first: date
    last: date
    name: Annotated[str, Field(max_length=40)]

    @model_validator(mode="after")
    def _in_order(self) -> Holiday:
        if not timedelta(0) <= self.last - self.first <= timedelta(days=60):
            raise ValueError("last must be first or up to 60 days after it")
        return self

    @property
    def days(self) -> Iterator[date]:
        return (self.first + timedelta(days=number) for number in range((self.last - self.first).days + 1))


class CalendarYear(Section):
    """What one file says. ``working_days`` are worked although they are rest days."""

    calendar: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
    year: Annotated[int, Field(ge=2000, le=2200)]
    rest_days: Annotated[frozenset[Weekday], Field(max_length=6)]
    opens: Annotated[time, AfterValidator(_plain)]
    closes: Annotated[time, AfterValidator(_plain)]
    holidays: Annotated[list[Holiday], Field(max_length=100)] = []
    working_days: Annotated[list[date], Field(max_length=100)] = []

    @model_validator(mode="after")
    def _sensible(self) -> CalendarYear:
        if self.opens >= self.closes:
            raise ValueError("opens must be before closes")
        named = [day for holiday in self.holidays for day in holiday.days]
        if any(day.year != self.year for day in [*named, *self.working_days]):
            raise ValueError(f"a day is not in {self.year}")
        if len({*named, *self.working_days}) != len(named) + len(self.working_days):
            raise ValueError("a day is named twice")
        return self


@dataclass(frozen=True)
class WorkingCalendar:
    """The years of one calendar; times of the day are the site's. ``years``: those that a file covers."""

    rest_days: frozenset[int]  # Monday is 0
    opens: time
    closes: time
    holidays: frozenset[date] = frozenset()
    working_days: frozenset[date] = frozenset()
    name: str = ""
    years: frozenset[int] = frozenset()

    def missing_years(self, today: date) -> list[int]:
        """Of this year and one that begins within 30 days, those without a file: their holidays are not known."""
        return sorted({today.year, (today + timedelta(days=MISSED_AHEAD_D)).year} - self.years)

    def is_working(self, day: date) -> bool:
        """Whether people work on this day of the site."""
        if day in self.working_days:
            return True
        return day not in self.holidays and day.weekday() not in self.rest_days

    def hours_from(self, start: datetime, zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
        """The working times in UTC from *start* on, the first cut to it; ends after 400 days."""
        first = start.astimezone(zone).date()
        for number in range(LOOK_AHEAD_D):
            day = first + timedelta(days=number)
            if not self.is_working(day):
                continue
            opens = max(start, datetime.combine(day, self.opens, zone).astimezone(UTC))
            closes = datetime.combine(day, self.closes, zone).astimezone(UTC)
            if opens < closes:
                yield opens, closes


def join_years(years: list[CalendarYear]) -> WorkingCalendar:
    """One calendar of all its years; the rest days and hours are those of the newest."""
    newest = max(years, key=lambda item: item.year)
    return WorkingCalendar(
        frozenset(WEEKDAYS.index(day) for day in newest.rest_days),
        newest.opens,
        newest.closes,
        frozenset(day for item in years for holiday in item.holidays for day in holiday.days),
        frozenset(day for item in years for day in item.working_days),
        newest.calendar,
        frozenset(item.year for item in years),
    )


def say_missing(calendar: WorkingCalendar, year: int, folder: Path) -> str:
    """What the operator has to do about a year that is not on file."""
    return (
        f"the calendar {calendar.name} has no year {year}: its holidays count as working days, so deadlines come too "
        f"early; put a file for it into {folder}"
    )


def load_calendar(name: str, folder: Path = FOLDER) -> WorkingCalendar:
    """The calendar *name* of all files in *folder*; raises ValueError as ``file: path: what is wrong``."""
    years = [read_section(path, CalendarYear) for path in sorted(folder.glob("*.yaml"))]
    mine = [item for item in years if item.calendar == name]
    if not mine:
        raise ValueError(f"{folder}: there is no calendar {name}")
    if len({item.year for item in mine}) != len(mine):
        raise ValueError(f"{folder}: a year of the calendar {name} stands in two files")
    return join_years(mine)
