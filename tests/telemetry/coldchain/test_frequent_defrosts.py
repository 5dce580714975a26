"""Freezers that defrost several times a day, as most do: defrosts are known for what they are and hide nothing."""

from __future__ import annotations

from math import exp

import pytest

from telemetry.coldchain.engine import Engine
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
RAMP_S, FIRST_S = 1_500.0, 3 * HOUR_S + 120.0


def freezer(days: float, every_h: float, step_s: float = 60.0, height_c: float = 26.0) -> Series:
    """A freezer at -20 °C; its defrosts of 25 minutes keep the air above -18 °C for three quarters of an hour."""
    return defrosted(room(days * 24, -20.0, 1.0, step_s), every_h, height_c)


def room_after(series: Series, days: float) -> Series:
    """The same room without defrosts, from the end of *series* on."""
    later_s = series[-1][0] + MINUTE_S - START_S
    return [(at_s + later_s, value_c) for at_s, value_c in room(days * 24, -20.0)]


def defrosted(series: Series, every_h: float, height_c: float = 26.0, first_s: float = FIRST_S) -> Series:
    shape = heater(RAMP_S, height_c, 500.0)

    def warmed(at_s: float, value_c: float) -> float:
        since_s = (at_s - START_S - first_s) % (every_h * HOUR_S) if at_s >= START_S + first_s else 2 * HOUR_S
        return round(value_c + shape(since_s), 1) if since_s < 2 * HOUR_S else value_c

    return [(at_s, warmed(at_s, value_c)) for at_s, value_c in series]


@pytest.mark.parametrize(("every_h", "step_s"), [(4, 60.0), (6, 60.0), (8, 300.0), (6, 300.0), (12, 300.0)])
def test_defrosts_several_times_a_day_are_told_on_the_first_day_at_most(every_h: float, step_s: float) -> None:
    findings = judge(freezer(8, every_h, step_s), FREEZER)
    assert told(findings, START_S + DAY_S) == []
    known = sum(finding.kind == "defrost" for finding in findings)
    assert known >= (8 * 24 - FIRST_S / HOUR_S) // every_h - 2


def test_defrosts_do_not_become_what_is_usual() -> None:
    engine = Engine({"p": FREEZER})
    judge(freezer(8, 4), FREEZER, engine)
    usual_c = engine.probes["p"].habit.high_c
    assert usual_c is not None
    assert usual_c < -17.0


@pytest.mark.parametrize("step_s", [60.0, 300.0])
def test_a_compressor_that_stops_among_frequent_defrosts_is_told_in_time(step_s: float) -> None:
    stop_s = START_S + 5 * DAY_S
    series = add(freezer(6, 6, step_s), stop_s, 12 * HOUR_S, towards(40.0, 8 * HOUR_S))
    findings = judge(series, FREEZER)
    assert told(findings, START_S + DAY_S)[0].at_s - stop_s < 105 * MINUTE_S
    opened = next(finding for finding in findings if finding.kind == "excursion_opened" and finding.at_s > stop_s)
    assert opened.at_s - stop_s < 2 * HOUR_S


def test_an_excursion_ends_although_defrosts_go_on() -> None:
    fault_s = START_S + 4 * DAY_S + 15 * HOUR_S
    series = add(freezer(8, 6), fault_s, 3 * HOUR_S - 600.0, lambda _: 10.0)
    findings = [finding for finding in judge(series, FREEZER) if finding.at_s > fault_s]
    closed = [finding.at_s for finding in findings if finding.kind == "excursion_closed"]
    assert len(closed) == 1
    assert closed[0] - fault_s < 24 * HOUR_S


def test_three_defrosts_in_each_night_are_a_rhythm() -> None:
    series = room(9 * 24, -20.0)
    for hour in (1, 3, 5):
        series = defrosted(series, 24, first_s=hour * HOUR_S + 120.0)
    findings = judge(series, FREEZER)
    assert [finding.code for finding in told(findings, START_S + DAY_S)] == []
    missing = [finding for finding in findings if finding.kind == "defrost"][-1].at_s
    late = told(judge([*series, *room_after(series, 3)], FREEZER), missing)
    assert [finding.code for finding in late] == ["defrost_late"]


def test_a_new_rhythm_is_told_once_and_not_at_each_defrost() -> None:
    change_s = START_S + 5 * DAY_S
    slow, often = freezer(9, 12), freezer(9, 4)
    series = [before if before[0] < change_s else after for before, after in zip(slow, often, strict=True)]
    assert [finding.code for finding in told(judge(series, FREEZER), START_S + DAY_S)] == ["defrost_often"]


def test_deep_spells_that_come_back_are_told_anew_less_and_less() -> None:
    """At fifteen minutes a step nothing tells them from failures: the incident stays open, nobody hears of each."""
    series = [(at_s, -14.0 if at_s % (8 * HOUR_S) < 1.5 * HOUR_S else v) for at_s, v in room(240, -20.0, 1.0, 900.0)]
    spells = [finding for finding in judge(series, FREEZER) if finding.kind == "excursion_opened"]
    assert 1 <= len(spells) <= 3


def test_a_defrost_whose_shape_a_door_spoilt_keeps_the_rhythm() -> None:
    series = freezer(9, 12)
    for number in range(8, 12):
        series = add(series, START_S + FIRST_S + number * 12 * HOUR_S + RAMP_S, 50 * MINUTE_S, lambda _: 6.0)
    findings = judge(series, FREEZER)
    assert [finding.code for finding in told(findings, START_S + DAY_S)] == []


def melting(since_s: float) -> float:
    """Above -20 °C: ten minutes to the melting point, a quarter of an hour there, then on to 6 °C and back."""
    minutes = since_s / 60
    if minutes < 30:
        return min(2.0 * minutes, 20.0) + max(0.0, 1.2 * (minutes - 25))
    return 26.0 * exp((30 - minutes) / 9)


@pytest.mark.parametrize("every_h", [6, 24])
def test_a_defrost_that_pauses_while_its_ice_melts_is_known_too(every_h: float) -> None:
    series = room(8 * 24, -20.0)
    for number in range(int((8 * 24 - 3) // every_h)):
        series = add(series, START_S + FIRST_S + number * every_h * HOUR_S, 1.5 * HOUR_S, melting)
    findings = judge(series, FREEZER)
    assert told(findings, START_S + 2 * DAY_S) == []
    assert sum(finding.kind == "defrost" for finding in findings) >= (8 * 24 - 3) // every_h - 1
