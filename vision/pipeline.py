"""One camera from pictures to violations: source → detector → tracker → violation machine → snapshot.

Everything that happens comes out of `Watch.run` as one item; a lost or black picture is an item too, and no
violation opens or closes while it lasts. A class that the kind of violation says nothing about is unknown, and a model
without the class that violates is refused: it would watch for ever and find nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from vision.close_look import FIRST_LOOK_CONFIDENCE, CloseLookDetector
from vision.detections import NO_TRACK, Detections
from vision.detector import DEFAULT_MODEL, Detector, ModelError, OnnxDetector
from vision.frame import Frame
from vision.snapshot import annotated_jpeg, raw_jpeg
from vision.source import SourceLost, VideoSource
from vision.tracker import Tracker
from vision.violation import Closed, Observation, Opened, Verdict, ViolationMachine, ViolationRule

VERDICTS: dict[str, dict[str, Verdict]] = {"no_mask": {"no_mask": "violating", "mask": "compliant"}}  # kind → class
BLACK_LEVEL_MAX = 12.0  # mean of all samples, of 255
BLACK_STEP_PX = 8  # every eighth pixel each way tells black as well as all of them
STATS_INTERVAL_S = 10.0


@dataclass(frozen=True)
class OpenIncident:
    """An incident that was open before a restart."""

    incident_id: str
    kind: str


@dataclass(frozen=True)
class WatchSettings:
    """How one camera is watched; sizes in pixels, times in seconds."""

    camera_id: str
    source: str
    model_path: Path = DEFAULT_MODEL
    kind: str = "no_mask"
    dwell_s: float = 3.0
    recover_s: float = 10.0
    window_share: float = 0.6
    rate_fps: float = 5.0
    confidence: float = 0.4
    min_head_px: float = 24.0
    loop: bool = True
    open_incidents: tuple[OpenIncident, ...] = ()


@dataclass(frozen=True)
class ViolationOpened:
    """A confirmed violation with its pictures (JPEG)."""

    incident_id: str
    kind: str
    at: datetime
    camera_id: str
    confidence: float
    track_id: int
    duration_s: float
    snapshot_jpeg: bytes
    annotated_jpeg: bytes
    model_sha256: str


@dataclass(frozen=True)
class ViolationClosed:
    """The violation is over."""

    incident_id: str
    kind: str
    at: datetime
    camera_id: str


@dataclass(frozen=True)
class CameraStatus:
    """Sent when the camera goes blind (with the reason) or sees again."""

    camera_id: str
    blind: bool
    reason: str
    at: datetime


@dataclass(frozen=True)
class FrameStats:
    """Every ten seconds, blind or not: pictures judged and dropped since the start."""

    camera_id: str
    judged: int
    dropped: int


WatchItem = ViolationOpened | ViolationClosed | CameraStatus | FrameStats


@dataclass
class Watch:
    """Watches one camera; *detector* replaces the model in tests."""

    settings: WatchSettings
    detector: Detector | None = None
    _blind: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        if settings.kind not in VERDICTS:
            raise ValueError(f"{settings.kind}: no such kind of violation; known are {', '.join(VERDICTS)}")
        if not 0 < settings.confidence < 1:
            raise ValueError(f"confidence is {settings.confidence}; it must be between 0 and 1")
        self._verdicts = VERDICTS[settings.kind]
        if self.detector is None:
            first_look = OnnxDetector(settings.model_path, confidence=FIRST_LOOK_CONFIDENCE)
            self.detector = CloseLookDetector(first_look)
        if not any(self._verdicts.get(name) == "violating" for name in self.detector.names.values()):
            names = ", ".join(self.detector.names.values())
            raise ModelError(
                f"{settings.model_path}: knows {names}, none of which is {settings.kind}; use another model"
            )
        rule = ViolationRule(settings.kind, settings.dwell_s, settings.recover_s, settings.window_share)
        resumed = [item.incident_id for item in settings.open_incidents if item.kind == settings.kind]
        self._machine = ViolationMachine(rule, resumed[0] if resumed else None)
        self._tracker = Tracker(confident=settings.confidence)

    def run(self, stop: threading.Event) -> Iterator[WatchItem]:
        """Items until *stop* is set or a file that does not loop ends."""
        settings = self.settings
        judged = 0
        stats_due_s = 0.0
        with VideoSource(settings.source, rate_fps=settings.rate_fps, loop=settings.loop) as source:
            for item in source:
                if stop.is_set():
                    return
                if isinstance(item, SourceLost):
                    yield from self._lost("offline: " + item.reason)
                else:
                    yield from self.judge(item)
                    judged += not self._blind  # a black picture was not judged
                if item.monotonic_s >= stats_due_s:  # while blind too: it says that this process lives
                    stats_due_s = item.monotonic_s + STATS_INTERVAL_S
                    yield FrameStats(settings.camera_id, judged, source.dropped)

    def _lost(self, reason: str) -> Iterator[WatchItem]:
        self._machine.blind()
        if not self._blind:
            self._blind = True
            yield CameraStatus(self.settings.camera_id, True, reason, datetime.now(UTC))

    def judge(self, frame: Frame) -> Iterator[WatchItem]:
        """The items that one picture gives rise to."""
        if float(np.mean(frame.image[::BLACK_STEP_PX, ::BLACK_STEP_PX])) < BLACK_LEVEL_MAX:
            yield from self._lost("black picture")
            return
        if self._blind:
            self._blind = False
            yield CameraStatus(self.settings.camera_id, False, "", frame.captured_at)
        assert self.detector is not None
        found = self._tracker.update(self.detector.detect(frame.image), frame.monotonic_s)
        outcome = self._machine.observe(self._observations(found), frame.monotonic_s)
        if isinstance(outcome, Closed):
            settings = self.settings
            yield ViolationClosed(outcome.incident_id, settings.kind, frame.captured_at, settings.camera_id)
        elif isinstance(outcome, Opened):
            yield self._opened(outcome, frame, found)

    def _observations(self, found: Detections) -> list[Observation]:
        assert self.detector is not None
        observations = []
        for box, confidence, class_id, track_id in zip(
            found.xyxy, found.confidence, found.class_id, found.track_id, strict=True
        ):
            if track_id == NO_TRACK:
                continue
            verdict: Verdict = "unknown"
            if box[3] - box[1] >= self.settings.min_head_px and confidence >= self.settings.confidence:
                verdict = self._verdicts.get(self.detector.names[int(class_id)], "unknown")
            observations.append(Observation(int(track_id), verdict, float(confidence)))
        return observations

    def _opened(self, outcome: Opened, frame: Frame, found: Detections) -> ViolationOpened:
        assert self.detector is not None
        settings = self.settings
        box = found.xyxy[np.flatnonzero(found.track_id == outcome.track_id)[0]]
        picture = annotated_jpeg(frame, box, settings.kind, outcome.confidence, settings.camera_id)
        return ViolationOpened(
            incident_id=outcome.incident_id,
            kind=settings.kind,
            at=frame.captured_at,
            camera_id=settings.camera_id,
            confidence=outcome.confidence,
            track_id=outcome.track_id,
            duration_s=outcome.duration_s,
            snapshot_jpeg=raw_jpeg(frame),
            annotated_jpeg=picture,
            model_sha256=self.detector.sha256,
        )
