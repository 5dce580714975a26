"""The curve on paper: measured values, limits in force, excursions and gaps shaded. Thinning loses no peak."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil, floor
from zoneinfo import ZoneInfo

from server.reports.document import Asset, Content
from server.reports.pdf_sheet import BRAND, INK, LINE, MARGIN, MUTED, RED, WIDTH, Sheet
from server.reports.series import thin
from server.series.port import to_ms

HEIGHT, LEFT, FOOT = 62.0, 11.0, 8.0  # millimetres
BUCKETS = 700  # a quarter of a millimetre each
SHADE, HATCH = (250, 226, 222), (232, 236, 234)
STEPS_C = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
STEPS_S = (60, 300, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 345600)


@dataclass(frozen=True)
class Frame:
    """Where times and temperatures lie on the page."""

    x: Callable[[int], float]
    y: Callable[[float], float]
    low: float
    high: float
    top: float
    bottom: float


def draw_chart(sheet: Sheet, content: Content, asset: Asset) -> None:
    """Draw the chart at the sheet's position and move below it."""
    lines = thin(asset.points, BUCKETS)
    values = [value for line in lines for _, value in line]
    if not values:
        return
    frame = _frame(sheet.get_y() + 2, content, asset, values)
    _draw_ground(sheet, content, asset, frame)
    _draw_degrees(sheet, frame)
    _draw_times(sheet, content, frame)
    with sheet.rect_clip(MARGIN + LEFT, frame.top, WIDTH - LEFT, frame.bottom - frame.top):
        _draw_limits(sheet, content, asset, frame)
        sheet.set_draw_color(*BRAND)
        sheet.set_line_width(0.28)
        for line in lines:
            points = [(frame.x(at_ms), frame.y(value)) for at_ms, value in line]
            if len(points) == 1:
                points.append((points[0][0] + 0.3, points[0][1]))
            sheet.polyline(points)
    sheet.set_xy(MARGIN, frame.bottom + FOOT)


def _frame(top: float, content: Content, asset: Asset, values: Sequence[float]) -> Frame:
    bounds = [bound for limit in asset.limits for bound in (limit.high_c, limit.low_c) if bound is not None]
    low, high = min([*values, *bounds]), max([*values, *bounds])
    margin = max((high - low) * 0.06, 0.5)
    low, high = low - margin, high + margin
    bottom = top + HEIGHT
    first, last = to_ms(content.start), to_ms(content.end)

    def x(at_ms: int) -> float:
        share = min(max((at_ms - first) / (last - first), 0.0), 1.0)
        return MARGIN + LEFT + share * (WIDTH - LEFT)

    return Frame(x, lambda value: bottom - (value - low) / (high - low) * HEIGHT, low, high, top, bottom)


def _draw_ground(sheet: Sheet, content: Content, asset: Asset, frame: Frame) -> None:
    """Excursions and gaps behind the curve."""
    spans = [(gap.start, gap.end, HATCH) for gap in asset.gaps]
    spans += [(item.opened_at, item.ended_at or content.end, SHADE) for item in asset.excursions]
    for since, until, colour in spans:
        left, right = frame.x(to_ms(since)), frame.x(to_ms(until))
        sheet.set_fill_color(*colour)
        sheet.rect(left, frame.top, max(right - left, 0.3), frame.bottom - frame.top, style="F")


def _draw_degrees(sheet: Sheet, frame: Frame) -> None:
    step = next((step for step in STEPS_C if (frame.high - frame.low) / step <= 7), 1000)
    sheet.write_as(7, colour=MUTED)
    for number in range(ceil(frame.low / step), floor(frame.high / step) + 1):
        level = frame.y(number * step)
        sheet.set_draw_color(*LINE)
        sheet.set_line_width(0.15)
        sheet.line(MARGIN + LEFT, level, MARGIN + WIDTH, level)
        sheet.set_xy(MARGIN, level - 2)
        sheet.cell(LEFT - 0.5, 4, f"{number * step:g}", align="R")


def _draw_times(sheet: Sheet, content: Content, frame: Frame) -> None:
    """Ticks at round local times: hours within days, days within weeks."""
    zone = ZoneInfo(content.zone)
    span_s = (content.end - content.start).total_seconds()
    step_s = next((step for step in STEPS_S if span_s / step <= 9), STEPS_S[-1])
    start = content.start.astimezone(zone)
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    sheet.write_as(7, colour=MUTED)
    sheet.set_draw_color(*MUTED)
    sheet.set_line_width(0.2)
    sheet.line(MARGIN + LEFT, frame.bottom, MARGIN + WIDTH, frame.bottom)
    tick = midnight + timedelta(seconds=step_s * ceil((start - midnight).total_seconds() / step_s))
    while (at := tick.astimezone(UTC)) <= content.end:
        place = frame.x(to_ms(at))
        sheet.line(place, frame.bottom, place, frame.bottom + 1)
        _label(sheet, place, frame.bottom + 1.2, tick, step_s)
        tick += timedelta(seconds=step_s)


def _label(sheet: Sheet, place: float, top: float, tick: datetime, step_s: int) -> None:
    whole_day = step_s >= 86_400 or (tick.hour, tick.minute) == (0, 0)
    left = min(max(place - 8, MARGIN), MARGIN + WIDTH - 16)
    align = "R" if left < place - 8 else "C"
    sheet.set_xy(left, top)
    sheet.cell(16, 4, tick.strftime("%m-%d") if whole_day else tick.strftime("%H:%M"), align=align)


def _draw_limits(sheet: Sheet, content: Content, asset: Asset, frame: Frame) -> None:
    sheet.set_line_width(0.35)
    for limit in asset.limits:
        left, right = frame.x(to_ms(limit.since)), frame.x(to_ms(min(limit.until, content.end)))
        for bound in (limit.high_c, limit.low_c):
            if bound is None:
                continue
            level = frame.y(bound)
            sheet.set_draw_color(*RED)
            sheet.set_dash_pattern(dash=1.6, gap=1.0)
            sheet.line(left, level, right, level)
            sheet.set_dash_pattern()
            sheet.write_as(6.5, colour=RED)
            sheet.set_xy(left + 0.5, level - 3.4)
            sheet.cell(20, 3, sheet.say(f"{bound:g} °C"))
    sheet.set_text_color(*INK)
