"""When something is told: pure functions of the time, the site's zone and the rules."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from server.notification.rules import Delivery, Rules

URGENT_TIER = 1


def due_at(now: datetime, zone: str, tier: int, delivery: Delivery, rules: Rules) -> datetime:
    """When a notice of this tier that arises *now* may be sent (UTC); tier I is never held back."""
    if tier == URGENT_TIER:
        return now
    place = ZoneInfo(zone)
    if delivery == "daily":
        return _next(now, place, rules.daily_at)
    if delivery == "hourly":
        local = now.astimezone(place)
        now += timedelta(hours=1) - timedelta(
            minutes=local.minute, seconds=local.second, microseconds=local.microsecond
        )
    if rules.quiet_hours.hold(now.astimezone(place).time()):
        return _next(now, place, rules.quiet_hours.end)
    return now


def _next(now: datetime, zone: ZoneInfo, at: time) -> datetime:
    """The next moment after *now* when the clocks of *zone* show *at*; one that a clock change skips is moved on."""
    day = now.astimezone(zone).date()
    moments = (datetime.combine(day + timedelta(days=days), at, zone).astimezone(UTC) for days in range(3))
    return next(moment for moment in moments if moment > now)


def held_flap(now: datetime, last_due_at: datetime | None, window_s: int) -> datetime | None:
    """When a fault that comes again is told: with what still waits, or a window after the last; None: at once."""
    if last_due_at is None:
        return None
    if last_due_at > now:
        return last_due_at
    end = last_due_at + timedelta(seconds=window_s)
    return end if end > now else None
