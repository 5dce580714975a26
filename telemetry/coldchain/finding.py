"""What the judgement says: one finding is one sentence for a person, its phrases, and the numbers it rests on.

Times are seconds since 1970 (UTC) as floats, temperatures °C. Findings are values: comparing two runs is comparing
lists.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from telemetry.coldchain.wording import Clock, Phrase, english

Side = Literal["high", "low"]
FindingKind = Literal[
    "excursion_opened", "excursion_updated", "excursion_closed", "warning", "sensor_fault", "data_gap", "defrost"
]
Severity = Literal["info", "warning", "critical"]
NOTIFYING: frozenset[str] = frozenset({"excursion_opened", "warning", "sensor_fault", "data_gap"})


@dataclass(frozen=True)
class Cause:
    """A root-cause hint: ``code`` for the catalogue of texts, ``evidence`` the fact that it rests on, in English."""

    code: str
    evidence: str
    said: Phrase

    @classmethod
    def of(cls, code: str, said: Phrase, clock: Clock) -> Cause:
        return cls(code, english((said,), clock), said)


@dataclass(frozen=True)
class Finding:
    """``code`` says which rule spoke; ``value_c`` is the reading, ``product_c`` the estimated product temperature.

    ``reason`` is what ``said`` says, in English.
    """

    kind: FindingKind
    code: str
    at_s: float
    sensor: str
    side: Side
    value_c: float | None
    limit_c: float | None
    reason: str
    severity: Severity = "warning"
    product_c: float | None = None
    forecast_at_s: float | None = None
    causes: tuple[Cause, ...] = field(default=())
    said: tuple[Phrase, ...] = ()

    @property
    def notifies(self) -> bool:
        """Whether a person is told at once."""
        return self.kind in NOTIFYING
