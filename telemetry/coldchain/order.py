"""One probe's time line: always forwards. A late reading has no place on it; a clock that was set back is followed by
a shift.
"""

from __future__ import annotations

from typing import ClassVar

from telemetry.coldchain.state import Remembering


class TimeLine(Remembering):
    """``shift_s`` is what was added to the reading's time to keep the line going."""

    FIELDS: ClassVar[tuple[str, ...]] = ("last_s", "shift_s", "behind_s")

    def __init__(self) -> None:
        self.last_s: float | None = None
        self.shift_s = 0.0
        self.behind_s: float | None = None

    def regular(self, at_s: float) -> bool:
        """Whether the reading follows the last on an unshifted line (the usual case), which it then does."""
        last_s = self.last_s
        if self.shift_s or last_s is None or at_s < last_s or self.behind_s is not None:
            return False
        self.last_s = at_s
        return True

    def place(self, at_s: float) -> float | None:
        """The reading's place on the line, None for a late one.

        One reading behind the line may be late. A second one behind, but after the first, means that the clock was
        set back.
        """
        placed_s = at_s + self.shift_s
        if self.last_s is None or placed_s >= self.last_s:
            self.behind_s = None
        elif self.behind_s is None or at_s <= self.behind_s:
            self.behind_s = at_s
            return None
        else:
            step_s = at_s - self.behind_s
            self.shift_s += self.last_s + step_s - placed_s
            self.behind_s = None
            placed_s = at_s + self.shift_s
        self.last_s = placed_s
        return placed_s
