"""How long a camera really watched: seconds judged per kind and zone, beside the seconds in which it should have.

"No violations" means nothing without this. Time counts as judged only between two clear pictures in which everything
that the rule needs was looked for; in doubt it is not counted. A report ends where the camera was last surely live: of
a picture that turns out to have stood still nothing is counted. Time while the process was not there is a hole
between two reports, never filled.
"""

from __future__ import annotations

import math
from collections import deque
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
class _Step:
    """The time between two moments, until it is known that the camera was live in it."""

    at: datetime
    now_s: float
    step_s: float
    blind: bool = False
    judged: dict[tuple[str, str], bool] = field(default_factory=dict)  # by kind and zone that was due


@dataclass
class CoverageLedger:
    """One per camera; `take` empties it. What is not settled belongs to the next report."""

    camera_id: str
    interval_s: float = COVERAGE_INTERVAL_S
    _started_at: datetime | None = None
    _started_s: float = 0.0
    _settled_at: datetime | None = None
    _settled_s: float = 0.0
    _blind_s: float = 0.0
    _rows: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    _open: deque[_Step] = field(default_factory=deque)

    def step(self, at: datetime, now_s: float, step_s: float) -> None:
        """The *step_s* seconds before this moment; what is counted next happened in them."""
        if self._started_at is None:
            self._started_at = self._settled_at = at
            self._started_s = self._settled_s = now_s
        self._open.append(_Step(at, now_s, step_s))

    def count(self, kind: str, zone: str, *, judged: bool) -> None:
        """In the last step *kind* had to be watched for."""
        self._open[-1].judged[kind, zone] = judged

    def count_blind(self) -> None:
        """In the last step the camera did not see clearly."""
        self._open[-1].blind = True

    def settle(self, until_s: float) -> None:
        """What was counted up to monotonic *until_s* holds."""
        while self._open and self._open[0].now_s <= until_s:
            step = self._open.popleft()
            self._settled_at, self._settled_s = step.at, step.now_s
            self._blind_s += step.step_s if step.blind else 0.0
            for key, judged in step.judged.items():
                row = self._rows.setdefault(key, [0.0, 0.0])
                row[0] += step.step_s
                row[1] += step.step_s if judged else 0.0

    def take_back(self) -> None:
        """What is not settled was not seen: the picture stood still."""
        for step in self._open:
            step.blind, step.judged = True, dict.fromkeys(step.judged, False)
        self.settle(math.inf)

    def is_due(self) -> bool:
        return self._started_at is not None and self._settled_s - self._started_s >= self.interval_s

    def take(self, models: tuple[str, ...] = ()) -> CoverageReport | None:
        """What was settled since the last report; None when nothing has begun."""
        if self._started_at is None or self._settled_at is None:
            return None
        rows = tuple(CoverageRow(kind, zone, due, judged) for (kind, zone), (due, judged) in sorted(self._rows.items()))
        report = CoverageReport(self.camera_id, self._started_at, self._settled_at, self._blind_s, rows, models)
        self._started_at, self._started_s, self._blind_s = self._settled_at, self._settled_s, 0.0
        self._rows.clear()
        return report
