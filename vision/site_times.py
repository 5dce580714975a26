"""When a site works, in its own time: opening hours, meals, and the night between them.

A rule names the periods in which it holds; they are looked up by the wall clock in the site's zone, so that a change
of summer time moves the meal with the people. Pure: the time comes in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WORDS = ("always", "open", "night", "meals")
_CLOCK = re.compile(r"^([01]\d|2[0-3]):[0-5]\d$")


@dataclass(frozen=True)
class Span:
    """From ``start`` to before ``end`` (``HH:MM``) on each of ``days``; an end not after the start is a day later."""

    start: str
    end: str
    days: tuple[str, ...] = DAYS

    def __post_init__(self) -> None:
        if not _CLOCK.match(self.start) or not _CLOCK.match(self.end):
            raise ValueError(f"{self.start}-{self.end}: give times as HH:MM")
        if not self.days or set(self.days) - set(DAYS):
            raise ValueError(f"{', '.join(self.days) or 'no day'}: give days as {', '.join(DAYS)}")

    def holds(self, local: datetime) -> bool:
        """Whether *local*, a time of the site's clock, lies inside."""
        start, end, now = time.fromisoformat(self.start), time.fromisoformat(self.end), local.time()
        today = DAYS[local.weekday()] in self.days
        if start < end:
            return today and start <= now < end
        yesterday = DAYS[(local - timedelta(days=1)).weekday()] in self.days
        return (today and now >= start) or (yesterday and now < end)


@dataclass(frozen=True)
class SiteTimes:
    """``open`` empty: the site is always open. ``meals``: name → its spans."""

    time_zone: str = "Asia/Shanghai"
    open: tuple[Span, ...] = ()
    meals: dict[str, tuple[Span, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"{self.time_zone}: is not a time zone such as Asia/Shanghai") from error
        if clash := sorted(set(self.meals) & set(WORDS)):
            raise ValueError(f"{', '.join(clash)}: a meal needs another name")

    def check(self, periods: Iterable[str]) -> None:
        """Raises ValueError for a period that this site does not have: the rule would never hold."""
        for period in periods:
            if period not in (*WORDS, *self.meals):
                raise ValueError(f"{period}: no such period; use {', '.join((*WORDS, *self.meals))}")
            if period == "meals" and not self.meals:
                raise ValueError("meals: the site has none; give their times")
            if period == "night" and not self.open:
                raise ValueError("night: the site has no opening hours; give them")

    def active(self, periods: Iterable[str], at: datetime) -> bool:
        """Whether one of *periods* holds at *at* (aware)."""
        local = at.astimezone(ZoneInfo(self.time_zone))
        return any(self._holds(period, local) for period in periods)

    def _holds(self, period: str, local: datetime) -> bool:
        if period == "always":
            return True
        if period in ("open", "night"):
            is_open = not self.open or any(span.holds(local) for span in self.open)
            return is_open == (period == "open")
        meals = self.meals.values() if period == "meals" else [self.meals.get(period, ())]
        return any(span.holds(local) for spans in meals for span in spans)
