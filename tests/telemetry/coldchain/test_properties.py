"""What must hold for any series: order, gaps, restarts and clock jumps do not change which excursions are found."""

from __future__ import annotations

import itertools
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.coldchain.engine import Engine
from telemetry.coldchain.finding import Finding
from telemetry.coldchain.settings import SensorSettings
from tests.telemetry.coldchain.made import HOUR_S, MINUTE_S, START_S, Series, add, always, heater, judge, room

STEP_S = 300.0
SETTINGS = SensorSettings(limits=always(8.0, 0.0))
HOURS = 72
Run = tuple[float, float, int]


@st.composite
def runs(draw: st.DrawFn) -> list[Run]:
    """Up to three excursions of two to five hours, far apart, well outside, above or below."""
    starts = draw(st.lists(st.sampled_from([2, 26, 50]), min_size=1, max_size=3, unique=True))
    return [
        (
            START_S + (hour + draw(st.floats(0, 3))) * HOUR_S,
            draw(st.floats(2, 5)) * HOUR_S,
            draw(st.sampled_from([-1, 1])),
        )
        for hour in sorted(starts)
    ]


def series_of(excursions: list[Run]) -> Series:
    series = room(HOURS, step_s=STEP_S, seed_s=100.0)
    for since_s, length_s, sign in excursions:
        series = add(series, since_s, length_s, lambda _, sign=sign: 8.0 * sign)  # type: ignore[misc]
    return series


def found(excursions: list[Run], findings: list[Finding]) -> list[int]:
    """For each true excursion: how many of its side were opened during it; a last number for those opened elsewhere."""
    opened = [finding for finding in findings if finding.kind == "excursion_opened"]
    counts = []
    for since_s, length_s, sign in excursions:
        inside = [f for f in opened if since_s <= f.at_s <= since_s + length_s and (f.side == "high") == (sign > 0)]
        counts.append(len(inside))
        opened = [finding for finding in opened if finding not in inside]
    return [*counts, len(opened)]


@given(runs())
@settings(max_examples=30, deadline=None)
def test_each_excursion_is_found_exactly_once(excursions: list[Run]) -> None:
    assert found(excursions, judge(series_of(excursions), SETTINGS)) == [1] * len(excursions) + [0]


@given(runs(), st.data())
@settings(max_examples=30, deadline=None)
def test_gaps_do_not_change_which_excursions_are_found(excursions: list[Run], data: st.DataObject) -> None:
    series = series_of(excursions)
    for _ in range(data.draw(st.integers(1, 6))):
        since_s = START_S + data.draw(st.floats(0, HOURS)) * HOUR_S
        length_s = data.draw(st.floats(5, 45)) * MINUTE_S
        series = [reading for reading in series if not since_s <= reading[0] < since_s + length_s]
    assert found(excursions, judge(series, SETTINGS)) == [1] * len(excursions) + [0]


@given(runs(), st.lists(st.integers(0, HOURS * 12 - 1), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_restarts_change_nothing_at_all(excursions: list[Run], cuts: list[int]) -> None:
    """Every timer, every word and every figure is the same as without the power cuts."""
    series = add(series_of(excursions), START_S + 44 * HOUR_S, 2 * HOUR_S, heater(height_c=10.0))
    whole = judge(series, SETTINGS)
    engine = Engine({"p": SETTINGS})
    parts: list[Finding] = []
    edges = sorted({0, *cuts, len(series)})
    for start, end in itertools.pairwise(edges):
        parts += judge(series[start:end], SETTINGS, engine)
        saved = json.dumps(engine.state(), allow_nan=False)
        engine = Engine({"p": SETTINGS})
        engine.restore(json.loads(saved))
    assert parts == whole


@given(runs(), st.integers(1, HOURS * 12 - 2), st.integers(1, 8))
@settings(max_examples=30, deadline=None)
def test_late_readings_change_nothing(excursions: list[Run], index: int, late: int) -> None:
    series = series_of(excursions)
    delayed = series[max(0, index - late)]
    mixed = [*series[: index + 1], (delayed[0] - 1.0, 50.0), *series[index + 1 :]]
    assert judge(mixed, SETTINGS) == judge(series, SETTINGS)


@given(runs(), st.integers(10, HOURS * 12 - 10), st.floats(-6, 6).filter(lambda hours: abs(hours) > 0.2))
@settings(max_examples=30, deadline=None)
def test_a_clock_jump_does_not_change_which_excursions_are_found(
    excursions: list[Run], index: int, hours: float
) -> None:
    series = series_of(excursions)
    jumped = [(at_s + hours * HOUR_S if k >= index else at_s, value_c) for k, (at_s, value_c) in enumerate(series)]
    plain = [(f.kind, f.side) for f in judge(series, SETTINGS) if f.kind == "excursion_opened"]
    after = [(f.kind, f.side) for f in judge(jumped, SETTINGS) if f.kind == "excursion_opened"]
    assert after == plain


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]),
            st.one_of(st.floats(-900, 90_000), st.sampled_from([0.0, 60.0, 900.0])),
            st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.floats(-40, 40), st.just(85.0)),
        ),
        max_size=150,
    )
)
@settings(max_examples=100, deadline=None)
def test_no_readings_whatever_break_the_judgement_or_its_state(steps: list[tuple[str, float, float]]) -> None:
    probes = {"a": SETTINGS, "b": SensorSettings(limits=always(-18.0), interval_s=60.0)}
    engine = Engine(probes, twins=(("a", "b"),))
    at_s = START_S
    for name, step_s, value_c in steps:
        at_s += step_s
        findings = [*engine.feed(name, at_s, value_c), *engine.tick(at_s)]
        assert all(isinstance(finding.reason, str) and finding.reason for finding in findings)
    again = Engine(probes, twins=(("a", "b"),))
    again.restore(json.loads(json.dumps(engine.state(), allow_nan=False)))
    assert again.state() == engine.state()
