"""Late readings and clocks: old readings in a bunch change nothing, a clock set back moves no plan and no limit."""

from __future__ import annotations

from telemetry.coldchain.engine import Engine
from telemetry.coldchain.finding import Finding
from telemetry.coldchain.order import TimeLine
from telemetry.coldchain.schedule import DailyWindow, DefrostSchedule
from telemetry.coldchain.settings import SensorSettings
from tests.telemetry.coldchain.made import DAY_S, HOUR_S, MINUTE_S, START_S, add, always, heater, room, told

TICK_S = 20.0


def defrosted(days: int) -> list[tuple[float, float]]:
    """A freezer that defrosts each day at six."""
    series = room(days * 24, -21.0, 0.8)
    for day in range(days):
        series = add(series, START_S + day * DAY_S + 6 * HOUR_S, 2 * HOUR_S, heater())
    return series


def planned() -> Engine:
    schedule = DefrostSchedule((DailyWindow(6 * HOUR_S, HOUR_S),))
    return Engine({"p": SensorSettings(limits=always(-18.0), learn_defrosts=False, schedule=schedule)})


def test_a_plan_is_kept_by_the_new_time_after_a_clock_was_set_back() -> None:
    engine, findings = planned(), []
    for at_s, value_c in defrosted(4):
        findings += engine.feed("p", at_s + (3 * HOUR_S if at_s < START_S + 4 * HOUR_S else 0.0), value_c)
    assert engine.lines["p"].shift_s > 2.9 * HOUR_S
    assert told(findings) == []


def test_a_plan_is_kept_after_one_reading_of_the_far_future() -> None:
    engine, findings = planned(), []
    for index, (at_s, value_c) in enumerate(defrosted(3)):
        findings += engine.feed("p", at_s + (400 * DAY_S + 5 * HOUR_S if index == 100 else 0.0), value_c)
    assert [finding.code for finding in told(findings)] == ["data_gap"]


def test_the_words_of_a_finding_say_the_new_time() -> None:
    engine, findings = Engine({"p": SensorSettings(limits=always(8.0))}), []
    for at_s, value_c in add(room(40), START_S + 30 * HOUR_S, 10 * HOUR_S, lambda _: 6.0):
        findings += engine.feed("p", at_s + (3 * HOUR_S if at_s < START_S + 4 * HOUR_S else 0.0), value_c)
    opened = next(finding for finding in findings if finding.kind == "excursion_opened")
    assert opened.at_s - START_S < 31 * HOUR_S
    assert "since 06:0" in opened.reason


def test_the_contact_of_a_defrost_is_understood_beside_a_probe_whose_clock_was_set_back() -> None:
    engine = Engine({"p": SensorSettings(limits=always(-18.0), learn_defrosts=False)})
    findings: list[Finding] = []
    for at_s, value_c in defrosted(3):
        heating = 6 * HOUR_S <= (at_s - START_S) % DAY_S < 6 * HOUR_S + 2_400
        findings += engine.feed_contact("defrost", at_s, float(heating))
        findings += engine.feed("p", at_s + (3 * HOUR_S if at_s < START_S + 4 * HOUR_S else 0.0), value_c)
    assert told(findings) == []


def test_old_readings_sent_in_a_bunch_are_left_out() -> None:
    """A logger comes back: first its newest reading, then its store of half a day, oldest first."""
    series = add(room(96, step_s=300.0), START_S + 60 * HOUR_S, HOUR_S, lambda _: 6.0)
    before, away, after = series[: 40 * 12], series[40 * 12 : 52 * 12], series[52 * 12 :]
    store = [(at_s, 12.0) for at_s, _ in away]
    results = []
    for sent in ([], store):
        engine, findings = Engine({"p": SensorSettings(limits=always(8.0))}), []
        for at_s, value_c in [*before, after[0]]:
            findings += [*engine.tick(at_s), *engine.feed("p", at_s, value_c)]
        for number, (at_s, value_c) in enumerate(sent):
            findings += engine.feed("p", at_s, value_c)
            findings += engine.tick(after[0][0] + number * 1.5)
        for at_s, value_c in after[1:]:
            findings += [*engine.tick(at_s), *engine.feed("p", at_s, value_c)]
        results.append([(finding.kind, finding.at_s) for finding in findings])
    assert results[1] == results[0]


def test_a_clock_set_back_is_followed_within_two_minutes_of_ticks() -> None:
    line, now_s = TimeLine(), START_S
    assert line.place(now_s, now_s) == START_S
    placed = [line.place(START_S - HOUR_S + k * TICK_S, START_S + k * TICK_S) for k in range(1, 7)]
    assert placed[0] is None
    assert placed[-1] is not None
    assert START_S < placed[-1] <= START_S + 2 * MINUTE_S
