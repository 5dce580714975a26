"""Whether a probe can be believed: impossible values, impossible steps, a value that never moves, and silence.

A value that cannot be is not judged; three in a row are a fault, and a step that stays is believed then, because a
wrong zero hides more than a wrong alarm costs.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from telemetry.coldchain.settings import SensorSettings
from telemetry.coldchain.state import Remembering

SUSPECT_READINGS = 3
GAP_S_MIN = 1_800.0
GAP_INTERVALS = 3.0
GAP_UNKNOWN_S = 14_400.0  # while the probe's interval is not known yet
STUCK_READINGS = 12
GRAIN_C, GRAIN_C_MAX = 0.1, 0.5  # a probe that reads in halves of a degree rests five times longer
STUCK_UNKNOWN_S = 21_600.0
STUCK_LONGER = 2.0
STUCK_S_MAX = 86_400.0
LEARN_S = 172_800.0
REST_FORGET = 0.999  # an hour's weight in the memory of the longest rest: half gone after a month
DISCONNECTED_C = (-127.0, 85.0)  # DS18B20: no answer, power-on value (Maxim data sheet)
CODE_STEP_C = 5.0
Verdict = Literal["good", "suspect", "fault_range", "fault_jump"]


class Plausibility(Remembering):
    """``feed`` says what a reading is worth."""

    FIELDS: ClassVar[tuple[str, ...]] = ("count", "told")

    def __init__(self, settings: SensorSettings) -> None:
        self.settings = settings
        self.count = 0
        self.told = False

    def impossible(self, value_c: float, before_c: float) -> bool:
        """Outside what the probe can measure, or one of its error codes out of the blue."""
        low_c, high_c = self.settings.plausible_low_c, self.settings.plausible_high_c
        return not low_c <= value_c <= high_c or (value_c in DISCONNECTED_C and abs(value_c - before_c) > CODE_STEP_C)

    def jumped(self, value_c: float, before_c: float, elapsed_s: float) -> bool:
        """Whether air cannot have changed that much in that time (a hole in the data excuses all)."""
        bound_c = self.settings.jump_c + self.settings.jump_c_per_min * elapsed_s / 60
        return elapsed_s < GAP_S_MIN and abs(value_c - before_c) > bound_c

    def doubt(self, impossible: bool) -> Verdict:
        """Count one reading that cannot be."""
        self.count += 1
        if self.count < SUSPECT_READINGS or self.told:
            return "suspect"
        self.told = True
        return "fault_range" if impossible else "fault_jump"

    def clear(self) -> None:
        """A believable reading."""
        self.count, self.told = 0, False


class Stillness(Remembering):
    """A probe whose value never moves. The probe's own longest rest is learned, so a quiet room is not a fault."""

    FIELDS: ClassVar[tuple[str, ...]] = ("since_s", "readings", "longest_s", "grain_c", "told", "started_s", "aged_s")

    def __init__(self, settings: SensorSettings) -> None:
        self.settings = settings
        self.since_s: float | None = None
        self.started_s: float | None = None
        self.aged_s: float | None = None
        self.readings = 0
        self.longest_s = 0.0
        self.grain_c = GRAIN_C_MAX
        self.told = False

    def moved(self, at_s: float, last_s: float, step_c: float) -> None:
        """The value changed by *step_c* at *at_s*; the rest that ended lasted until *last_s*."""
        if 0.0 < abs(step_c) < self.grain_c:
            self.grain_c = max(abs(step_c), GRAIN_C)
        if self.started_s is None:
            self.started_s = self.aged_s = at_s
        if self.since_s is not None and last_s - self.since_s > self.longest_s:
            self.longest_s = last_s - self.since_s
        assert self.aged_s is not None
        if at_s - self.aged_s >= 3_600:
            self.longest_s *= REST_FORGET ** ((at_s - self.aged_s) // 3_600)
            self.aged_s = at_s
        self.since_s, self.readings, self.told = at_s, 1, False

    def rested(self, at_s: float) -> bool:
        """The value is the same as before; True once, when that has lasted too long."""
        self.readings += 1
        assert self.since_s is not None
        if self.told or self.readings < STUCK_READINGS or at_s - self.since_s < self.bound_s(at_s):
            return False
        self.told = True
        return True

    def bound_s(self, at_s: float) -> float:
        """How long this probe may rest."""
        least_s = self.settings.stuck_min_s * self.grain_c / GRAIN_C
        if self.started_s is None or at_s - self.started_s < LEARN_S:
            least_s = max(least_s, STUCK_UNKNOWN_S * self.grain_c / GRAIN_C)
        return min(max(least_s, STUCK_LONGER * self.longest_s), STUCK_S_MAX)


class Silence(Remembering):
    """Missing readings. The usual interval is learned from the readings themselves unless it is set."""

    FIELDS: ClassVar[tuple[str, ...]] = ("interval_s", "candidates", "told")

    def __init__(self, settings: SensorSettings) -> None:
        self.settings = settings
        self.interval_s: float = settings.interval_s or 0.0
        self.candidates: list[float] = []
        self.told = False

    @property
    def gap_s(self) -> float:
        """Silence this long is a finding."""
        if self.settings.gap_s is not None:
            return self.settings.gap_s
        return max(GAP_S_MIN, GAP_INTERVALS * self.interval_s) if self.interval_s else GAP_UNKNOWN_S

    def learn(self, elapsed_s: float) -> None:
        """An interval that differs from the usual one; three alike make it the usual one."""
        if self.settings.interval_s is not None or elapsed_s <= 0:
            return
        if self.candidates and abs(elapsed_s - self.candidates[-1]) > 0.25 * self.candidates[-1]:
            self.candidates = []
        self.candidates.append(elapsed_s)
        if len(self.candidates) >= 3:
            self.interval_s = sorted(self.candidates)[1]
            self.candidates = []

    def missing(self, last_s: float, now_s: float) -> bool:
        """True once, when the silence since *last_s* has become a gap."""
        if self.told or now_s - last_s < self.gap_s:
            return False
        self.told = True
        return True
