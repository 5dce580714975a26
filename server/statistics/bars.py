"""A chart of the months, drawn as SVG by the page: confirmed alerts as bars, the closed part of each filled. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from server.statistics.tables import Line

WIDTH, HEIGHT, FOOT, HEAD = 720.0, 220.0, 32.0, 30.0
GAP_SHARE = 0.35


@dataclass(frozen=True)
class Bar:
    """One month; lengths in the units of the drawing."""

    label: str
    x: float
    width: float
    y: float
    height: float
    closed_y: float
    closed_height: float
    confirmed: int
    closed: int


def make_bars(lines: Sequence[Line]) -> list[Bar]:
    """A bar for each month; the highest takes the whole height, none is drawn where there was no alert."""
    highest = max((line.measures.confirmed for line in lines), default=0) or 1
    step = WIDTH / max(len(lines), 1)
    room = HEIGHT - FOOT - HEAD
    found = []
    for number, line in enumerate(lines):
        height = room * line.measures.confirmed / highest
        closed = room * line.measures.closed / highest
        bottom = HEIGHT - FOOT
        found.append(
            Bar(
                line.name, number * step + step * GAP_SHARE / 2, step * (1 - GAP_SHARE), bottom - height, height,
                bottom - closed, closed, line.measures.confirmed, line.measures.closed,
            )
        )  # fmt: skip
    return found
