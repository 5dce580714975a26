"""The compliance judgement: when an excursion opens, how long it stays, what it weighs."""

from __future__ import annotations

import json
from itertools import pairwise

from telemetry.coldchain.engine import Engine
from telemetry.coldchain.settings import LimitSpan, SensorSettings
from tests.telemetry.coldchain.made import DAY_S, HOUR_S, MINUTE_S, START_S, always, judge, kinds, room, told

FRIDGE = SensorSettings(limits=always(8.0, 0.0), danger_zone=False)


def level(minutes: int, value_c: float, since_min: int = 0) -> list[tuple[float, float]]:
    """A slowly moving level: 0.1 °C up and down, so that the probe does not count as stuck."""
    return [(START_S + (since_min + k) * MINUTE_S, value_c + (0.1 if k % 2 else 0.0)) for k in range(minutes)]


def opened(findings: list) -> list[float]:  # type: ignore[type-arg]
    return [(f.at_s - START_S) / MINUTE_S for f in findings if f.kind == "excursion_opened"]


def test_opens_after_45_minutes_outside_and_not_before() -> None:
    settings = SensorSettings(limits=always(8.0), product_lag_s=1e6)
    findings = judge(level(30, 4) + level(120, 9, since_min=30), settings)
    assert opened(findings) == [75.0]
    assert "since" in next(f.reason for f in findings if f.kind == "excursion_opened")


def test_noise_on_the_limit_does_not_begin_the_45_minutes_anew() -> None:
    settings = SensorSettings(limits=always(8.0), product_lag_s=1e6)
    outside = [(START_S + k, 7.9 if k % 300 < 20 else 8.6 + 0.1 * (k % 2)) for k in range(3_600)]
    (minute,) = opened(judge([(START_S - 60.0, 4.0), *((at_s, value_c) for at_s, value_c in outside)], settings))
    assert 45 <= minute < 46


def test_a_minute_inside_begins_the_45_minutes_anew() -> None:
    settings = SensorSettings(limits=always(8.0), product_lag_s=1e6)
    outside = [(START_S + k, 7.9 if k % 1_800 < 70 else 8.6 + 0.1 * (k % 2)) for k in range(0, 14_400, 10)]
    assert opened(judge([(START_S - 60.0, 4.0), *outside], settings)) == []


def test_opens_at_once_when_the_product_is_outside() -> None:
    settings = SensorSettings(limits=always(8.0), product_lag_s=600.0)
    (minute,) = opened(judge(level(60, 4) + level(60, 12, since_min=60), settings))
    assert 60 < minute < 72  # 4 of 8 °C of the step are done after lag · ln 2 = 7 min


def test_short_crossings_open_nothing_but_more_than_half_a_day_of_them_does() -> None:
    settings = SensorSettings(limits=always(8.0), product_lag_s=1e6)
    few = [(at_s, 9.0 if at_s % HOUR_S >= 2_400 else 6.0) for at_s, _ in room(48)]
    many = [(at_s, 9.0 if at_s % HOUR_S >= 1_200 else 6.0) for at_s, _ in room(48)]
    assert opened(judge(few, settings)) == []
    (minute,) = opened(judge(many, settings))
    assert 17 * 60 < minute < 19 * 60  # 12 h outside at 40 min an hour are reached after 18 h


def test_stays_open_through_relapses_and_closes_after_calm() -> None:
    settings = SensorSettings(limits=always(8.0), product_lag_s=600.0, close_after_s=6 * HOUR_S)
    flapping = [(at_s, 9.5 if at_s % (2 * HOUR_S) < HOUR_S else 6.0 + at_s % 120 / 600) for at_s, _ in room(10)]
    calm = [(flapping[-1][0] + k * MINUTE_S, 6.0 + k % 2 / 10) for k in range(1, 8 * 60)]
    findings = [f for f in judge(flapping + calm, settings) if f.kind in ("excursion_opened", "excursion_closed")]
    assert kinds(findings) == ["excursion_opened", "excursion_closed"]
    assert findings[1].at_s - flapping[-1][0] >= settings.close_after_s - 2 * HOUR_S


