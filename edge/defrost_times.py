"""Reads times as people write them: dates with or without a zone, and defrost schedules in any of their usual forms.

A schedule is a list of: "06:00" or "06:00-06:45" (every day), a date and time, or a mapping with ``start`` and
``duration_min`` (or ``end``), with ``days`` for some weekdays only, with ``every_h`` for a period. Nothing is guessed
beyond that.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any

from telemetry.coldchain.schedule import DailyWindow, DefrostSchedule, FixedWindow, PeriodicWindow, Window

LENGTH_S = 3_600.0
WINDOWS_MAX = 5_000
CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::\d{2})?$")
DAYS = {"mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6, "sun": 7}
START_KEYS = ("start", "at", "from", "begin", "first", "time")
END_KEYS = ("end", "to", "until")
LENGTHS = {"duration_s": 1, "length_s": 1, "duration_min": 60, "length_min": 60, "minutes": 60, "duration_h": 3600}
PERIODS = {"every_s": 1, "period_s": 1, "every_min": 60, "every_h": 3600, "period_h": 3600}


class ScheduleError(ValueError):
    """What cannot be read as a time."""


def moment_s(value: Any, zone: tzinfo) -> float:
    """Seconds since 1970 of a date or a date and time; without a zone it is meant in *zone*."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError as error:
            raise ScheduleError(f"{value!r} is not a date such as 2021-06-24 or 2021-06-24T16:45:00Z") from error
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time(), zone)
    if not isinstance(value, datetime):
        raise ScheduleError(f"{value!r} is not a date")
    return (value if value.tzinfo else value.replace(tzinfo=zone)).timestamp()


def read_schedule(raw: Any, zone: tzinfo) -> DefrostSchedule:
    """The schedule of one sensor; raises ScheduleError."""
    if raw is None:
        return DefrostSchedule()
    if isinstance(raw, dict) and "times" in raw:
        lengths = {key: value for key, value in raw.items() if key != "times"}
        raw = [{"start": start, **lengths} for start in raw["times"]]
    items = raw if isinstance(raw, list) else [raw]
    if len(items) > WINDOWS_MAX:
        raise ScheduleError(f"more than {WINDOWS_MAX} windows")
    return DefrostSchedule(tuple(_window(item, zone) for item in items))


def _window(item: Any, zone: tzinfo) -> Window:
    if not isinstance(item, dict):
        start, end = _split(item)
        return _placed(start, end, None, frozenset(), zone)
    known = {*START_KEYS, *END_KEYS, *LENGTHS, *PERIODS, "days"}
    if unknown := set(item) - known:
        raise ScheduleError(f"unknown key {sorted(unknown)[0]!r}; known are {', '.join(sorted(known))}")
    start = next((item[key] for key in START_KEYS if key in item), None)
    if start is None:
        raise ScheduleError("a window needs a start")
    end = next((item[key] for key in END_KEYS if key in item), None)
    length_s = next((float(item[key]) * unit for key, unit in LENGTHS.items() if key in item), None)
    every_s = next((float(item[key]) * unit for key, unit in PERIODS.items() if key in item), None)
    if every_s is not None:
        if every_s <= 0:
            raise ScheduleError("the period must be above 0")
        return PeriodicWindow(moment_s(start, zone), every_s, length_s or LENGTH_S)
    days = frozenset(_day(day) for day in item.get("days") or ())
    return _placed(start, end, length_s, days, zone)


def _split(item: Any) -> tuple[Any, Any]:
    """ "06:00-06:45" and "start/end" (ISO 8601 interval) hold both ends."""
    if isinstance(item, list) and len(item) == 2:
        return item[0], item[1]
    if isinstance(item, str):
        for mark in ("/", "–", " - "):
            if mark in item:
                first, _, second = item.partition(mark)
                return first.strip(), second.strip()
        if item.count("-") == 1 and ":" in item:
            first, _, second = item.partition("-")
            return first.strip(), second.strip()
    return item, None


def _placed(start: Any, end: Any, length_s: float | None, days: frozenset[int], zone: tzinfo) -> Window:
    start_of_day = _seconds_of_day(start)
    if start_of_day is None:
        start_s = moment_s(start, zone)
        return FixedWindow(start_s, _length(moment_s(end, zone) - start_s if end is not None else length_s))
    if end is not None:
        end_of_day = _seconds_of_day(end)
        if end_of_day is None:
            raise ScheduleError(f"{end!r} is not a time of day such as 06:45")
        length_s = (end_of_day - start_of_day) % 86_400.0
    offset = datetime(2000, 1, 1, tzinfo=zone).utcoffset() or timedelta()
    return DailyWindow(start_of_day - offset.total_seconds(), _length(length_s), days)


def _length(length_s: float | None) -> float:
    if length_s is None:
        return LENGTH_S
    if not 0 < length_s <= 86_400:
        raise ScheduleError("a defrost lasts more than nothing and less than a day")
    return length_s


def _seconds_of_day(value: Any) -> float | None:
    """None when it is not a time of day. YAML 1.1 reads 06:30 as text, but 6:30 as the number 390 (base 60)."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1_440:
        return value * 60.0
    match = CLOCK.match(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    hours, minutes = int(match[1]), int(match[2])
    if hours > 24 or minutes > 59:
        raise ScheduleError(f"{value!r} is not a time of day")
    return hours * 3_600.0 + minutes * 60.0


def _day(value: Any) -> int:
    if isinstance(value, int) and 1 <= value <= 7:
        return value
    day = DAYS.get(str(value).lower()[:3])
    if day is None:
        raise ScheduleError(f"{value!r} is not a weekday (mon … sun or 1 … 7)")
    return day


def in_utc(at_s: float) -> str:
    """The time as it is written out: ISO 8601 in UTC, without a fraction of a second when there is none."""
    moment = datetime.fromtimestamp(at_s, UTC)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{moment.microsecond // 1000:03d}Z" if moment.microsecond else f"{text}Z"
