"""A temperature chart as plain numbers for an SVG: no script, no library, readable on paper."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from math import ceil, floor
from zoneinfo import ZoneInfo

VALUE_C_MAX = 10_000.0
WIDTH, HEIGHT = 640, 240
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 12, 28
GAP_FACTOR = 5.0  # a pause of five usual intervals is drawn as a gap


@dataclass(frozen=True)
class Tick:
    """A position in pixels and its label."""

    position: float
    label: str


@dataclass(frozen=True)
class Chart:
    """What the template draws, in pixels of a 640 × 240 picture."""

    lines: list[str]
    y_ticks: list[Tick]
    x_ticks: list[Tick]
    limit_y: float | None
    shade: tuple[float, float] | None  # x and width of the excursion


Points = list[tuple[datetime, float | None]]


def make_chart(
    points: Points, limit_c: float | None, opened_at: datetime, ended_at: datetime | None, zone: str
) -> Chart | None:
    """The chart, or None without any value. A value that no thermometer shows is drawn as missing."""
    points = [(at, value if value is not None and abs(value) <= VALUE_C_MAX else None) for at, value in points]
    limit_c = limit_c if limit_c is not None and abs(limit_c) <= VALUE_C_MAX else None
    values = [value for _, value in points if value is not None]
    if not values:
        return None
    shown = values if limit_c is None else [*values, limit_c]
    low, high = floor(min(shown)), ceil(max(shown))
    high = high if high > low else low + 1
    start, end = points[0][0], points[-1][0]
    span_s = max((end - start).total_seconds(), 1.0)

    def x(at: datetime) -> float:
        share = min(max((at - start).total_seconds() / span_s, 0.0), 1.0)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    step = max(1, ceil((high - low) / 5))
    local = ZoneInfo(zone)
    x_ticks = []
    for number in range(5):
        at = start + timedelta(seconds=span_s * number / 4)
        x_ticks.append(Tick(x(at), at.astimezone(local).strftime("%H:%M:%S" if span_s < 900 else "%H:%M")))
    x_from, x_to = x(opened_at), x(ended_at or end)
    return Chart(
        lines=[" ".join(f"{x(at)},{y(value)}" for at, value in part) for part in _parts(points)],
        y_ticks=[Tick(y(value), str(value)) for value in range(low, high + 1, step)],
        x_ticks=x_ticks,
        limit_y=None if limit_c is None else y(limit_c),
        shade=(x_from, max(x_to - x_from, 1.0)),
    )


def _parts(points: Points) -> list[list[tuple[datetime, float]]]:
    """The points cut at gaps and missing values."""
    pauses = sorted((after[0] - before[0]).total_seconds() for before, after in pairwise(points))
    longest_s = GAP_FACTOR * pauses[len(pauses) // 2] if pauses else 0.0
    parts: list[list[tuple[datetime, float]]] = [[]]
    last: datetime | None = None
    for at, value in points:
        if value is None or (last is not None and (at - last).total_seconds() > longest_s):
            parts.append([])
        if value is not None:
            parts[-1].append((at, value))
        last = at
    return [part for part in parts if part]
