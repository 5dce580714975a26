"""The figures of a series, by hand: every number here can be checked on paper."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.reports.document import LimitPeriod
from server.reports.series import Point, at_of, find_gaps, summarise, thin
from telemetry.coldchain.kinetic import mean_kinetic_c

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


def every_minute(*values: float | None, start: int = 0) -> list[Point]:
    return [
        (start + number * MINUTE_MS, value, "good" if value is not None else "bad")
        for number, value in enumerate(values)
    ]


def limit(high: float | None, low: float | None, since_ms: int = 0, until_ms: int = HOUR_MS) -> LimitPeriod:
    return LimitPeriod(
        since=at_of(since_ms), until=at_of(until_ms), high_c=high, low_c=low, basis="", source="card", stated_by=""
    )


def test_mean_kinetic_temperature_meets_the_published_check_value() -> None:
    assert mean_kinetic_c([5.0] * 90 + [12.0] * 6) == pytest.approx(5.66, abs=0.005)


def test_minimum_maximum_mean_and_their_times_are_those_of_the_values() -> None:
    stats = summarise(every_minute(4.0, 2.0, None, 9.0), [], 0, 4 * MINUTE_MS)
    assert (stats.min_c, stats.max_c, stats.mean_c) == (2.0, 9.0, 5.0)
    assert (stats.min_at, stats.max_at) == (at_of(MINUTE_MS), at_of(3 * MINUTE_MS))
    assert (stats.readings, stats.without_value) == (4, 1)


def test_a_value_marked_bad_is_counted_as_missing_not_as_a_temperature() -> None:
    stats = summarise([(0, 4.0, "good"), (MINUTE_MS, 85.0, "bad"), (2 * MINUTE_MS, 5.0, "suspect")], [], 0, HOUR_MS)
    assert (stats.max_c, stats.without_value, stats.suspect) == (5.0, 1, 1)


def test_time_above_counts_each_value_until_the_next_one() -> None:
    stats = summarise(every_minute(4, 9, 9, 9, 4, 4), [limit(8, None)], 0, 6 * MINUTE_MS)
    assert (stats.above_s, stats.below_s) == (180.0, None)


def test_a_value_at_the_limit_is_inside() -> None:
    stats = summarise(every_minute(8.0, 0.0), [limit(8, 0)], 0, 2 * MINUTE_MS)
    assert (stats.above_s, stats.below_s) == (0.0, 0.0)


def test_the_limits_in_force_at_the_time_decide() -> None:
    limits = [limit(8, None, 0, 2 * MINUTE_MS), limit(4, None, 2 * MINUTE_MS, HOUR_MS)]
    stats = summarise(every_minute(6, 6, 6, 6), limits, 0, 4 * MINUTE_MS)
    assert stats.above_s == 120.0


def test_a_gap_is_not_time_above_the_limit() -> None:
    points = [*every_minute(9, 9, 9), *every_minute(4, 4, start=30 * MINUTE_MS)]
    stats = summarise(points, [limit(8, None)], 0, 32 * MINUTE_MS)
    assert stats.above_s == 180.0
    assert stats.gap_s == 28 * 60


def test_gaps_at_the_edges_of_the_period_are_found() -> None:
    points = every_minute(*[4.0] * 11, start=20 * MINUTE_MS)
    assert find_gaps(points, 0, HOUR_MS) == [(0, 20 * MINUTE_MS), (30 * MINUTE_MS, HOUR_MS)]


def test_a_period_without_a_reading_is_one_gap() -> None:
    assert find_gaps([], 0, HOUR_MS) == [(0, HOUR_MS)]
    stats = summarise([], [], 0, HOUR_MS)
    assert (stats.coverage_pct, stats.min_c, stats.mkt_c) == (0.0, None, None)


def test_coverage_and_gaps_add_up_to_the_period() -> None:
    points = [*every_minute(*[4.0] * 10), *every_minute(*[4.0] * 30, start=30 * MINUTE_MS)]
    stats = summarise(points, [], 0, HOUR_MS)
    assert stats.covered_s + stats.gap_s == timedelta(hours=1).total_seconds()


@given(st.lists(st.floats(-40, 40), min_size=1, max_size=400), st.integers(1, 60))
def test_thinning_keeps_the_highest_and_lowest_value_the_ends_and_the_order(values: list[float], buckets: int) -> None:
    points = every_minute(*values)
    kept = [point for line in thin(points, buckets) for point in line]
    assert {max(values), min(values)} <= {value for _, value in kept}
    assert (kept[0], kept[-1]) == (points[0][:2], points[-1][:2])
    assert kept == sorted(set(kept))
    assert set(kept) <= {(at_ms, value) for at_ms, value, _ in points}
    assert len(kept) <= 4 * (buckets + 2)


def test_a_peak_of_one_reading_in_a_month_is_still_drawn() -> None:
    values = [4.0] * 44_640
    values[30_001] = 11.0
    kept = [point for line in thin(every_minute(*values), 700) for point in line]
    assert (30_001 * MINUTE_MS, 11.0) in kept
    assert len(kept) < 3_000


def test_a_line_is_cut_at_a_gap_and_at_a_missing_value_run() -> None:
    nothing = every_minute(*[None] * 5, start=4 * MINUTE_MS)
    points = [*every_minute(4, 5, 4, 5), *nothing, *every_minute(5, 4, start=9 * MINUTE_MS)]
    assert [len(line) for line in thin(points, 100)] == [4, 2]
