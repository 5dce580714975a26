"""Defrosts: known by shape after the first, by schedule or contact from the start, and told when they go wrong."""

from __future__ import annotations

from math import exp

import pytest

from telemetry.coldchain.engine import Engine
from telemetry.coldchain.schedule import DailyWindow, DefrostSchedule, FixedWindow, PeriodicWindow
from telemetry.coldchain.settings import SensorSettings
from tests.telemetry.coldchain.made import (
    DAY_S,
    HOUR_S,
    MINUTE_S,
    START_S,
    Series,
    add,
    always,
    heater,
    judge,
    room,
    told,
    towards,
)

FREEZER = SensorSettings(limits=always(-18.0))
EVERY_S = 12 * HOUR_S
FIRST_S = START_S + 30 * HOUR_S


def freezer(days: float, step_s: float = 60.0, skip: tuple[int, ...] = ()) -> Series:
    """A freezer at -21 °C that defrosts every twelve hours from the 30th hour on."""
    series = room(days * 24, -21.0, 0.8, step_s)
    for number in range(int((days * DAY_S - 30 * HOUR_S) // EVERY_S)):
        if number not in skip:
            series = add(series, FIRST_S + number * EVERY_S, 2 * HOUR_S, heater())
    return series


def test_regular_defrosts_are_told_once_at_most_and_then_known() -> None:
    findings = judge(freezer(6), FREEZER)
    assert told(findings, FIRST_S + 2 * HOUR_S) == []
    assert sum(finding.kind == "defrost" for finding in findings) == 9


def test_with_a_schedule_no_defrost_is_ever_told() -> None:
    schedule = DefrostSchedule((PeriodicWindow(FIRST_S, EVERY_S, 3_600.0),))
    settings = SensorSettings(limits=always(-18.0), schedule=schedule, learn_defrosts=False)
    assert told(judge(freezer(6), settings)) == []


def test_with_a_defrost_contact_no_defrost_is_ever_told() -> None:
    engine = Engine({"p": SensorSettings(limits=always(-18.0), learn_defrosts=False)})
    findings = []
    for at_s, value_c in freezer(4):
        phase_s = (at_s - FIRST_S) % EVERY_S
        findings += engine.feed_contact("defrost", at_s, float(at_s >= FIRST_S and phase_s < 2_400))
        findings += engine.feed("p", at_s, value_c)
    assert told(findings) == []


def test_a_defrost_that_does_not_end_is_told_as_such() -> None:
    series = freezer(4, skip=(4,))
    stuck_s = FIRST_S + 4 * EVERY_S
    series = add(series, stuck_s, 6 * HOUR_S, lambda t: min(18.0, 18.0 * t / 2_400))
    first = told(judge(series, FREEZER), stuck_s)[0]
    assert first.code == "defrost_stuck"
    assert first.at_s - stuck_s < 90 * MINUTE_S
    assert any(cause.code == "defrost_stuck" for cause in first.causes)


def test_a_stopped_compressor_is_not_taken_for_a_defrost() -> None:
    stop_s = FIRST_S + 4 * EVERY_S
    series = add(freezer(5, skip=(4, 5, 6)), stop_s, 12 * HOUR_S, towards(40.0, 8 * HOUR_S))
    first = told(judge(series, FREEZER), stop_s)[0]
    assert first.kind == "warning"
    assert first.at_s - stop_s < 90 * MINUTE_S
    assert [cause.code for cause in first.causes] == ["compressor_stopped"]


def test_an_open_door_is_not_taken_for_a_defrost() -> None:
    door_s = FIRST_S + 4 * EVERY_S
    series = add(freezer(4, skip=(4,)), door_s, 3 * HOUR_S, towards(14.0, 400.0))
    first = told(judge(series, FREEZER), door_s)[0]
    assert first.at_s - door_s < 45 * MINUTE_S
    assert [cause.code for cause in first.causes] == ["door_open"]


def test_a_defrost_that_comes_far_too_soon_is_told() -> None:
    series = add(freezer(5, skip=(6,)), FIRST_S + 5 * EVERY_S + 3 * HOUR_S, 2 * HOUR_S, heater())
    assert "defrost_often" in [finding.code for finding in told(judge(series, FREEZER))]


def test_a_defrost_that_stays_away_is_told_once() -> None:
    findings = told(judge(freezer(7, skip=tuple(range(6, 20))), FREEZER), FIRST_S + 6 * EVERY_S)
    assert [finding.code for finding in findings] == ["defrost_late"]


def test_at_fifteen_minutes_no_shape_is_trusted() -> None:
    findings = judge(freezer(6, step_s=900.0), FREEZER)
    assert not any(finding.kind == "defrost" for finding in findings)
    assert told(findings)


def test_the_goods_hardly_see_a_defrost_but_see_all_of_a_fault() -> None:
    engine = Engine({"p": FREEZER})
    judge(freezer(3), FREEZER, engine)
    product_c = engine.probes["p"].product_c
    after_s = START_S + 3 * DAY_S
    judge([(after_s + k * MINUTE_S, -21.0 + 18.0 * min(1.0, k / 40) + k % 2 / 10) for k in range(40)], FREEZER, engine)
    during_c = engine.probes["p"].product_c
    judge([(after_s + k * MINUTE_S, -3.0 + k % 2 / 10) for k in range(40, 240)], FREEZER, engine)
    whole = -3.0 - 18.0 * exp(-(220 * MINUTE_S) / 21_600.0)
    assert during_c - product_c < 0.3
    assert engine.probes["p"].product_c == pytest.approx(whole, abs=1.0)


def test_a_contact_that_goes_with_the_compressor_does_not_explain_a_thaw_for_ever() -> None:
    engine = Engine({"p": SensorSettings(limits=always(-18.0))})
    stop_s = START_S + 30 * HOUR_S
    findings = []
    for at_s, value_c in add(room(48, -20.0), stop_s, 18 * HOUR_S, towards(40.0, 8 * HOUR_S)):
        findings += engine.feed_contact("defrost", at_s, float((at_s - START_S) % 1_800 < 600))
        findings += engine.feed("p", at_s, value_c)
    opened = next(finding for finding in findings if finding.kind == "excursion_opened")
    assert opened.at_s - stop_s < 3 * HOUR_S


def test_a_schedule_without_a_pause_does_not_explain_a_thaw_for_ever() -> None:
    schedule = DefrostSchedule((PeriodicWindow(START_S, 2 * HOUR_S, 3_600.0),))
    stop_s = START_S + 30 * HOUR_S
    series = add(room(48, -20.0), stop_s, 18 * HOUR_S, towards(40.0, 8 * HOUR_S))
    findings = judge(series, SensorSettings(limits=always(-18.0), schedule=schedule))
    opened = next(finding for finding in findings if finding.kind == "excursion_opened")
    assert opened.at_s - stop_s < 3 * HOUR_S


@pytest.mark.parametrize("begun_s", [900.0, 2_400.0, 2_700.0])
def test_a_record_that_begins_in_a_planned_defrost_says_nothing_of_the_goods(begun_s: float) -> None:
    schedule = DefrostSchedule((PeriodicWindow(FIRST_S, EVERY_S, 3_600.0),))
    settings = SensorSettings(limits=always(-18.0), schedule=schedule)
    assert told(judge([item for item in freezer(4) if item[0] >= FIRST_S + begun_s], settings)) == []


def test_a_state_of_the_version_before_is_taken_over() -> None:
    engine, after = Engine({"p": FREEZER}), Engine({"p": FREEZER})
    series = freezer(4)
    judge(series[: 2 * 1_440], FREEZER, engine)
    state = engine.state()
    probe = state["probes"]["p"]
    for part, field in (
        (probe["thaw"], "heated_s"),
        (probe["defrosts"], "recurred_s"),
        (probe["high"], "break_s"),
        (probe["low"], "break_s"),
        (state["lines"]["p"], "behind_now_s"),
        (state["contacts"], "power_back_s"),
    ):
        del part[field]
    after.restore(state)
    later = series[2 * 1_440 :]
    assert judge(later, FREEZER, after) == judge(later, FREEZER, engine) != []


def test_schedule_windows_hold_by_day_by_date_and_by_period() -> None:
    daily = DefrostSchedule((DailyWindow(6 * HOUR_S, 1_800.0, frozenset({3})),), margin_s=0.0)
    midnight = START_S  # Wednesday, 15 November 2023
    assert daily.end_at(midnight + 6 * HOUR_S + 60) == midnight + 6.5 * HOUR_S
    assert daily.end_at(midnight + DAY_S + 6 * HOUR_S + 60) is None
    assert daily.end_at(midnight + 7 * HOUR_S) is None
    late = DefrostSchedule((DailyWindow(23.5 * HOUR_S, HOUR_S),), margin_s=0.0)
    assert late.end_at(midnight + DAY_S + 600) == midnight + 24.5 * HOUR_S  # past midnight
    once = DefrostSchedule((FixedWindow(midnight, 60.0),), margin_s=30.0)
    assert once.end_at(midnight - 20) == midnight + 90
    assert once.end_at(midnight + 91) is None
    periodic = DefrostSchedule((PeriodicWindow(midnight, 40 * HOUR_S, 60.0),), margin_s=0.0)
    assert periodic.end_at(midnight + 80 * HOUR_S + 30) == midnight + 80 * HOUR_S + 60
    assert periodic.end_at(midnight - 40 * HOUR_S) is None
