"""Made-up series with known truth: a room that cycles, rises, defrosts. Times in seconds, temperatures in °C."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import exp, pi, sin

from telemetry.coldchain.engine import Engine
from telemetry.coldchain.finding import Finding
from telemetry.coldchain.settings import LimitSpan, SensorSettings

START_S = 1_700_006_400.0  # a full hour and a midnight in UTC
MINUTE_S, HOUR_S, DAY_S = 60.0, 3_600.0, 86_400.0
Series = list[tuple[float, float]]
Shape = Callable[[float], float]


def always(high_c: float | None = None, low_c: float | None = None) -> tuple[LimitSpan, ...]:
    return (LimitSpan(float("-inf"), high_c, low_c),)


def room(hours: float, mean_c: float = 4.0, swing_c: float = 1.0, step_s: float = 60.0, seed_s: float = 0.0) -> Series:
    """A compressor cycle of half an hour, with a resolution of 0.1 °C."""
    times = [START_S + index * step_s for index in range(int(hours * HOUR_S / step_s))]
    return [(at_s, round(mean_c + swing_c * sin(2 * pi * (at_s + seed_s) / 1_800), 1)) for at_s in times]


def add(series: Series, since_s: float, length_s: float, shape: Shape) -> Series:
    """Add a shape of the seconds since *since_s* to that part of the series."""
    return [
        (at_s, round(value_c + shape(at_s - since_s), 1)) if since_s <= at_s < since_s + length_s else (at_s, value_c)
        for at_s, value_c in series
    ]


def heater(ramp_s: float = 2_400.0, height_c: float = 18.0, fall_s: float = 600.0) -> Shape:
    """A defrost: a straight ramp, then the fans' exponential return."""
    return lambda t: height_c * t / ramp_s if t < ramp_s else height_c * exp(-(t - ramp_s) / fall_s)


def towards(gain_c: float, lag_s: float) -> Shape:
    """An exponential run towards a higher level: an open door, a stopped compressor."""
    return lambda t: gain_c * (1 - exp(-t / lag_s))


def judge(
    series: Iterable[tuple[float, float]], settings: SensorSettings, engine: Engine | None = None
) -> list[Finding]:
    """The findings of one probe called "p"."""
    engine = engine or Engine({"p": settings})
    return [finding for at_s, value_c in series for finding in engine.feed("p", at_s, value_c)]


def kinds(findings: Iterable[Finding]) -> list[str]:
    return [finding.kind for finding in findings]


def told(findings: Iterable[Finding], since_s: float = 0.0) -> list[Finding]:
    """The findings that notify."""
    return [finding for finding in findings if finding.notifies and finding.at_s >= since_s]
