"""One probe's time line: always forwards. A late reading has no place on it; a clock that was set back is followed by
a shift. What tells them apart is the pace: a store of old readings is sent faster than time passes.
"""

from __future__ import annotations

from typing import ClassVar

from telemetry.coldchain.state import Remembering

PACE_SLACK_S = 30.0  # the caller's ticks are 20 s apart
PACE_SEEN_S = 60.0


class TimeLine(Remembering):
    """``shift_s`` is what was added to the reading's time to keep the line going."""

    FIELDS: ClassVar[tuple[str, ...]] = ("last_s", "shift_s", "behind_s", "behind_now_s")
    LATER: ClassVar[frozenset[str]] = frozenset({"behind_now_s"})

    def __init__(self) -> None:
        self.last_s: float | None = None
        self.shift_s = 0.0
        self.behind_s: float | None = None
        self.behind_now_s: float | None = None

    def regular(self, at_s: float) -> bool:
        """Whether the reading follows the last on an unshifted line (the usual case), which it then does."""
        last_s = self.last_s
        if self.shift_s or last_s is None or at_s < last_s or self.behind_s is not None:
            return False
        self.last_s = at_s
        return True

    def place(self, at_s: float, now_s: float | None = None) -> float | None:
        """The reading's place on the line, None for a late one; *now_s* is the caller's time, if it is known.

        One reading behind the line may be late. A second one behind, but after the first, means that the clock was
        set back: unless they came faster than time passes, which only old ones can.
        """
        placed_s = at_s + self.shift_s
        if self.last_s is None or placed_s >= self.last_s:
            self.behind_s = None
        elif self.behind_s is None or at_s <= self.behind_s:
            self.behind_s, self.behind_now_s = at_s, now_s
            return None
        elif self._are_old(at_s - self.behind_s, now_s):
            return None
        else:
            step_s = at_s - self.behind_s
            self.shift_s += self.last_s + step_s - placed_s
            self.behind_s = None
            placed_s = at_s + self.shift_s
        self.last_s = placed_s
        return placed_s

    def _are_old(self, step_s: float, now_s: float | None) -> bool:
        if now_s is None or self.behind_now_s is None:
            return False
        passed_s = now_s - self.behind_now_s
        return passed_s < PACE_SEEN_S or step_s > passed_s + PACE_SLACK_S
