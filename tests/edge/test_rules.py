"""Threshold with delay: exact openings and closings, unchanged by a restart at any reading."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.rules import ExcursionState, SensorHealth, ThresholdLimit, ThresholdRule
from telemetry.messages import Event, Reading

START = datetime(2026, 1, 2, tzinfo=UTC)
LIMIT = ThresholdLimit("air", "空气", "冷藏库 1", 8.0, 0.0, 60.0, 0.5, "critical")
Step = tuple[float, float | None]  # seconds after START, °C or None when the probe gave nothing


def reading(at_s: float, value_c: float | None, quality: str = "good") -> Reading:
    return Reading.model_validate(
        {
            "sensor_id": "air", "quantity": "temperature", "value": value_c, "unit": "°C",
            "observed_at": START + timedelta(seconds=at_s), "quality": "bad" if value_c is None else quality,
        }
    )  # fmt: skip


def numbered() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"incident-{next(numbers)}"


def feed(rule: ThresholdRule, steps: Sequence[Step]) -> list[tuple[float, str, str]]:
    """What opened and closed: (seconds after START, opened or closed, side)."""
    return [told(event) for at_s, value in steps for event in rule.feed(reading(at_s, value))]


def told(event: Event) -> tuple[float, str, str]:
    return (event.at - START).total_seconds(), event.type.rpartition("_")[2], str(event.data["side"])


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(0, 5), (100, 8), (200, 0)], []),  # on the limit is inside
        ([(0, 8.1), (59.9, 8.1)], []),
        ([(0, 8.1), (60, 8.1)], [(60, "opened", "high")]),
        ([(0, 8.1), (30, 8.0), (60, 8.1), (119, 9)], []),  # inside once: the wait begins anew
        ([(0, 8.1), (30, 8.0), (60, 8.1), (120, 9)], [(120, "opened", "high")]),
        ([(0, 9), (60, 9), (70, 9), (999, 9)], [(60, "opened", "high")]),  # opens once
        ([(0, 9), (60, 9), (70, 7.6), (80, 7.5)], [(60, "opened", "high"), (80, "closed", "high")]),  # hysteresis
        ([(0, -0.1), (60, -3), (70, 0.4), (80, 0.5)], [(60, "opened", "low"), (80, "closed", "low")]),
        ([(0, 9), (30, None), (60, 9)], [(60, "opened", "high")]),  # a missing value changes nothing
        ([(0, 9), (60, None), (61, 9)], [(61, "opened", "high")]),
        ([(0, 9), (60, 9), (70, None)], [(60, "opened", "high")]),  # and does not close
        ([(0, 9), (30, -1), (89, -1)], []),  # the other side starts its own wait, at once
        ([(0, 9), (30, -1), (90, -1)], [(90, "opened", "low")]),
        (
            [(0, 9), (60, 9), (70, -1), (130, -1)],
            [(60, "opened", "high"), (70, "closed", "high"), (130, "opened", "low")],
        ),
        (
            [(0, 9), (60, 9), (70, 5), (80, 9), (140, 9)],
            [(60, "opened", "high"), (70, "closed", "high"), (140, "opened", "high")],
        ),
    ],
)
def test_excursion_opens_after_its_delay_and_closes_beyond_the_hysteresis(
    steps: list[Step], expected: list[tuple[float, str, str]]
) -> None:
    assert feed(ThresholdRule(LIMIT), steps) == expected


def test_without_delay_an_excursion_opens_at_its_first_reading_even_from_the_other_side() -> None:
    rule = ThresholdRule(replace(LIMIT, delay_s=0))
    steps = [(0, 9.0), (10, -1.0)]
    assert feed(rule, steps) == [(0, "opened", "high"), (10, "closed", "high"), (10, "opened", "low")]


def test_limit_with_one_side_ignores_the_other() -> None:
    assert feed(ThresholdRule(replace(LIMIT, low_c=None)), [(0, -40), (600, -40)]) == []
    assert feed(ThresholdRule(replace(LIMIT, high_c=None)), [(0, 40), (600, 40)]) == []


def test_value_below_the_low_limit_ends_a_high_excursion_whatever_the_hysteresis() -> None:
    rule = ThresholdRule(replace(LIMIT, low_c=7.9))
    assert feed(rule, [(0, 9), (60, 9), (70, 7.8)])[-1] == (70, "closed", "high")


def test_value_of_a_bad_reading_is_not_judged() -> None:
    rule = ThresholdRule(replace(LIMIT, delay_s=0))
    assert rule.feed(reading(0, 99.0, "bad")) == []
    assert rule.feed(reading(1, 99.0, "suspect")) != []


def test_clock_set_back_never_delays_an_alarm_beyond_one_more_delay() -> None:
    rule = ThresholdRule(LIMIT)
    assert feed(rule, [(3600, 9), (0, 9), (59, 9), (60, 9)]) == [(60, "opened", "high")]


def test_event_names_limit_value_peak_and_beginning() -> None:
    rule = ThresholdRule(LIMIT, make_id=numbered())
    rule.feed(reading(0, 9.0))
    rule.feed(reading(30, 12.5))
    [opened] = rule.feed(reading(60, 10.0))
    assert (opened.event_id, opened.incident_id, opened.severity) == ("incident-1.opened", "incident-1", "critical")
    wanted = {"limit_c": 8.0, "value_c": 10.0, "peak_c": 12.5, "since": START.isoformat(), "delay_s": 60.0}
    assert wanted.items() <= opened.data.items()
    [closed] = rule.feed(reading(90, 5.0))
    assert (closed.incident_id, closed.data["peak_c"], closed.data["value_c"]) == ("incident-1", 12.5, 5.0)


STEPS = st.lists(
    st.tuples(
        st.integers(1, 40), st.one_of(st.none(), st.sampled_from([-3.0, -0.1, 0.0, 0.4, 0.5, 4.0, 7.5, 7.6, 8.1, 20.0]))
    ),
    max_size=30,
)


@given(STEPS, st.sampled_from([0.0, 30.0, 60.0]))
def test_restart_after_any_reading_gives_the_same_events(gaps: list[tuple[int, float | None]], delay_s: float) -> None:
    limit = replace(LIMIT, delay_s=delay_s)
    readings = []
    at_s = 0
    for gap_s, value in gaps:
        at_s += gap_s
        readings.append(reading(at_s, value))
    straight = ThresholdRule(limit, make_id=numbered())
    expected = [event for item in readings for event in straight.feed(item)]
    make_id = numbered()
    events: list[Event] = []
    saved = ExcursionState().model_dump_json()
    for item in readings:  # restarted before every single reading, so before each of them
        rule = ThresholdRule(limit, ExcursionState.model_validate_json(saved), make_id)
        events += rule.feed(item)
        saved = rule.state.model_dump_json()
    assert events == expected
    kinds = [event.type for event in events]
    assert kinds == (["excursion_opened", "excursion_closed"] * len(kinds))[: len(kinds)], "they alternate"


@pytest.mark.parametrize("is_open", [True, False])
def test_side_taken_out_of_the_configuration_ends_its_excursion_at_the_next_reading(is_open: bool) -> None:
    rule = ThresholdRule(LIMIT)
    feed(rule, [(0, 9), (60, 9)] if is_open else [(0, 9)])
    changed = ThresholdRule(replace(LIMIT, high_c=None), rule.state)
    assert feed(changed, [(70, 9), (80, 9)]) == ([(70, "closed", "high")] if is_open else [])


def health_events(health: SensorHealth, values: Sequence[float | None]) -> list[tuple[int, str]]:
    return [
        (number, event.type)
        for number, value in enumerate(values)
        for event in health.feed(reading(number, value), "空气", "冷藏库 1")
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([None, None, 4.0, None, None, 4.0], []),
        ([None, None, None, None, None], [(2, "sensor_fault")]),
        ([None, None, None, 4.0, 4.0], [(2, "sensor_fault"), (3, "sensor_recovered")]),
        ([None] * 3 + [4.0] + [None] * 3, [(2, "sensor_fault"), (3, "sensor_recovered"), (6, "sensor_fault")]),
    ],
)
def test_three_failures_in_a_row_are_one_fault_until_the_next_value(
    values: list[float | None], expected: list[tuple[int, str]]
) -> None:
    assert health_events(SensorHealth(), values) == expected


@given(st.lists(st.sampled_from([None, 4.0]), max_size=20))
def test_sensor_health_is_the_same_across_restarts(values: list[float | None]) -> None:
    expected = health_events(SensorHealth(), values)
    found = []
    saved = "{}"
    for number, value in enumerate(values):
        health = SensorHealth.model_validate_json(saved)
        found += [(number, event.type) for event in health.feed(reading(number, value), "空气", "")]
        saved = health.model_dump_json()
    assert found == expected


def test_fault_and_recovery_share_their_incident_and_tell_the_reason() -> None:
    health = SensorHealth()
    bad = reading(0, None).model_copy(update={"reason": "no answer"})
    fault = next(event for _ in range(3) for event in health.feed(bad, "空气", ""))
    [recovered] = health.feed(reading(9, 4.0), "空气", "")
    assert fault.data["reason"] == "no answer"
    assert fault.incident_id == recovered.incident_id
    assert (fault.event_id, recovered.event_id) == (f"{fault.incident_id}.fault", f"{fault.incident_id}.recovered")
