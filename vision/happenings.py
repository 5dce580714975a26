"""Everything that comes out of watching a camera, one item each; times are UTC, pictures JPEG."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from vision.coverage import CoverageReport
from vision.faces import Faces
from vision.violation import Verdict


@dataclass(frozen=True)
class ViolationOpened:
    """A confirmed violation. ``original_jpeg`` is as the camera saw it, the other two pictures are for sharing:
    faces are hidden in them as ``faces`` says. ``box``: where it is (left, top, right, bottom, in 0-1), None for all.
    """

    incident_id: str
    kind: str
    zone: str
    at: datetime
    camera_id: str
    confidence: float
    track_id: int
    duration_s: float
    original_jpeg: bytes
    snapshot_jpeg: bytes
    annotated_jpeg: bytes
    faces: Faces
    model_sha256: str
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class ViolationClosed:
    """The violation is over: ``recovered``, or its ``period_over`` (nobody has to wear a mask after lunch)."""

    incident_id: str
    kind: str
    zone: str
    at: datetime
    camera_id: str
    reason: str = "recovered"


@dataclass(frozen=True)
class ClipReady:
    """The film of an incident, from before it began to after it was confirmed, as the camera sent it: not for sharing,
    and of a camera with masks not for keeping either.

    ``first_at`` and ``last_at`` are the times of the first and the last of its ``frames`` pictures.
    """

    incident_id: str
    kind: str
    zone: str
    at: datetime
    camera_id: str
    clip_mp4: bytes
    first_at: datetime
    last_at: datetime
    frames: int
    model_sha256: str


@dataclass(frozen=True)
class ClipMissing:
    """There will be no film of an incident, for the reason."""

    incident_id: str
    kind: str
    zone: str
    at: datetime
    camera_id: str
    reason: str


@dataclass(frozen=True)
class CameraStatus:
    """Sent when the camera goes blind (with the reason) or sees again."""

    camera_id: str
    blind: bool
    reason: str
    at: datetime


@dataclass(frozen=True)
class FrameStats:
    """Every ten seconds, blind or not. Counts and seconds are since the start; the rest is of the last ten seconds."""

    camera_id: str
    judged: int
    drops: Mapping[str, int]  # pictures that were not judged, by cause, see `vision.camera_statistics`
    blind_s: float = 0.0
    rate_fps: float = 0.0
    age_ms_max: float = 0.0  # of a picture when its verdict was there
    inference_ms_mean: float = 0.0  # all that a picture costs: models, tracks, rules


@dataclass(frozen=True)
class ModelChanged:
    """A candidate became the live model (``promoted``), or the former one is it again; ``other``: its shadow now."""

    camera_id: str
    promoted: bool
    at: datetime
    reason: str
    model_sha256: str
    other_sha256: str


@dataclass(frozen=True)
class CandidateOff:
    """A candidate took the camera process down and is not loaded any more; the live model goes on alone."""

    camera_id: str
    at: datetime
    reason: str
    model_sha256: str


@dataclass(frozen=True)
class RecordingChanged:
    """The camera is recorded no more, for the reason, or again."""

    camera_id: str
    at: datetime
    on: bool
    reason: str


@dataclass(frozen=True)
class Looked:
    """The answer to a `vision.looks.LookOrder`: with pictures when it is ``done``, with a verdict after a second look.
    ``original_jpeg`` shows faces, and so does ``clip_mp4``, from ``first_at`` to ``last_at``, which also shows what is
    masked."""

    order_id: str
    camera_id: str
    at: datetime
    status: Literal["done", "refused", "failed"]
    reason: str
    kind: str = ""
    zone: str = ""
    verdict: Verdict | None = None
    original_jpeg: bytes = b""
    snapshot_jpeg: bytes = b""
    faces: Faces = "not_checked"
    model_sha256: str = "0" * 64
    clip_mp4: bytes = b""
    first_at: datetime | None = None
    last_at: datetime | None = None
    frames: int = 0


WatchItem = (
    Looked
    | ViolationOpened
    | ViolationClosed
    | ClipReady
    | ClipMissing
    | CameraStatus
    | FrameStats
    | CoverageReport
    | ModelChanged
    | CandidateOff
    | RecordingChanged
)
