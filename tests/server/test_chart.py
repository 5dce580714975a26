"""The chart of an alert: lines cut at gaps, a limit in the picture, and nothing drawn outside of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from server.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Chart, Points, make_chart

START = datetime(2026, 1, 1, tzinfo=UTC)


def points(*values: float | None, step_s: float = 60.0) -> Points:
    return [(START + timedelta(seconds=number * step_s), value) for number, value in enumerate(values)]


def chart(given: Points, limit_c: float | None = 8.0, ended: datetime | None = None) -> Chart:
    made = make_chart(given, limit_c, START, ended, "Asia/Shanghai")
    assert made is not None
    return made


@pytest.mark.parametrize("given", [[], points(None, None), points(float("1e300"))])
def test_without_a_value_there_is_no_chart(given: Points) -> None:
    assert make_chart(given, 8.0, START, None, "UTC") is None


@pytest.mark.parametrize(
    ("given", "lengths"),
    [
        (points(1, 2, 3), [3]),
        (points(5), [1]),
        (points(4, 4, 4, 4), [4]),
        (points(1, None, 3, 4), [1, 2]),
        (points(None, 1, 2, None), [2]),
        ([*points(1, 2, 3), (START + timedelta(seconds=1000), 4.0), (START + timedelta(seconds=1060), 5.0)], [3, 2]),
        ([*points(1, 2, 3), (START + timedelta(seconds=420), 4.0)], [4]),
        (points(1, 1e300, 3), [1, 1]),
    ],
    ids=["even", "one point", "flat", "missing value", "missing ends", "gap", "just no gap", "absurd value"],
)
def test_lines_are_cut_at_gaps_and_missing_values(given: Points, lengths: list[int]) -> None:
    assert [len(line.split()) for line in chart(given).lines] == lengths


@pytest.mark.parametrize("limit_c", [None, 0.0, -18.0, 8.0, 60.0, 1e300])
@pytest.mark.parametrize("given", [points(3.2, 11.7, -2.1), points(5.0), points(0.0, 0.0), points(-25.0, -24.5)])
def test_everything_lies_within_the_picture(given: Points, limit_c: float | None) -> None:
    made = chart(given, limit_c)
    places = [tuple(map(float, pair.split(","))) for line in made.lines for pair in line.split()]
    assert all(LEFT <= x <= WIDTH - RIGHT and TOP <= y <= HEIGHT - BOTTOM for x, y in places)
    assert all(TOP <= tick.position <= HEIGHT - BOTTOM for tick in made.y_ticks)
    assert 2 <= len(made.y_ticks) <= 7
    if limit_c is None or limit_c == 1e300:
        assert made.limit_y is None
    else:
        assert made.limit_y is not None
        assert TOP <= made.limit_y <= HEIGHT - BOTTOM


def test_warmer_is_higher_and_later_is_further_right() -> None:
    (line,) = chart(points(2, 9)).lines
    (x1, y1), (x2, y2) = (map(float, pair.split(",")) for pair in line.split())
    assert (x1 < x2, y1 > y2) == (True, True)


def test_the_shade_covers_the_excursion_and_the_time_is_the_sites() -> None:
    given = points(*range(11))
    made = make_chart(given, 8.0, START + timedelta(minutes=5), START + timedelta(minutes=10), "Asia/Shanghai")
    assert made is not None
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    assert made.shade == (pytest.approx(middle, abs=0.1), pytest.approx((WIDTH - LEFT - RIGHT) / 2, abs=0.1))
    assert made.x_ticks[0].label == "08:00:00"
    still = make_chart(given, 8.0, START - timedelta(hours=1), None, "UTC")
    assert still is not None
    assert still.shade == (LEFT, WIDTH - LEFT - RIGHT)
