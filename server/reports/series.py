"""A series of readings and what follows from it: gaps, statistics, time outside the limits. Pure: no clock, no I/O.

Every figure comes from the measured values; a reading without a value is part of a gap, never a zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from statistics import fmean, median

from server.reports.document import LimitPeriod, Statistics
from telemetry.coldchain.kinetic import mean_kinetic_c

Point = tuple[int, float | None, str]  # ms since 1970 UTC, °C, quality
Span = tuple[int, int]  # ms since 1970 UTC, from and to
GAP_FACTOR = 3.0  # a pause of three usual intervals is a gap
GAP_S_MIN = 60.0
ABSOLUTE_ZERO_C = -273.15


def at_of(at_ms: int) -> datetime:
    """The time of a point."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def usable(point: Point) -> bool:
    """Whether the point has a value to reckon with."""
    return point[1] is not None and point[2] != "bad"


def usual_interval_s(points: Sequence[Point]) -> float | None:
    """The median pause between readings, with or without a value; None below two readings."""
    pauses = [after[0] - before[0] for before, after in pairwise(points)]
    return median(pauses) / 1000 if pauses else None


def gap_after_s(points: Sequence[Point]) -> float:
    """The pause from which on a time without value counts as a gap."""
    return max(GAP_FACTOR * (usual_interval_s(points) or 0.0), GAP_S_MIN)


def find_gaps(points: Sequence[Point], start_ms: int, end_ms: int) -> list[Span]:
    """The times without a usable value, longer than `gap_after_s`, edges of the period included."""
    longest_ms = gap_after_s(points) * 1000
    marks = [start_ms, *(point[0] for point in points if usable(point)), end_ms]
    return [(before, after) for before, after in pairwise(marks) if after - before > longest_ms]


def durations(points: Sequence[Point], end_ms: int) -> list[tuple[Point, float]]:
    """Each usable point with the seconds that it stands for: until the next one, at most until a gap begins."""
    good = [point for point in points if usable(point)]
    longest_ms = gap_after_s(points) * 1000
    held_ms = min((usual_interval_s(points) or 0.0) * 1000, longest_ms)
    found = []
    for number, point in enumerate(good):
        until = good[number + 1][0] if number + 1 < len(good) else end_ms
        length_ms = until - point[0]
        found.append((point, (length_ms if length_ms <= longest_ms else held_ms) / 1000))
    return found


def limits_at(limits: Sequence[LimitPeriod], at: datetime) -> LimitPeriod | None:
    """The limits in force at a time."""
    return next((limit for limit in limits if limit.since <= at < limit.until), None)


def summarise(points: Sequence[Point], limits: Sequence[LimitPeriod], start_ms: int, end_ms: int) -> Statistics:
    """All figures of one series over one period."""
    good = [(point[0], point[1]) for point in points if usable(point) and point[1] is not None]
    values = [value for _, value in good]
    lowest = min(good, key=lambda point: point[1], default=None)
    highest = max(good, key=lambda point: point[1], default=None)
    gap_s = sum(after - before for before, after in find_gaps(points, start_ms, end_ms)) / 1000
    period_s = (end_ms - start_ms) / 1000
    above_s, below_s = _outside(points, limits, end_ms)
    return Statistics(
        readings=len(points),
        suspect=sum(point[2] == "suspect" for point in points),
        without_value=sum(not usable(point) for point in points),
        usual_interval_s=usual_interval_s(points),
        gap_after_s=gap_after_s(points),
        min_c=lowest[1] if lowest else None,
        min_at=at_of(lowest[0]) if lowest else None,
        max_c=highest[1] if highest else None,
        max_at=at_of(highest[0]) if highest else None,
        mean_c=round(fmean(values), 3) if values else None,
        mkt_c=_mkt_c(values),
        covered_s=round(period_s - gap_s, 3),
        gap_s=round(gap_s, 3),
        coverage_pct=round(100 * (period_s - gap_s) / period_s, 2),
        above_s=above_s,
        below_s=below_s,
    )


def _mkt_c(values_c: Sequence[float]) -> float | None:
    """None without values, or with one that no thermometer shows."""
    if not values_c or min(values_c) <= ABSOLUTE_ZERO_C + 50 or max(values_c) > 1000:
        return None
    return round(mean_kinetic_c(values_c), 3)


def _outside(points: Sequence[Point], limits: Sequence[LimitPeriod], end_ms: int) -> tuple[float | None, float | None]:
    """Seconds above and below the limits in force; None where no such limit was in force at any time."""
    above_s = below_s = 0.0
    for (at_ms, value, _), length_s in durations(points, end_ms):
        limit = limits_at(limits, at_of(at_ms))
        if limit is None or value is None:
            continue
        above_s += length_s if limit.high_c is not None and value > limit.high_c else 0.0
        below_s += length_s if limit.low_c is not None and value < limit.low_c else 0.0
    has_high = any(limit.high_c is not None for limit in limits)
    has_low = any(limit.low_c is not None for limit in limits)
    return (round(above_s, 3) if has_high else None, round(below_s, 3) if has_low else None)


def thin(points: Sequence[Point], buckets_max: int) -> list[list[tuple[int, float]]]:
    """Lines for a chart, cut at gaps: of each of *buckets_max* equal times the first, lowest, highest and last value.

    No peak is lost: the extremes of every bucket are kept, in order of time.
    """
    longest_ms = gap_after_s(points) * 1000
    lines: list[list[tuple[int, float]]] = []
    last_ms: int | None = None
    for at_ms, value, quality in points:
        if value is None or quality == "bad":
            continue
        if last_ms is None or at_ms - last_ms > longest_ms:
            lines.append([])
        lines[-1].append((at_ms, value))
        last_ms = at_ms
    if not lines:
        return []
    width_ms = max((lines[-1][-1][0] - lines[0][0][0]) / buckets_max, 1.0)
    return [_thin_line(line, width_ms) for line in lines]


def _thin_line(line: list[tuple[int, float]], width_ms: float) -> list[tuple[int, float]]:
    buckets: dict[int, list[tuple[int, float]]] = {}
    for point in line:
        buckets.setdefault(int(point[0] // width_ms), []).append(point)
    kept: list[tuple[int, float]] = []
    for bucket in buckets.values():
        lowest = min(bucket, key=lambda point: point[1])
        highest = max(bucket, key=lambda point: point[1])
        kept += sorted({bucket[0], lowest, highest, bucket[-1]})
    return kept
