"""The goods' temperature, figures for information, and the forecast of a crossing."""

from __future__ import annotations

from math import exp, log

import pytest

from telemetry.coldchain.kinetic import DangerClock, mean_kinetic_c
from telemetry.coldchain.product import crossing_s, estimate_series, fit_lag_s, follow
from telemetry.coldchain.settings import SensorSettings
from tests.telemetry.coldchain.made import START_S, add, always, judge, room, told, towards


def test_mean_kinetic_temperature_gives_the_check_value() -> None:
    assert mean_kinetic_c([5.0] * 90 + [12.0] * 6) == pytest.approx(5.66, abs=0.005)
    assert mean_kinetic_c([-18.0] * 10) == pytest.approx(-18.0)
    with pytest.raises(ValueError, match="at least one"):
        mean_kinetic_c([])


def test_goods_follow_a_step_of_the_air_with_their_lag() -> None:
    assert follow(4.0, 12.0, 5_400.0, 5_400.0) == pytest.approx(12 - 8 / exp(1))
    assert follow(4.0, 12.0, 0.0, 5_400.0) == 4.0


@pytest.mark.parametrize("lag_s", [900.0, 5_400.0, 21_600.0])
def test_a_lag_is_fitted_back_from_a_core_probe(lag_s: float) -> None:
    times_s = [index * 300.0 for index in range(400)]
    air_c = [4.0 + (6.0 if 100 < index < 200 else 0.0) for index in range(400)]
    core_c = [round(value, 2) for value in estimate_series(times_s, air_c, lag_s, 4.0)]
    assert fit_lag_s(times_s, air_c, core_c) == pytest.approx(lag_s, rel=0.05)


def test_a_core_that_does_not_move_gives_no_lag() -> None:
    with pytest.raises(ValueError, match="hardly moves"):
        fit_lag_s([float(k) for k in range(20)], [4.0] * 20, [4.0] * 20)


def test_crossing_at_constant_air_is_the_analytic_time() -> None:
    expected_s = 5_400.0 * log((10 - 4) / (10 - 8))
    assert crossing_s(4, 10, 0.0, 8, 5_400.0, 3_600.0, 86_400.0) == pytest.approx(expected_s, rel=0.01)
    assert crossing_s(4, 7.9, 0.0, 8, 5_400.0, 3_600.0, 86_400.0) is None
    assert crossing_s(4, 8.5, 0.0, 8, 5_400.0, 3_600.0, 3_600.0) is None  # beyond the horizon


def test_a_rising_trend_crosses_sooner_than_a_steady_one() -> None:
    steady = crossing_s(4, 9, 0.0, 8, 5_400.0, 3_600.0, 86_400.0)
    rising = crossing_s(4, 9, 1 / 1_800, 8, 5_400.0, 3_600.0, 86_400.0)
    assert steady is not None
    assert rising is not None
    assert rising < steady


def test_danger_clock_speaks_once_after_two_hours_in_all() -> None:
    clock = DangerClock()
    spoken = [clock.feed(20.0, 600.0) for _ in range(20)]
    assert spoken.index(True) == 11
    assert spoken.count(True) == 1
    assert not any(clock.feed(5.0, 600.0) for _ in range(100))
    assert not clock.feed(20.0, 600.0)  # not a day of safety yet: the two hours are still used up and told


def test_food_left_at_room_temperature_is_told_even_without_a_limit_excursion_rule() -> None:
    settings = SensorSettings(limits=always(8.0), product_lag_s=600.0)
    findings = judge([*room(2), *((START_S + 7_200 + k * 60.0, 20.0 + k % 2 / 10) for k in range(300))], settings)
    (danger,) = [finding for finding in findings if finding.code == "danger_zone"]
    assert danger.severity == "critical"
    assert 2 * 3_600 <= danger.at_s - START_S - 7_200 <= 2.3 * 3_600


def test_hot_food_that_cools_down_is_warned_of_before_its_low_limit() -> None:
    settings = SensorSettings(limits=always(low_c=60.0), danger_zone=True, product_lag_s=5_400.0)
    since_s = START_S + 40 * 3_600
    series = add(room(46, mean_c=68.0), since_s, 6 * 3_600, towards(-40.0, 2 * 3_600))
    findings = judge(series, settings)
    warning, opened = told(findings)[0], next(f for f in findings if f.kind == "excursion_opened")
    assert (warning.kind, warning.side) == ("warning", "low")
    assert warning.forecast_at_s is not None
    assert warning.at_s < opened.at_s
    assert "falling" in warning.reason
    assert any(finding.code == "danger_zone" for finding in findings)