def test_the_hold_doubles_with_each_relapse_and_is_forgotten_in_peace() -> None:
    settings = SensorSettings(limits=always(8.0), product_lag_s=600.0, close_after_s=HOUR_S, danger_zone=False)
    series = []
    for minute in range(6 * 24 * 60):
        out = minute % (12 * 60) < 60 and minute < 4 * 24 * 60
        series.append((START_S + minute * MINUTE_S, (10.0 if out else 5.0) + minute % 2 / 10))
    findings = judge(series, settings)
    holds = [
        close.at_s - open_.at_s
        for open_, close in pairwise(f for f in findings if f.kind in ("excursion_opened", "excursion_closed"))
        if open_.kind == "excursion_opened"
    ]
    assert len(holds) >= 4
    assert holds[0] < holds[1] < holds[2] < holds[3]


def test_a_deep_relapse_after_hours_of_calm_is_an_excursion_of_its_own() -> None:
    settings = SensorSettings(limits=always(8.0), product_lag_s=600.0, danger_zone=False)
    series = level(60, 4) + level(120, 12, since_min=60) + level(300, 4, since_min=180)
    shallow, deep = level(120, 9, since_min=480), level(120, 12, since_min=480)
    assert len(opened(judge(series + shallow, settings))) == 1
    findings = [f for f in judge(series + deep, settings) if f.kind in ("excursion_opened", "excursion_closed")]
    assert kinds(findings) == ["excursion_opened", "excursion_closed", "excursion_opened"]
    assert findings[1].at_s == findings[2].at_s


def test_severity_follows_depth_times_duration() -> None:
    settings = SensorSettings(limits=always(8.0), product_lag_s=1e6)
    findings = judge(level(30, 4) + level(600, 11, since_min=30), settings)
    rises = [f for f in findings if f.kind in ("excursion_opened", "excursion_updated")]
    assert [f.severity for f in rises] == ["warning", "critical"]


def test_both_sides_are_judged_and_a_withdrawn_limit_closes() -> None:
    span = LimitSpan(START_S + 5 * HOUR_S, 8.0, None)
    settings = SensorSettings(limits=(LimitSpan(START_S, 8.0, 0.0), span), product_lag_s=600.0)
    findings = [f for f in judge(level(600, -3), settings) if f.kind.startswith("excursion")]
    assert [(f.kind, f.side) for f in findings if f.kind != "excursion_updated"] == [
        ("excursion_opened", "low"),
        ("excursion_closed", "low"),
    ]
    assert findings[-1].at_s == START_S + 5 * HOUR_S


def test_a_dated_limit_holds_from_its_date() -> None:
    settings = SensorSettings(
        limits=(LimitSpan(START_S, 8.0), LimitSpan(START_S + DAY_S, 5.0)), product_lag_s=1e6, danger_zone=False
    )
    (minute,) = opened(judge([(at_s, 6.0 + at_s % 120 / 600) for at_s, _ in room(30)], settings))
    assert minute == 24 * 60  # the goods were at 6 °C already: they are outside as soon as 5 °C holds


def test_a_timer_survives_a_power_cut_to_the_second() -> None:
    settings = SensorSettings(limits=always(8.0), product_lag_s=1e6)
    before, after = level(30, 4) + level(44, 9, since_min=30), level(60, 9, since_min=74)
    first = Engine({"p": settings})
    assert opened(judge(before, settings, first)) == []
    saved = json.dumps(first.state())
    second = Engine({"p": settings})
    second.restore(json.loads(saved))
    assert opened(judge(after, settings, second)) == [75.0]


def test_an_excursion_across_a_gap_is_found_at_the_first_reading_after_it() -> None:
    settings = SensorSettings(limits=always(8.0), product_lag_s=1e6)
    findings = judge(level(30, 4) + level(5, 9, since_min=30) + level(5, 9, since_min=300), settings)
    assert opened(findings) == [300.0]
    assert [f.kind for f in told(findings)] == ["data_gap", "excursion_opened"]
