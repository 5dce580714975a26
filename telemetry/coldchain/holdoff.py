"""How long calm must last before the same trouble may be told anew: it doubles with every relapse, and is forgotten
in peace.
"""

from __future__ import annotations

from typing import ClassVar

from telemetry.coldchain.state import Remembering


class Holdoff(Remembering):
    """``hold_s`` is the calm needed now."""

    FIELDS: ClassVar[tuple[str, ...]] = ("hold_s", "ended_s")

    def __init__(self, base_s: float, max_s: float, relapse_s: float) -> None:
        self.base_s, self.max_s, self.relapse_s = base_s, max(base_s, max_s), relapse_s
        self.hold_s = base_s
        self.ended_s: float | None = None

    def begin(self, at_s: float) -> None:
        """The trouble is there (again)."""
        if self.ended_s is None or at_s - self.ended_s > self.relapse_s:
            self.hold_s = self.base_s
        else:
            self.hold_s = min(self.hold_s * 2, self.max_s)

    def end(self, at_s: float) -> None:
        """The trouble is over."""
        self.ended_s = at_s
