"""The lines between the box and a camera process: what the box orders, what the process says."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from telemetry.commands import Verdict
from telemetry.messages import Identifier

CANDIDATE_OFF = "candidate_off"  # the ``kind`` of a ``model_changed``, beside promoted and rolled_back


class CameraOrder(BaseModel):
    """One line to the process: look at ``camera`` now (``snapshot``), look again for ``kind`` in ``zone``
    (``recheck``), or cut a film from ``before_s`` before ``at`` to ``after_s`` after it (``clip``)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    order_id: Identifier
    camera: Identifier
    what: Literal["snapshot", "recheck", "clip"]
    kind: Annotated[str, Field(max_length=64)] = ""
    zone: Annotated[str, Field(max_length=64)] = ""
    at: AwareDatetime | None = None
    before_s: Annotated[float, Field(ge=0, le=30)] = 5.0
    after_s: Annotated[float, Field(ge=0, le=30)] = 5.0


class CoverageLine(BaseModel):
    """Seconds that had to be watched, and were, of one kind in one zone (empty: the whole picture)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    zone: str
    due_s: float
    judged_s: float


class CameraReport(BaseModel):
    """One line of what the camera process says; ``camera`` is the id."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    camera: str
    type: Literal[
        "violation_opened",
        "violation_updated",
        "violation_closed",
        "camera_blind",
        "camera_recovered",
        "coverage",
        "stats",
        "storage",
        "misconfigured",
        "model_changed",
        "looked",
    ]
    at: AwareDatetime | None = None
    incident_id: str | None = None
    kind: str | None = None
    zone: str | None = None
    confidence: float | None = None
    duration_s: float | None = None
    model_sha256: str | None = None
    other_sha256: str | None = None
    evidence: list[str] = []
    evidence_missing: list[str] = []
    is_film: bool = False
    reason: str | None = None
    order_id: str | None = None
    status: Literal["done", "refused", "failed"] | None = None
    verdict: Verdict | None = None
    judged: int | None = None
    drops: dict[str, int] = {}
    rate_fps: float | None = None
    age_ms_max: float | None = None
    inference_ms_mean: float | None = None
    blind_s: float | None = None
    started_at: AwareDatetime | None = None
    coverage: list[CoverageLine] = []
    models: list[str] = []
