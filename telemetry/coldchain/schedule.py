"""When defrosts are due, as the site set its controller: times of day, fixed times or a period. Pure.

A window is lengthened by a margin on both sides, because controllers' clocks run off and the air takes a while to
turn.
"""

from __future__ import annotations

from dataclasses import dataclass

DAY_S = 86_400.0


@dataclass(frozen=True)
class DailyWindow:
    """``start_s`` is seconds after UTC midnight; ``days`` are ISO weekdays (1 = Monday), empty = every day."""

    start_s: float
    length_s: float
    days: frozenset[int] = frozenset()


@dataclass(frozen=True)
class FixedWindow:
    """One defrost at a known time, in seconds since 1970."""

    start_s: float
    length_s: float


@dataclass(frozen=True)
class PeriodicWindow:
    """A defrost each ``every_s`` from ``first_s`` on."""

    first_s: float
    every_s: float
    length_s: float


Window = DailyWindow | FixedWindow | PeriodicWindow


@dataclass(frozen=True)
class DefrostSchedule:
    """``end_at`` answers the only question asked of it."""

    windows: tuple[Window, ...] = ()
    margin_s: float = 900.0

    def __bool__(self) -> bool:
        return bool(self.windows)

    def end_at(self, at_s: float) -> float | None:
        """The end (with margin) of the window that holds *at_s*, or None."""
        ends = [end for window in self.windows if (end := _end(window, at_s, self.margin_s)) is not None]
        return max(ends, default=None)


def _end(window: Window, at_s: float, margin_s: float) -> float | None:
    if isinstance(window, FixedWindow):
        start_s = window.start_s
    elif isinstance(window, PeriodicWindow):
        turns = (at_s + margin_s - window.first_s) // window.every_s
        if turns < 0:
            return None
        start_s = window.first_s + turns * window.every_s
    else:
        day = (at_s + margin_s - window.start_s) // DAY_S
        start_s = day * DAY_S + window.start_s
        if window.days and (day + 3) % 7 + 1 not in window.days:  # 1 January 1970 was a Thursday
            return None
    end_s = start_s + window.length_s + margin_s
    return end_s if start_s - margin_s <= at_s <= end_s else None
