"""Until when something has to be done, in the time of the site. Pure.

A span that runs ``always`` counts through nights and holidays; a ``working`` one counts only while the site works.
"The same day" is the end of the site's day, or of its next working day. A deadline is never before its beginning.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from server.life_cycle.calendar import LOOK_AHEAD_D, WorkingCalendar

Clock = Literal["always", "working"]
SameDay = Literal["same_day"]


@dataclass(frozen=True)
class Within:
    """How long there is: a span on a clock, or until the end of the day."""

    span: timedelta | SameDay
    clock: Clock


def deadline(start: datetime, within: Within, zone: ZoneInfo, calendar: WorkingCalendar) -> datetime:
    """The end in UTC. *start* is aware; a span beyond 400 days of working time ends with them."""
    start = start.astimezone(UTC)
    if within.span == "same_day":
        return end_of_day(start, within.clock, zone, calendar)
    if within.clock == "always":
        return start + within.span
    left = within.span
    end = start
    for opens, closes in calendar.hours_from(start, zone):
        if left <= closes - opens:
            return opens + left
        left -= closes - opens
        end = closes
    return end


def end_of_day(start: datetime, clock: Clock, zone: ZoneInfo, calendar: WorkingCalendar) -> datetime:
    """The midnight (UTC) that ends the site's day, or on a ``working`` clock its next working day."""
    day = start.astimezone(zone).date()
    if clock == "working":
        day = _next_working(day, calendar)
    midnight = datetime.combine(day + timedelta(days=1), time(), zone)
    return max(start, midnight.astimezone(UTC))


def _next_working(day: date, calendar: WorkingCalendar) -> date:
    days = (day + timedelta(days=number) for number in range(LOOK_AHEAD_D))
    return next((item for item in days if calendar.is_working(item)), day)
