"""The sentences of findings: each says what is seen, since when, and what was ruled out. English; codes carry the
translation.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, tzinfo

Clock = Callable[[float], str]


def clock_in(zone: tzinfo = UTC) -> Clock:
    """How times are written in sentences: hours and minutes in *zone*."""

    def write(at_s: float) -> str:
        return datetime.fromtimestamp(at_s, zone).strftime("%H:%M")

    return write


def degrees(value_c: float) -> str:
    """One decimal, a real minus sign is left to the page."""
    return f"{value_c:.1f} °C"


def duration(seconds: float) -> str:
    """In minutes up to two hours, then in hours."""
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"


def rate(c_per_s: float) -> str:
    """The trend in the unit that reads best."""
    per_min = abs(c_per_s) * 60
    return f"{per_min:.1f} °C/min" if per_min >= 0.1 else f"{per_min * 60:.1f} °C/h"


def beyond(side: str) -> str:
    """Above or below."""
    return "above" if side == "high" else "below"
