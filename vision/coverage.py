"""How long a camera really watched: seconds judged per kind and zone, beside the seconds in which it should have.

"No violations" means nothing without this. Time counts as judged only between two clear pictures in which everything
that the rule needs was looked for; in doubt it is not counted. Time while the process was not there is a hole between
two reports, never filled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

COVERAGE_INTERVAL_S = 900.0


@dataclass(frozen=True)
class CoverageRow:
    """Of one kind in one zone (empty: the whole picture): due by the schedule, and judged of that."""

    kind: str
    zone: str
    due_s: float
    judged_s: float


@dataclass(frozen=True)
class CoverageReport:
    """From ``started_at`` to ``at`` (UTC). ``models``: the SHA-256 of those that judge at its end."""

    camera_id: str
    started_at: datetime
    at: datetime
    blind_s: float
    rows: tuple[CoverageRow, ...]
    models: tuple[str, ...] = ()


@dataclass
class CoverageLedger:
    """One per camera; `take` empties it."""

    camera_id: str
    interval_s: float = COVERAGE_INTERVAL_S
    _started_at: datetime | None = None
    _started_s: float = 0.0
    _blind_s: float = 0.0
    _rows: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def start(self, at: datetime, now_s: float) -> None:
        """The first moment that counts; later calls change nothing."""
        if self._started_at is None:
            self._started_at, self._started_s = at, now_s

    def count(self, kind: str, zone: str, step_s: float, *, judged: bool) -> None:
        """*step_s* seconds in which *kind* had to be watched for."""
        row = self._rows.setdefault((kind, zone), [0.0, 0.0])
        row[0] += step_s
        row[1] += step_s if judged else 0.0

    def count_blind(self, step_s: float) -> None:
        self._blind_s += step_s

    def is_due(self, now_s: float) -> bool:
        return self._started_at is not None and now_s - self._started_s >= self.interval_s

    def take(self, at: datetime, now_s: float, models: tuple[str, ...] = ()) -> CoverageReport | None:
        """What was counted since the last report; None when nothing has begun."""
        if self._started_at is None:
            return None
        rows = tuple(CoverageRow(kind, zone, due, judged) for (kind, zone), (due, judged) in sorted(self._rows.items()))
        report = CoverageReport(self.camera_id, self._started_at, at, self._blind_s, rows, models)
        self._started_at, self._started_s, self._blind_s = at, now_s, 0.0
        self._rows.clear()
        return report
