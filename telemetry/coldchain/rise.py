"""One rise of the air above what is usual, from its first reading to the return: its shape is what tells causes
apart.

The level is the top of the probe's own habit when the rise began (the limit while the habit is unknown). For the low
side all values are negated before they come here.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, NamedTuple

from telemetry.coldchain.state import Remembering

POINTS_MAX = 96
POINT_SPACING_S = 120.0
MELTING_C = 1.5  # this near to 0 °C ice melts, as far as a probe in the coil's air can tell
TURNED_SHARE = 0.3
TREND_S = 1_800.0
HOUR_S = 3_600.0
FAR_C = 1e6  # stands for a level that is not known: infinity is no JSON value


class Usual(NamedTuple):
    """Where the air usually stays: a rise begins above ``level_c``, is strange above ``alert_c``; ``unit_c`` is its
    swing.
    """

    level_c: float
    alert_c: float
    unit_c: float


class Rise(Remembering):
    """``since_s`` is None while the air is where it usually is."""

    FIELDS: ClassVar[tuple[str, ...]] = (
        "since_s", "level_c", "alert_c", "unit_c", "from_c", "peak_c", "peak_s", "step_c", "readings", "points",
        "excess_h",
    )  # fmt: skip

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """No rise."""
        self.since_s: float | None = None
        self.level_c = self.alert_c = self.from_c = self.peak_c = self.peak_s = self.step_c = 0.0
        self.unit_c = 1.0
        self.readings = 0
        self.points: list[list[float]] = []
        self.excess_h = 0.0  # hours above the alert level, each weighed by its depth in the probe's own units

    def begin(self, at_s: float, value_c: float, usual: Usual, before_c: float) -> None:
        """The first reading above the usual, which is what holds for the whole rise; *before_c* was the reading
        before.
        """
        self.level_c, self.alert_c, self.unit_c = usual
        self.since_s, self.from_c = at_s, min(before_c, self.level_c)
        self.peak_c, self.peak_s, self.step_c, self.readings = value_c, at_s, value_c - before_c, 1
        self.points = [[at_s, value_c]]
        self.excess_h = 0.0

    def feed(self, at_s: float, elapsed_s: float, value_c: float, before_c: float) -> None:
        """A further reading above the level."""
        self.readings += 1
        step_c = value_c - before_c
        self.step_c = max(self.step_c, step_c)
        if value_c > self.peak_c:
            self.peak_c, self.peak_s = value_c, at_s
        if at_s - self.points[-1][0] >= POINT_SPACING_S:
            self.points.append([at_s, value_c])
            if len(self.points) > POINTS_MAX:
                del self.points[1::2]  # keep the whole course at half the detail
        if value_c > self.alert_c:
            self.excess_h += (value_c - self.alert_c) / self.unit_c * min(elapsed_s, HOUR_S) / HOUR_S

    @property
    def height_c(self) -> float:
        """The peak above the level."""
        return self.peak_c - self.level_c

    @property
    def ramp_s(self) -> float:
        """From the start to the peak."""
        return self.peak_s - (self.since_s or self.peak_s)

    @property
    def slope_c_per_s(self) -> float:
        """The mean slope up to the peak."""
        return (self.peak_c - self.from_c) / self.ramp_s if self.ramp_s > 0 else float("inf")

    def turned(self, value_c: float) -> bool:
        """Whether the air has come back a good part of its way."""
        return value_c < self.peak_c - TURNED_SHARE * (self.peak_c - self.level_c)

    def rate_c_per_s(self, at_s: float, value_c: float) -> float:
        """The trend of the last half hour (at least two points), by least squares."""
        points = [point for point in self.points if at_s - point[0] <= TREND_S]
        if len(points) < 2:
            points = self.points[-2:]
        if points[-1][0] < at_s:
            points = [*points, [at_s, value_c]]
        count = len(points)
        if count < 2:
            return 0.0
        mean_s = sum(point[0] for point in points) / count
        mean_c = sum(point[1] for point in points) / count
        spread = sum((point[0] - mean_s) ** 2 for point in points)
        return sum((point[0] - mean_s) * (point[1] - mean_c) for point in points) / spread if spread else 0.0

    def early_share(self, at_s: float, value_c: float) -> float:
        """Which part of the rise so far was done in the first half of its time: 0.5 is a straight line.

        A heater gives 0.5 or less; an open door's air runs towards the outside temperature exponentially and gives
        more.
        """
        if self.since_s is None or value_c <= self.from_c:
            return 1.0
        points = self._unmelted(at_s, value_c)
        half_s = (self._left_s() + points[-1][0]) / 2
        before, after = points[0], points[-1]
        for point in points:
            if point[0] <= half_s:
                before = point
            else:
                after = point
                break
        span_s = after[0] - before[0]
        half_c = before[1] + (after[1] - before[1]) * ((half_s - before[0]) / span_s if span_s else 0.0)
        return (half_c - self.from_c) / (value_c - self.from_c)

    def _unmelted(self, at_s: float, value_c: float) -> list[list[float]]:
        """The course up to now without the time that it stood at the melting point: a heater first warms the coil to
        0 °C, then melts its ice and only then warms on. The pause says nothing of the ramp.
        """
        points = [*(point for point in self.points if point[0] < at_s), [at_s, value_c]]
        if self.from_c >= -2 * MELTING_C:
            return points
        melted_s, moved = 0.0, points[:1]
        for (last_s, last_c), (point_s, point_c) in pairwise(points):
            if abs(last_c) <= MELTING_C and abs(point_c) <= MELTING_C:
                melted_s += point_s - last_s
            moved.append([point_s - melted_s, point_c])
        return moved

    def _left_s(self) -> float:
        """When the air left ``from_c``: the line through the first two points, followed back.

        At five minutes a step the first point is a good part of a defrost's ramp above the reading before it; taken as
        the start, it would bend a straight ramp.
        """
        (first_s, first_c), (second_s, second_c) = self.points[0], self.points[min(1, len(self.points) - 1)]
        if second_c <= first_c:
            return first_s
        return first_s - min((first_c - self.from_c) / (second_c - first_c), 1.0) * (second_s - first_s)
