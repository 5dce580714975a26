"""What a probe usually reads: the envelope of its last seven days, hour by hour, and its days' means.

An hour outside the envelope is left out for up to two days, so that a fault is not learned as usual; after that it is
the new usual (a changed set point). Quantiles instead of extremes: one door opening does not widen the envelope.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Any, ClassVar

from telemetry.coldchain.state import Remembering

HOUR_S = 3_600.0
HOURS_KEPT = 168
HOURS_TO_KNOW = 24
HOURS_DOUBTED = 48
DAYS_KEPT = 21
QUANTILE = 0.95
MARGIN_C_MIN = 0.5
HOURS_RECENT, RECENT_C = 24, 2.0
SWING_C_MIN = 1.0


class Habit(Remembering):
    """Feed it every reading; ``high_c`` and ``low_c`` are None until it knows the probe (one day)."""

    FIELDS: ClassVar[tuple[str, ...]] = (
        "hours",
        "latest",
        "days",
        "hour",
        "top_c",
        "bottom_c",
        "total_c",
        "count",
        "doubted",
    )

    def __init__(self) -> None:
        self.hours: list[list[float]] = []
        self.latest: list[list[float]] = [[], [], []]  # the last day's hours, strange or not: tops, bottoms, means
        self.days: list[list[float]] = []  # [day, mean, hours]
        self.hour: int | None = None
        self.top_c = self.bottom_c = self.total_c = 0.0
        self.count = 0
        self.doubted = 0
        self.day_began = False  # whether the hour completed last was the first of its day
        self._index()

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._index()

    def feed(self, at_s: float, value_c: float) -> bool:
        """Add one reading; True when an hour was completed by it."""
        hour = int(at_s // HOUR_S)
        if hour == self.hour:
            if value_c > self.top_c:
                self.top_c = value_c
            elif value_c < self.bottom_c:
                self.bottom_c = value_c
            self.total_c += value_c
            self.count += 1
            return False
        complete = self.hour is not None
        if complete:
            self._complete()
        self.hour, self.top_c, self.bottom_c, self.total_c, self.count = hour, value_c, value_c, value_c, 1
        return complete

    def _complete(self) -> None:
        assert self.hour is not None
        mean_c = self.total_c / self.count
        self._add_to_day(self.hour // 24, mean_c)
        this_hour = [self.top_c, self.bottom_c, mean_c]
        for recent, value in zip(self.latest, this_hour, strict=True):
            recent.append(value)
            if len(recent) > HOURS_RECENT:
                del recent[0]
        strange = self.high_c is not None and (self.top_c > self.high_alert_c or self.bottom_c < self.low_alert_c)
        if strange and self.doubted < HOURS_DOUBTED:
            self.doubted += 1
            self._measure()
            return
        if not strange:
            self.doubted = max(0, self.doubted - 1)
        self.hours.append([*this_hour, self.hour])
        for values, value in zip(self._sorted, this_hour, strict=True):
            insort(values, value)
        if len(self.hours) > HOURS_KEPT:
            self._drop(0)
        self._measure()

    def set_aside(self, since_s: float, value_c: float) -> None:
        """What was read from *since_s* until now, with *value_c* as the newest, was a defrost: no part of the usual.

        Else a freezer that defrosts four times a day would have its defrosts as its usual, and the next could not be
        seen to rise above it.
        """
        while self.hours and len(self.hours[-1]) > 3 and self.hours[-1][3] >= since_s // HOUR_S:
            self._drop(-1)
        self.top_c = self.bottom_c = self.total_c = value_c
        self.count = 1
        self._measure()

    def _drop(self, index: int) -> None:
        for values, value in zip(self._sorted, self.hours.pop(index)[:3], strict=True):
            del values[bisect_left(values, value)]

    def _add_to_day(self, day: int, mean_c: float) -> None:
        self.day_began = not self.days or self.days[-1][0] != day
        if self.day_began:
            self.days.append([day, mean_c, 1])
            del self.days[:-DAYS_KEPT]
            return
        last = self.days[-1]
        last[2] += 1
        last[1] += (mean_c - last[1]) / last[2]

    def _index(self) -> None:
        self._sorted = [sorted(hour[k] for hour in self.hours) for k in range(3)]
        self._measure()

    def _measure(self) -> None:
        count = len(self.hours)
        self.high_c: float | None = None
        self.low_c: float | None = None
        self.middle_c: float | None = None
        self.swing_up_c = self.swing_down_c = SWING_C_MIN
        self.high_alert_c, self.low_alert_c = float("inf"), float("-inf")
        if count < HOURS_TO_KNOW:
            return
        tops, bottoms, means = self._sorted
        self.high_c = tops[int(QUANTILE * (count - 1))]
        self.low_c = bottoms[int((1 - QUANTILE) * (count - 1))]
        self.middle_c = means[count // 2]
        top_c, bottom_c = max(self.latest[0]), min(self.latest[1])
        recent_c = sorted(self.latest[2])[len(self.latest[2]) // 2]
        self.swing_up_c = max(SWING_C_MIN, tops[int(0.75 * count)] - self.middle_c)
        self.swing_down_c = max(SWING_C_MIN, self.middle_c - bottoms[int(0.25 * count)])
        margin_up_c = max(MARGIN_C_MIN, (self.high_c - self.middle_c) / 2)
        margin_down_c = max(MARGIN_C_MIN, (self.middle_c - self.low_c) / 2)
        self.high_alert_c = min(self.high_c + margin_up_c, top_c + max(RECENT_C, (top_c - recent_c) / 2))
        self.low_alert_c = max(self.low_c - margin_down_c, bottom_c - max(RECENT_C, (recent_c - bottom_c) / 2))
        self.high_c, self.low_c = min(self.high_c, self.high_alert_c), max(self.low_c, self.low_alert_c)

    def day_shift_c(self) -> tuple[float, float] | None:
        """The last complete day's mean against the days before (median), and its robust scatter (1.4826 · MAD).

        None with fewer than five days to compare. The three days before are left out: a slow drift is in them
        already.
        """
        complete = [day for day in self.days[:-1] if day[2] >= 12]
        if len(complete) < 9:
            return None
        earlier = sorted(day[1] for day in complete[:-4])
        middle = earlier[len(earlier) // 2]
        scatter = sorted(abs(value - middle) for value in earlier)[len(earlier) // 2]
        return complete[-1][1] - middle, 1.4826 * scatter
