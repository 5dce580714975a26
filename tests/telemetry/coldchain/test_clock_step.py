"""A clock that is put right in the midst of a run: timers do not notice, the calendar does."""

from __future__ import annotations

import json
from dataclasses import replace
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.coldchain.engine import Engine
from telemetry.coldchain.finding import Finding
from telemetry.coldchain.schedule import DailyWindow, DefrostSchedule
from telemetry.coldchain.settings import LimitSpan, SensorSettings
from telemetry.coldchain.wording import Phrase
from tests.telemetry.coldchain.made import DAY_S, HOUR_S, MINUTE_S, START_S, Series, add, always, heater, kinds, room

YEARS_S = 40 * 365 * 86_400
SETTINGS = SensorSettings(limits=always(8.0, 0.0))


def troubled_days() -> Series:
    """A heater's rise, an excursion while the door stands open, a hole, a rise that stays under the limit."""
    series = room(64, step_s=MINUTE_S)
    series = add(series, START_S + 30 * HOUR_S, 1.2 * HOUR_S, heater(height_c=10.0))
    series = add(series, START_S + 36 * HOUR_S, 3 * HOUR_S, lambda _: 8.0)
    series = add(series, START_S + 58 * HOUR_S, 5 * HOUR_S, lambda t: min(t / HOUR_S, 2.9))
    return [item for item in series if not 50 * HOUR_S <= item[0] - START_S < 52 * HOUR_S]


def run(engine: Engine, series: Series, ahead_s: float = 0.0) -> list[Finding]:
    """The findings of a box whose clock is *ahead_s* ahead, with their times put right."""
    found: list[Finding] = []
    for at_s, value_c in series:
        told_s = at_s + ahead_s
        found += engine.feed("p", told_s, value_c)
        if (at_s - START_S) % (10 * MINUTE_S) == 0:
            is_open = 36 <= (at_s - START_S) / HOUR_S < 36.5
            found += engine.feed_contact("door", told_s, float(is_open))
        found += engine.tick(told_s)
    return [in_true_time(finding, ahead_s) for finding in found]


def in_time(said: Phrase, ahead_s: float) -> Phrase:
    moved = said.moved(-ahead_s)
    return replace(moved, args=tuple((n, v if isinstance(v, str) else round(v, 3)) for n, v in moved.args))


def in_true_time(finding: Finding, ahead_s: float) -> Finding:
    """Without words, which name times of the clock as it was."""
    forecast_s = None if finding.forecast_at_s is None else round(finding.forecast_at_s - ahead_s, 3)
    causes = tuple(replace(cause, evidence="", said=in_time(cause.said, ahead_s)) for cause in finding.causes)
    said = tuple(in_time(phrase, ahead_s) for phrase in finding.said)
    return replace(finding, at_s=finding.at_s - ahead_s, forecast_at_s=forecast_s, reason="", causes=causes, said=said)


SERIES = troubled_days()
EXPECTED = run(Engine({"p": SETTINGS}), SERIES)


def test_unstepped_days_have_what_a_jump_could_disturb() -> None:
    assert {"excursion_opened", "excursion_closed", "data_gap", "warning"} <= set(kinds(EXPECTED))
    assert any(finding.code == "door_open_long" for finding in EXPECTED)


@given(st.integers(1, len(SERIES) - 1), st.integers(-YEARS_S, YEARS_S), st.booleans())
@settings(max_examples=20, deadline=None)
def test_step_of_any_size_at_any_reading_changes_no_finding(cut: int, offset_s: int, restart: bool) -> None:
    engine = Engine({"p": SETTINGS})
    found = run(engine, SERIES[:cut], -offset_s)
    engine.step_clock(offset_s)
    if restart:
        state = json.loads(json.dumps(engine.state()))
        engine = Engine({"p": SETTINGS})
        engine.restore(state)
    found += run(engine, SERIES[cut:])
    # hours and days begin by the clock of the start, so what is learned by the hour is shifted with them
    whole = run(Engine({"p": SETTINGS}), SERIES, -offset_s)
    assert found == whole


def test_dated_limit_and_words_follow_the_clock_once_it_is_right() -> None:
    spans = (LimitSpan(float("-inf"), 12.0), LimitSpan(START_S + 10 * HOUR_S, 8.0))
    engine = Engine({"p": SensorSettings(limits=spans)}, zone=ZoneInfo("Asia/Shanghai"))
    wrong_s = -100 * DAY_S - 5_000.0
    warm = add(room(16, step_s=MINUTE_S), START_S, 16 * HOUR_S, lambda _: 6.0)
    early, late = warm[:120], warm[120:]
    assert all(finding.kind != "excursion_opened" for finding in run(engine, early, wrong_s))
    engine.step_clock(-wrong_s)
    opened = [finding for at_s, value_c in late for finding in engine.feed("p", at_s, value_c)]
    excursion = next(finding for finding in opened if finding.kind == "excursion_opened")
    assert excursion.limit_c == 8.0
    assert 10 * HOUR_S <= excursion.at_s - START_S <= 11 * HOUR_S


def test_planned_defrost_is_known_by_the_right_time_of_day() -> None:
    schedule = DefrostSchedule((DailyWindow(6 * HOUR_S, 45 * MINUTE_S),))
    engine = Engine({"p": SensorSettings(limits=always(8.0), schedule=schedule, learn_defrosts=False)})
    series = add(room(60, step_s=MINUTE_S), START_S + 54 * HOUR_S, 1.2 * HOUR_S, heater(height_c=14.0))
    wrong_s = -7 * HOUR_S
    before = run(engine, series[:120], wrong_s)
    engine.step_clock(-wrong_s)
    after = run(engine, series[120:])
    assert [finding.code for finding in before + after] == ["door_open_long", "defrost"]
