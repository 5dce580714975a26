"""Whether a probe can be believed, and what its silence means."""

from __future__ import annotations

from math import nan

import pytest

from telemetry.coldchain.engine import Engine
from telemetry.coldchain.settings import SensorSettings
from tests.telemetry.coldchain.made import DAY_S, HOUR_S, START_S, add, always, judge, room, told

SETTINGS = SensorSettings(limits=always(8.0, -10.0))


def codes(findings: list) -> list[str]:  # type: ignore[type-arg]
    return [finding.code for finding in findings]


def test_a_probe_that_never_moves_is_told_once() -> None:
    series = room(96)
    stuck_s = START_S + 60 * HOUR_S
    held = [(at_s, 4.3 if at_s >= stuck_s else value_c) for at_s, value_c in series]
    (fault,) = told(judge(held, SETTINGS))
    assert (fault.kind, fault.code) == ("sensor_fault", "stuck")
    assert fault.at_s - stuck_s < 3 * HOUR_S


def test_a_quiet_room_is_not_taken_for_a_stuck_probe() -> None:
    quiet = [(at_s, 3.0 + 0.1 * int(at_s % (6 * HOUR_S) < 3 * HOUR_S)) for at_s, _ in room(24 * 20, step_s=300.0)]
    assert told(judge(quiet, SETTINGS)) == []


@pytest.mark.parametrize("code_c", [-127.0, 85.0, 999.0])
def test_an_error_code_is_a_fault_after_three_readings_and_never_an_excursion(code_c: float) -> None:
    since_s = START_S + 30 * HOUR_S
    broken = [(at_s, code_c if at_s >= since_s else value_c) for at_s, value_c in room(34)]
    findings = told(judge(broken, SETTINGS))
    assert [(f.kind, (f.at_s - since_s) / 60) for f in findings] == [("sensor_fault", 2.0)]


def test_one_impossible_value_is_nobody_s_business() -> None:
    spiked = [(at_s, 85.0 if index == 2_000 else value_c) for index, (at_s, value_c) in enumerate(room(48))]
    assert judge(spiked, SETTINGS) == []


def test_a_jump_that_stays_is_told_and_then_judged() -> None:
    since_s = START_S + 30 * HOUR_S
    findings = told(judge(add(room(34), since_s, 4 * HOUR_S, lambda _: 40.0), SETTINGS))
    assert codes(findings)[0] == "fault_jump"
    assert "excursion_opened" in [finding.kind for finding in findings]


def test_a_slow_drift_is_told_within_days() -> None:
    since_s = START_S + 14 * DAY_S
    drifting = add(room(24 * 24, step_s=300.0), since_s, 10 * DAY_S, lambda t: -0.5 * t / DAY_S)
    first = told(judge(drifting, SETTINGS))[0]
    assert first.side == "low"
    assert 0 < first.at_s - since_s < 6 * DAY_S


def test_twins_that_part_are_told_and_the_odd_one_is_named() -> None:
    settings = {"a": SETTINGS, "b": SETTINGS}
    engine = Engine(settings, twins=(("a", "b"),))
    findings = []
    since_s = START_S + 6 * DAY_S
    for at_s, value_c in room(24 * 9, step_s=300.0):
        drift_c = min(1.6, 1.0 * max(0.0, at_s - since_s) / DAY_S)
        findings += engine.feed("a", at_s, value_c)
        findings += engine.feed("b", at_s, round(value_c - 0.3 - drift_c, 1))
    (twin,) = [finding for finding in findings if finding.code == "twin_drift"]
    assert twin.kind == "sensor_fault"
    assert twin.sensor == "b"


def test_a_gap_is_told_once_and_at_the_time_it_was_due() -> None:
    series = [(at_s, value_c) for at_s, value_c in room(48) if not 20 < (at_s - START_S) / HOUR_S < 30]
    (gap,) = told(judge(series, SETTINGS))
    assert gap.kind == "data_gap"
    assert (gap.at_s - START_S) / HOUR_S == 20.5
    engine = Engine({"p": SETTINGS})
    judge(room(20), SETTINGS, engine)
    ticks = [finding for minute in range(90) for finding in engine.tick(START_S + 20 * HOUR_S + minute * 60)]
    assert codes(ticks) == ["data_gap"]


def test_the_usual_interval_is_learned_so_slow_probes_have_no_gaps() -> None:
    assert told(judge(room(96, step_s=840.0), SETTINGS)) == []
    slow = judge(room(96, step_s=1_500.0), SETTINGS)
    assert told(slow) == []


def test_a_value_that_is_no_number_is_left_out() -> None:
    engine = Engine({"p": SETTINGS})
    assert engine.feed("p", START_S, nan) == []
    assert engine.probes["p"].first_s is None


def test_a_late_reading_changes_nothing_and_a_clock_set_back_is_followed() -> None:
    engine = Engine({"p": SensorSettings(limits=always(8.0), product_lag_s=1e6)})
    outside = [(START_S + k * 60.0, 9.0 + k % 2 / 10) for k in range(30)]
    judge([(START_S - 600.0, 4.0), (START_S - 540.0, 4.1), *outside], SETTINGS, engine)
    assert engine.feed("p", START_S + 300.0, 2.0) == []  # late: it would have ended the run
    back = [(START_S - 7_200.0 + k * 60.0, 9.0 + k % 2 / 10) for k in range(30)]
    findings = judge(back, SETTINGS, engine)
    assert [finding.kind for finding in findings] == ["excursion_opened"]
    assert START_S - 7_200.0 + 14 * 60 <= findings[0].at_s <= START_S - 7_200.0 + 17 * 60
