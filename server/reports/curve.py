"""The curve as plain numbers for the page's SVG of 640 × 240 pixels: no script, readable on paper."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil, floor
from zoneinfo import ZoneInfo

from server.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Tick
from server.reports.document import Asset, Content
from server.reports.series import thin
from server.series.port import to_ms

BUCKETS = 300


@dataclass(frozen=True)
class Curve:
    """What the template draws; spans are x and width, limits are x from, x to and y, all in pixels."""

    lines: list[str]
    y_ticks: list[Tick]
    x_ticks: list[Tick]
    limits: list[tuple[float, float, float]]
    excursions: list[tuple[float, float]]
    gaps: list[tuple[float, float]]


def make_curve(content: Content, asset: Asset) -> Curve | None:
    """The curve of one sensor, or None without any value."""
    lines = thin(asset.points, BUCKETS)
    bounds = [bound for limit in asset.limits for bound in (limit.low_c, limit.high_c) if bound is not None]
    values = [value for line in lines for _, value in line]
    if not values:
        return None
    low, high = floor(min([*values, *bounds])), ceil(max([*values, *bounds]))
    high = high if high > low else low + 1
    first, last = to_ms(content.start), to_ms(content.end)

    def x(at: datetime | int) -> float:
        at_ms = at if isinstance(at, int) else to_ms(at)
        share = min(max((at_ms - first) / (last - first), 0.0), 1.0)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    def span(since: datetime, until: datetime) -> tuple[float, float]:
        return x(since), max(round(x(until) - x(since), 1), 1.0)

    step = max(1, ceil((high - low) / 5))
    return Curve(
        lines=[" ".join(f"{x(at_ms)},{y(value)}" for at_ms, value in line) for line in lines],
        y_ticks=[Tick(y(value), str(value)) for value in range(low, high + 1, step)],
        x_ticks=[Tick(x(at), label) for at, label in _times(content)],
        limits=[
            (x(limit.since), x(limit.until), y(bound))
            for limit in asset.limits
            for bound in (limit.low_c, limit.high_c)
            if bound is not None
        ],
        excursions=[span(item.opened_at, item.ended_at or content.end) for item in asset.excursions],
        gaps=[span(gap.start, gap.end) for gap in asset.gaps],
    )


def _times(content: Content) -> list[tuple[datetime, str]]:
    """Times with their labels: hours within two days, local midnights beyond."""
    zone = ZoneInfo(content.zone)
    span = content.end - content.start
    if span <= timedelta(days=2):
        ticks = [content.start + span * number / 4 for number in range(5)]
        return [(at, at.astimezone(zone).strftime("%H:%M")) for at in ticks]
    step = timedelta(days=max(1, ceil(span.days / 6)))
    day = content.start.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    found: list[tuple[datetime, str]] = []
    while day.astimezone(UTC) <= content.end:
        if day.astimezone(UTC) >= content.start:
            found.append((day.astimezone(UTC), day.strftime("%m-%d")))
        day += step
    return found
