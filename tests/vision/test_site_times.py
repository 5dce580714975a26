"""Opening hours, meals and night in the site's own time."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from vision.site_times import SiteTimes, Span

WEEK = ("mon", "tue", "wed", "thu", "fri")
SCHOOL = SiteTimes(
    "Asia/Shanghai",
    open=(Span("05:30", "19:00", WEEK),),
    meals={"lunch": (Span("10:30", "13:00", WEEK),), "supper": (Span("16:30", "18:30", WEEK),)},
)


def shanghai(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Asia/Shanghai")).astimezone(UTC)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-03-02T05:29:59", {"always", "night"}),  # a Monday
        ("2026-03-02T05:30:00", {"always", "open"}),
        ("2026-03-02T10:30:00", {"always", "open", "meals", "lunch"}),
        ("2026-03-02T13:00:00", {"always", "open"}),
        ("2026-03-02T17:00:00", {"always", "open", "meals", "supper"}),
        ("2026-03-02T19:00:00", {"always", "night"}),
        ("2026-03-07T11:00:00", {"always", "night"}),  # a Saturday
    ],
)
def test_periods_hold_by_the_clock_of_the_site(at: str, expected: set[str]) -> None:
    words = {"always", "open", "night", "meals", "lunch", "supper"}
    assert {word for word in words if SCHOOL.active([word], shanghai(at))} == expected


def test_any_of_the_named_periods_is_enough() -> None:
    assert SCHOOL.active(("lunch", "night"), shanghai("2026-03-02T23:00:00"))


@pytest.mark.parametrize(
    ("at", "inside"),
    [
        ("2026-03-06T21:59:00", False),  # Friday
        ("2026-03-06T22:00:00", True),
        ("2026-03-07T05:59:00", True),  # Saturday morning still belongs to Friday's night
        ("2026-03-07T06:00:00", False),
        ("2026-03-07T22:30:00", False),
    ],
)
def test_a_span_over_midnight_belongs_to_the_day_it_starts_on(at: str, inside: bool) -> None:
    assert Span("22:00", "06:00", ("fri",)).holds(datetime.fromisoformat(at)) is inside


def test_a_meal_moves_with_summer_time() -> None:
    site = SiteTimes("Europe/Berlin", meals={"lunch": (Span("12:00", "13:00"),)})
    assert site.active(["lunch"], datetime(2026, 1, 15, 11, 30, tzinfo=UTC))
    assert not site.active(["lunch"], datetime(2026, 7, 15, 11, 30, tzinfo=UTC))
    assert site.active(["lunch"], datetime(2026, 7, 15, 10, 30, tzinfo=UTC))


def test_a_site_without_hours_is_always_open() -> None:
    assert SiteTimes().active(["open"], datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("period", "complaint"),
    [("brunch", "no such period"), ("meals", "the site has none"), ("night", "no opening hours")],
)
def test_a_period_that_would_never_hold_is_refused(period: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        SiteTimes().check([period])


@pytest.mark.parametrize("wrong", [("5:30", "06:00"), ("05:30", "24:00"), ("05:30", "06:00", ("someday",)), ("a", "b")])
def test_a_span_that_is_no_time_is_refused(wrong: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="give"):
        Span(*wrong)  # type: ignore[arg-type]


def test_a_time_zone_that_does_not_exist_and_a_meal_named_night_are_refused() -> None:
    with pytest.raises(ValueError, match="is not a time zone"):
        SiteTimes("Asia")
    with pytest.raises(ValueError, match="needs another name"):
        SiteTimes(meals={"night": ()})
