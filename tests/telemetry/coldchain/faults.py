"""Faults laid over real series, with seeds: what a stopped compressor, an open door, a stuck heater and a bad probe
would have read.

The physics is simple and independent of the judgement: first-order runs towards an outside or door temperature, a
heater's ramp, a linear drift, a value that freezes. Each case starts from the state that the engine had at that time
of the clean series.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from math import exp
from statistics import median

from telemetry.coldchain.engine import Engine
from telemetry.coldchain.finding import Finding
from telemetry.coldchain.settings import SensorSettings
from tests.telemetry.coldchain.warehouse import Series

HOUR_S = 3_600.0
SNAPSHOT_S = 43_200.0
AFTERWARDS_S = 3_600.0
KINDS = ("compressor_stop", "door_ajar", "stuck_defrost", "drifting_sensor", "stuck_sensor")
LONGEST_S = 121 * HOUR_S


@dataclass(frozen=True)
class Case:
    """One injected fault and what became of it. ``lead_min`` is from the first message to the product's crossing."""

    kind: str
    probe: str
    since_s: float
    found_by: str | None
    delay_min: float | None
    lead_min: float | None


@dataclass
class Study:
    """All cases of one probe, and the clean series' own findings."""

    cases: list[Case] = field(default_factory=list)
    clean: list[Finding] = field(default_factory=list)


def shape(kind: str, rng: random.Random, start_c: float) -> tuple[Callable[[float, float], float], float]:
    """How (seconds since the fault, clean reading) become the faulty reading, and how long the fault lasts."""
    if kind == "compressor_stop":
        outside_c, lag_s = rng.uniform(12, 28), rng.uniform(5, 18) * HOUR_S
        return lambda t, c: c + (outside_c - start_c) * (1 - exp(-t / lag_s)), rng.uniform(8, 16) * HOUR_S
    if kind == "door_ajar":
        gain_c, lag_s = rng.uniform(6, 15), rng.uniform(600, 1_500)
        return lambda t, c: c + gain_c * (1 - exp(-t / lag_s)), rng.uniform(3, 8) * HOUR_S
    if kind == "stuck_defrost":
        rate, top_c = rng.uniform(0.2, 0.6) / 60, rng.uniform(12, 28)
        return lambda t, c: c + min(top_c, rate * t), rng.uniform(3, 8) * HOUR_S
    if kind == "drifting_sensor":
        rate = rng.choice((-1, 1)) * rng.uniform(0.1, 0.5) / HOUR_S
        return lambda t, c: c + rate * t, rng.uniform(72, 120) * HOUR_S
    return lambda _, c: start_c, rng.uniform(24, 48) * HOUR_S


def study(probe: str, series: Series, settings: SensorSettings, cases: int, seed: int, learning_s: float) -> Study:
    """Run *cases* faults over one probe's series, the kinds in turn, none in the first *learning_s*."""
    result = Study()
    engine = Engine({probe: settings})
    snapshots: list[tuple[float, int, dict[str, object]]] = []
    for index, (at_s, value_c) in enumerate(series):
        if not snapshots or at_s - snapshots[-1][0] >= SNAPSHOT_S:
            snapshots.append((at_s, index, engine.state()))
        result.clean += engine.feed(probe, at_s, value_c)
    rng = random.Random(seed)
    first_s, last_s = series[0][0] + learning_s, series[-1][0]
    room_s = min(LONGEST_S, (last_s - first_s) / 2)
    for number in range(cases):
        kind = KINDS[number % len(KINDS)]
        since_s = rng.uniform(first_s, last_s - room_s)
        _, index, state = next(item for item in reversed(snapshots) if item[0] <= since_s)
        result.cases.append(_run(kind, probe, series[index:], since_s, state, settings, rng, result.clean))
    return result


def _run(
    kind: str,
    probe: str,
    series: Series,
    since_s: float,
    state: dict[str, object],
    settings: SensorSettings,
    rng: random.Random,
    clean: list[Finding],
) -> Case:
    engine = Engine({probe: settings})
    engine.restore(state)
    start = bisect_left(series, (since_s, -1e9))
    since_s, start_c = series[start]
    faulty, length_s = shape(kind, rng, start_c)
    known = {(finding.at_s, finding.kind) for finding in clean}
    for at_s, value_c in series[:start]:
        engine.feed(probe, at_s, value_c)
    product_c, before_s, crossed_s = engine.probes[probe].product_c, since_s, None
    first: Finding | None = None
    for at_s, clean_c in series[start:]:
        if at_s > since_s + length_s + AFTERWARDS_S:
            break
        value_c = round(faulty(at_s - since_s, clean_c), 1) if at_s <= since_s + length_s else clean_c
        span, _ = settings.span_at(at_s)
        product_c = value_c + (product_c - value_c) * exp(-(at_s - before_s) / settings.lag_s(span))
        before_s = at_s
        if crossed_s is None and span.high_c is not None and product_c > span.high_c:
            crossed_s = at_s
        for finding in engine.feed(probe, at_s, value_c):
            if first is None and finding.notifies and (finding.at_s, finding.kind) not in known:
                first = finding
    if first is None:
        return Case(kind, probe, since_s, None, None, None)
    lead_min = None if crossed_s is None or crossed_s <= since_s else (crossed_s - first.at_s) / 60
    return Case(kind, probe, since_s, first.code, (first.at_s - since_s) / 60, lead_min)


def recall(cases: list[Case]) -> float:
    return sum(case.found_by is not None for case in cases) / len(cases)


def median_lead_min(cases: list[Case]) -> float:
    """Over the cases in which the product crossed its limit and something was told."""
    return median(case.lead_min for case in cases if case.lead_min is not None)
