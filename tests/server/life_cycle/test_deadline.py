"""Deadlines in the site's time: through nights, holidays and changes of the clock; checked minute by minute."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.life_cycle.calendar import WorkingCalendar, load_calendar
from server.life_cycle.deadline import Within, deadline
from server.life_cycle.rules import Rules, default_rules, load_rules

CHINA = ZoneInfo("Asia/Shanghai")
ZONES = [
    ZoneInfo(name)
    for name in (
        "Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo",
        "America/Santiago", "Asia/Kathmandu", "Pacific/Apia",
    )
]  # fmt: skip
CN = load_calendar("cn")
NIGHTS = WorkingCalendar(frozenset(), time(1, 30), time(3, 30))  # where the clocks change, every day
times = st.integers(0, 363 * 1440).map(lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes))
zones = st.sampled_from(ZONES)
calendars = st.sampled_from([CN, NIGHTS])
spans = st.integers(1, 60 * 30).map(lambda minutes: timedelta(minutes=minutes))


def at(text: str, zone: ZoneInfo = CHINA) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def is_working(moment: datetime, zone: ZoneInfo, calendar: WorkingCalendar) -> bool:
    """By the hands of the site's clock, without any interval."""
    local = moment.astimezone(zone)
    return calendar.is_working(local.date()) and calendar.opens <= local.time() < calendar.closes


def worked_min(start: datetime, end: datetime, zone: ZoneInfo, calendar: WorkingCalendar) -> int:
    """Minutes of work, counted one by one."""
    minutes = int((end - start).total_seconds() // 60)
    return sum(is_working(start + timedelta(minutes=number), zone, calendar) for number in range(minutes))


@settings(max_examples=40)
@given(times, spans, st.sampled_from(ZONES[:3]))
def test_a_working_span_holds_exactly_its_minutes_of_work(start: datetime, span: timedelta, zone: ZoneInfo) -> None:
    end = deadline(start, Within(span, "working"), zone, CN)
    assert end > start
    assert worked_min(start, end, zone, CN) == span.total_seconds() // 60
    assert is_working(end - timedelta(seconds=1), zone, CN), "it ends while people work"


@given(times, st.integers(0, 10_000), spans, zones, calendars)
def test_a_later_beginning_or_a_longer_span_never_ends_earlier(
    start: datetime, after_min: int, span: timedelta, zone: ZoneInfo, calendar: WorkingCalendar
) -> None:
    first = deadline(start, Within(span, "working"), zone, calendar)
    assert start < first <= deadline(start + timedelta(minutes=after_min), Within(span, "working"), zone, calendar)
    assert first <= deadline(start, Within(span + timedelta(minutes=after_min), "working"), zone, calendar)


@given(times, spans, zones)
def test_class_one_runs_through_nights_holidays_and_changes_of_the_clock(
    start: datetime, span: timedelta, zone: ZoneInfo
) -> None:
    assert deadline(start, Within(span, "always"), zone, CN) - start == span


@given(times, zones, st.sampled_from(["always", "working"]))
def test_the_same_day_ends_with_the_sites_day(start: datetime, zone: ZoneInfo, clock: str) -> None:
    end = deadline(start, Within("same_day", clock), zone, CN)  # type: ignore[arg-type]
    last = (end - timedelta(microseconds=1)).astimezone(zone)
    assert end > start
    assert end.astimezone(zone).date() == last.date() + timedelta(days=1)
    if clock == "always":
        assert last.date() == start.astimezone(zone).date()
    else:
        first = start.astimezone(zone).date()
        days = [first + timedelta(days=number) for number in range((last.date() - first).days)]
        assert CN.is_working(last.date())
        assert not any(CN.is_working(day) for day in days)


@pytest.mark.parametrize(
    ("kind", "start", "rectify_by"),
    [
        ("rodent", "2026-02-14T23:00", "2026-02-15T23:00"),  # class I: a day, into the Spring Festival
        ("unattended_flame", "2026-02-16T02:00", "2026-02-16T02:15"),
        ("no_mask", "2026-03-10T09:00", "2026-03-10T11:00"),
        ("no_mask", "2026-03-10T18:30", "2026-03-11T07:30"),  # an hour today, the other one tomorrow
        ("no_mask", "2026-02-14T19:00", "2026-02-24T08:00"),  # a Saturday that is worked, then nine days of holiday
        ("smoking", "2026-03-10T23:59", "2026-03-11T00:00"),
        ("phone_use", "2026-10-01T12:00", "2026-10-09T00:00"),  # in the holiday: the end of the next working day
    ],
)
def test_deadlines_of_kinds_are_those_of_the_rules(kind: str, start: str, rectify_by: str) -> None:
    rules = default_rules()
    found = rules.deadlines(kind, rules.kind(kind).tier, at(start), CHINA)
    assert found.rectify_by_at == at(rectify_by)
    assert found.acknowledge_by_at > at(start)
    assert (found.confirm_by_at is not None) == (kind == "rodent")


def test_the_calendar_is_that_of_the_state_council() -> None:
    worked = [date(2026, 1, 4), date(2026, 2, 14), date(2026, 2, 28), date(2026, 5, 9), date(2026, 9, 20)]
    free = [
        date(2026, 1, 1),
        date(2026, 2, 23),
        date(2026, 4, 6),
        date(2026, 5, 5),
        date(2026, 6, 19),
        date(2026, 10, 7),
    ]
    assert all(CN.is_working(day) for day in [*worked, date(2026, 10, 10), date(2026, 10, 8)])
    assert not any(CN.is_working(day) for day in [*free, date(2026, 9, 25), date(2026, 3, 7)])
    assert sum(day.weekday() > 4 for day in CN.working_days) == len(CN.working_days) == 6


def broken(tmp_path: Path, old: str, new: str) -> str:
    """What is said of the rules when a part of them is changed."""
    text = (Path(__file__).parents[3] / "configs" / "lifecycle" / "default.yaml").read_text("utf-8")
    assert old in text
    path = tmp_path / "rules.yaml"
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(ValueError, match=r"rules\.yaml") as caught:
        load_rules(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("level: city", "level: moon", "tiers.1.level"),
        ("ladder: [station, district, city, province]", "ladder: [station, district]", "not in the ladder"),
        ("red_after_h: 72", "red_after_h: 12", "the red card must come after"),
        ("    same_day: true\n", "", "give either rectify_within_h or same_day"),
        ("count_max: 4", "count_max: 40", "photos.count_max"),
        ("calendar: cn", "calendar: [", "is no YAML"),
        ("rectify_within_h: 24", "rectify_within_hours: 24", "Extra inputs"),
    ],
)
def test_rules_that_cannot_hold_are_refused_with_their_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert said in broken(tmp_path, old, new)


def test_every_level_leads_to_the_next_and_the_last_stays() -> None:
    rules: Rules = default_rules()
    assert [rules.level_above(level) for level in ("station", "district", "city", "province", "unknown")] == [
        "district", "city", "province", "province", "station",
    ]  # fmt: skip
