"""Quiet hours, digests and flapping, by the clock of the site; also where clocks are put forward and back."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.notification.rules import Delivery, QuietHours, default_rules
from server.notification.timing import due_at, held_flap

RULES = default_rules()
ZONES = ("Asia/Shanghai", "Europe/Berlin", "America/New_York", "Asia/Kathmandu")


def at(text: str, zone: str = "Asia/Shanghai") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


@pytest.mark.parametrize(
    ("tier", "delivery", "now", "due"),
    [
        (2, "now", "2026-03-02T12:00", "2026-03-02T12:00"),
        (2, "now", "2026-03-02T21:29:59", "2026-03-02T21:29:59"),
        (2, "now", "2026-03-02T21:30", "2026-03-03T06:30"),
        (2, "now", "2026-03-03T03:00", "2026-03-03T06:30"),
        (2, "now", "2026-03-03T06:30", "2026-03-03T06:30"),
        (1, "now", "2026-03-03T03:00", "2026-03-03T03:00"),
        (1, "daily", "2026-03-03T03:00", "2026-03-03T03:00"),
        (3, "daily", "2026-03-02T07:29", "2026-03-02T07:30"),
        (3, "daily", "2026-03-02T07:30", "2026-03-03T07:30"),
        (3, "hourly", "2026-03-02T12:10:30", "2026-03-02T13:00"),
        (3, "hourly", "2026-03-02T20:59", "2026-03-02T21:00"),
        (3, "hourly", "2026-03-02T21:10", "2026-03-03T06:30"),
    ],
)
def test_notice_is_due_when_the_rules_say(tier: int, delivery: Delivery, now: str, due: str) -> None:
    assert due_at(at(now), "Asia/Shanghai", tier, delivery, RULES) == at(due)


def test_same_moment_is_night_at_one_site_and_day_at_another() -> None:
    now = at("2026-03-02T23:00")
    assert due_at(now, "America/New_York", 2, "now", RULES) == now
    assert due_at(now, "Asia/Shanghai", 2, "now", RULES) == at("2026-03-03T06:30")


def test_morning_comes_once_on_the_nights_when_clocks_change() -> None:
    for night, hours in (("2026-03-29", 7.5), ("2026-10-25", 9.5)):
        evening = at(night, "Europe/Berlin") - timedelta(hours=2)
        due = due_at(evening, "Europe/Berlin", 2, "now", RULES)
        assert due == at(f"{night}T06:30", "Europe/Berlin")
        assert due - evening == timedelta(hours=hours)


@given(
    st.integers(0, 365 * 86_400),
    st.sampled_from(ZONES),
    st.sampled_from([1, 2, 3]),
    st.sampled_from(["now", "hourly", "daily"]),
)
def test_nothing_is_due_in_the_past_at_night_or_after_more_than_a_day(
    second: int, zone: str, tier: int, delivery: Delivery
) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    due = due_at(now, zone, tier, delivery, RULES)
    assert now <= due <= now + timedelta(hours=25)
    assert tier == 1 or not RULES.quiet_hours.hold(due.astimezone(ZoneInfo(zone)).time())


def test_quiet_hours_may_lie_within_a_day_or_be_none() -> None:
    nap = QuietHours(start=time(12), end=time(14))
    assert [nap.hold(time(hour)) for hour in (11, 12, 13, 14)] == [False, True, True, False]
    assert not any(QuietHours(start=time(6), end=time(6)).hold(time(hour)) for hour in range(24))


def test_fault_that_comes_again_waits_for_the_end_of_its_window() -> None:
    now = at("2026-03-02T12:00")
    assert held_flap(now, None, 1800) is None
    assert held_flap(now, now - timedelta(seconds=60), 1800) == now + timedelta(seconds=1740)
    assert held_flap(now, now + timedelta(seconds=60), 1800) == now + timedelta(seconds=60)
    assert held_flap(now, now - timedelta(seconds=1800), 1800) is None
