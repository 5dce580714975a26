"""Knows a defrost by its shape and rhythm: a steady ramp by the heater, then the fans' quick return, again and again.

Once one whole defrost has been seen, the next is known while it still goes on: as steep, as straight, not longer.
What does not keep to that is a finding: one that does not end, that comes too often, or that stays away. Shapes need
readings at most five minutes apart: at fifteen a defrost is three points and cannot be told from a fault, so there
only a schedule or a contact counts.
"""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import ClassVar

from telemetry.coldchain.rise import Rise
from telemetry.coldchain.state import Remembering

RAMP_S_MIN, RAMP_S_MAX = 480.0, 5_400.0
LENGTH_S_MAX = 9_000.0
HEIGHT_C_MIN = 3.0
READINGS_MIN = 6
SPACING_S_MAX = 330.0
STEP_SHARE_MAX = 0.5
STRAIGHT_SHARE_MAX = 0.65
STRAIGHT_SHARE_LOOSE = 0.75  # while it goes on, the room's own cycle bends a straight ramp
LONGER = 1.5
SLACK_S = 600.0
SLOWEST, FASTEST = 0.5, 3.0
KEPT = 12
OFTEN_SHARE, LATE_SHARE = 0.4, 2.5
SHORTEST_SHARE, LONGEST_SHARE = 0.75, 1.5  # of the gaps that were: a rhythm need not be even, three by night are one
RHYTHM_COUNT = 4


class DefrostMemory(Remembering):
    """``seen`` holds the last defrosts as [start_s, length_s, ramp_s, height_c, slope_c_per_s]."""

    FIELDS: ClassVar[tuple[str, ...]] = ("seen", "late_told", "recurred_s")
    LATER: ClassVar[frozenset[str]] = frozenset({"recurred_s"})

    def __init__(self) -> None:
        self.seen: list[list[float]] = []
        self.late_told = False
        self.recurred_s: float | None = None

    def learn(self, rise: Rise, ended_s: float, spread_c: float) -> bool:
        """Judge a rise that is over; True when it was a defrost, which is then remembered."""
        assert rise.since_s is not None
        length_s = ended_s - rise.since_s
        fits = (
            rise.readings >= READINGS_MIN
            and length_s <= rise.readings * SPACING_S_MAX
            and RAMP_S_MIN <= rise.ramp_s <= RAMP_S_MAX
            and length_s <= LENGTH_S_MAX
            and rise.height_c >= max(HEIGHT_C_MIN, 2 * spread_c)
            and rise.step_c <= STEP_SHARE_MAX * (rise.peak_c - rise.from_c)
            and ended_s - rise.peak_s <= max(LONGER * rise.ramp_s, 1_800.0)
            and rise.early_share(rise.peak_s, rise.peak_c) <= STRAIGHT_SHARE_MAX
        )
        if fits:
            self.seen.append([rise.since_s, length_s, rise.ramp_s, rise.height_c, rise.slope_c_per_s])
            del self.seen[:-KEPT]
            self.late_told = False
        return fits

    def recur(self, since_s: float) -> None:
        """One that was known while it went on, and whose whole shape a door or a coarse step spoilt: nothing is to be
        learned from it, but none is overdue.
        """
        self.recurred_s, self.late_told = since_s, False

    def resembles(self, rise: Rise, at_s: float, value_c: float) -> bool:
        """Whether the rise now going on is like the defrosts seen, so far."""
        if not self.seen or rise.since_s is None:
            return False
        if rise.step_c > STEP_SHARE_MAX * max(rise.peak_c - rise.from_c, HEIGHT_C_MIN) or self.outlasts(
            rise, at_s, value_c
        ):
            return False
        if at_s - rise.since_s < RAMP_S_MIN:
            return True  # too early to tell: the ramp decides within minutes
        usual = median(entry[4] for entry in self.seen)
        if not SLOWEST * usual <= rise.slope_c_per_s <= FASTEST * usual:
            return False
        if at_s - rise.since_s > max(entry[2] for entry in self.seen):
            return True  # the top of a defrost is flat; `outlasts` sees to its end
        return at_s > rise.peak_s or rise.early_share(at_s, value_c) <= STRAIGHT_SHARE_LOOSE

    def outlasts(self, rise: Rise, at_s: float, value_c: float) -> bool:
        """Whether it lasts longer than defrosts here do, or does not turn back when they do."""
        if not self.seen or rise.since_s is None:
            return False
        elapsed_s = at_s - rise.since_s
        if elapsed_s > LONGER * max(entry[1] for entry in self.seen) + SLACK_S:
            return True
        return elapsed_s > LONGER * max(entry[2] for entry in self.seen) + SLACK_S and not rise.turned(value_c)

    @property
    def period_s(self) -> float | None:
        """The usual time from one defrost to the next; None before four were seen."""
        if len(self.seen) < RHYTHM_COUNT:
            return None
        starts = [entry[0] for entry in self.seen]
        return median(after - before for before, after in pairwise(starts))

    def too_often(self) -> bool:
        """Whether the newest came far sooner than usual (ice, a stuck timer)."""
        if len(self.seen) <= RHYTHM_COUNT:
            return False
        starts = [entry[0] for entry in self.seen]
        gaps = [after - before for before, after in pairwise(starts[:-1])]
        return starts[-1] - starts[-2] < min(OFTEN_SHARE * median(gaps), SHORTEST_SHARE * min(gaps))

    def overdue_s(self, at_s: float) -> float | None:
        """Seconds since the last defrost when the next is overdue, else None; told once."""
        period_s = self.period_s
        if period_s is None or self.late_told:
            return None
        longest_s = max(after[0] - before[0] for before, after in pairwise(self.seen))
        newest_s = max(self.seen[-1][0], self.recurred_s or 0.0)
        if at_s - newest_s < max(LATE_SHARE * period_s, LONGEST_SHARE * longest_s):
            return None
        self.late_told = True
        return at_s - newest_s
