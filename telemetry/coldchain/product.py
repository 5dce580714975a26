"""The goods behind the air: a first-order thermal lag, its estimate and its fit where a core probe exists.

dT/dt = (air - T) / lag (Newton's law of cooling, lumped capacity). Air is taken as constant between readings, at the
mean of both ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log

LAG_S_MIN, LAG_S_MAX = 60.0, 259_200.0


def follow(product_c: float, air_c: float, elapsed_s: float, lag_s: float) -> float:
    """The product temperature after *elapsed_s* in air of *air_c*."""
    return air_c + (product_c - air_c) * exp(-elapsed_s / lag_s)


def estimate_series(times_s: Sequence[float], air_c: Sequence[float], lag_s: float, start_c: float) -> list[float]:
    """The product temperature at each time, from *start_c* at the first."""
    product = [start_c]
    for index in range(1, len(times_s)):
        mean_c = (air_c[index - 1] + air_c[index]) / 2
        product.append(follow(product[-1], mean_c, times_s[index] - times_s[index - 1], lag_s))
    return product


def fit_lag_s(times_s: Sequence[float], air_c: Sequence[float], core_c: Sequence[float]) -> float:
    """The lag that explains a core probe best (least squares, golden section on a logarithmic scale).

    Needs at least 10 readings of equal times and a core that moves by 0.5 °C; raises ValueError otherwise.
    """
    if not len(times_s) == len(air_c) == len(core_c) or len(times_s) < 10:
        raise ValueError("needs at least 10 readings of air and core at the same times")
    if max(core_c) - min(core_c) < 0.5:
        raise ValueError("the core probe hardly moves; a lag cannot be told from it")

    def misfit(log_lag: float) -> float:
        model = estimate_series(times_s, air_c, exp(log_lag), core_c[0])
        return sum((m - c) ** 2 for m, c in zip(model, core_c, strict=True))

    low, high = log(LAG_S_MIN), log(LAG_S_MAX)
    golden = (5**0.5 - 1) / 2
    for _ in range(60):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if misfit(left) <= misfit(right):
            high = right
        else:
            low = left
    return exp((low + high) / 2)


def crossing_s(
    product_c: float, air_c: float, rate_c_per_s: float, limit_c: float, lag_s: float, memory_s: float, horizon_s: float
) -> float | None:
    """Seconds until the goods cross *limit_c* upwards, or None within *horizon_s*.

    The air's trend fades with *memory_s* (a damped trend, Gardner & McKenzie 1985), because nothing rises linearly
    for ever: air(t) = air + rate · memory · (1 - exp(-t / memory)). For the lower side negate all temperatures.
    """
    step_s = min(lag_s, memory_s) / 20
    elapsed_s, value_c, rise_c = 0.0, product_c, rate_c_per_s * memory_s
    if max(air_c, air_c + rise_c) <= limit_c:
        return None
    fade = exp(-step_s / memory_s)
    keep = exp(-step_s / lag_s)
    left = 1.0
    while elapsed_s < horizon_s:
        ambient_c = air_c + rise_c * (1 - left)
        following_c = ambient_c + (value_c - ambient_c) * keep
        if following_c > limit_c:
            share = (limit_c - value_c) / (following_c - value_c) if following_c > value_c else 0.0
            return elapsed_s + max(0.0, share) * step_s
        value_c = following_c
        left *= fade
        elapsed_s += step_s
    return None
