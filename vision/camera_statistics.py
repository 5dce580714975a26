"""How one camera's watch runs, counted as it goes: pictures, drops by cause, blind time, age and cost of a verdict.

Every picture that was due and not judged has one cause: ``overload`` (nobody had time before the next came),
``superseded`` (the next came too soon after it), ``stale`` (older than two seconds when its turn came),
``decode_error`` (damaged, or drawn from a damaged one), ``blind`` (the camera did not see clearly).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vision.happenings import FrameStats

STATS_INTERVAL_S = 10.0
DROP_CAUSES = ("overload", "superseded", "stale", "decode_error", "blind")


@dataclass
class CameraStatistics:
    """``doubtful`` and ``blind_s`` are counted by whoever sees them."""

    camera_id: str
    judged: int = 0
    doubtful: int = 0
    blind_s: float = 0.0
    _due_s: float | None = None
    _since_s: float = 0.0
    _recent: int = 0
    _age_s_max: float = 0.0
    _cost_s: float = field(default=0.0)

    def judged_one(self, begun_s: float, done_s: float, taken_s: float) -> None:
        """One verdict: begun and done at, on a picture taken at (all monotonic)."""
        self.judged += 1
        self._recent += 1
        self._cost_s += done_s - begun_s
        self._age_s_max = max(self._age_s_max, done_s - taken_s)

    def due(self, now_s: float, drops: Mapping[str, int]) -> FrameStats | None:
        """The figures, every STATS_INTERVAL_S from the first call on."""
        if self._due_s is not None and now_s < self._due_s:
            return None
        return self.figures(now_s, drops)

    def figures(self, now_s: float, drops: Mapping[str, int]) -> FrameStats:
        """The figures now; what is of the last interval begins anew."""
        elapsed_s = now_s - self._since_s if self._due_s is not None else 0.0
        figures = FrameStats(
            self.camera_id,
            self.judged,
            {**dict.fromkeys(DROP_CAUSES, 0), **drops, "blind": self.doubtful},
            round(self.blind_s, 3),
            round(self._recent / elapsed_s, 2) if elapsed_s > 0 else 0.0,
            round(1000 * self._age_s_max, 1),
            round(1000 * self._cost_s / self._recent, 2) if self._recent else 0.0,
        )
        self._due_s, self._since_s = now_s + STATS_INTERVAL_S, now_s
        self._recent, self._age_s_max, self._cost_s = 0, 0.0, 0.0
        return figures
