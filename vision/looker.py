"""One model on one camera: when it looks, at which crops, and what it saw last, as sightings with tracks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from vision.close_look import FIRST_LOOK_CONFIDENCE, CloseLookDetector
from vision.detections import Detections
from vision.detector import Detector, OnnxDetector
from vision.frame import Frame, Image
from vision.heads import IOU_MAX, suppress
from vision.model_shelf import ModelShelf
from vision.reader import EARLY_SHARE, next_due
from vision.scene import Sighting, sightings_of
from vision.tracker import Tracker
from vision.watch_settings import ModelUse
from vision.zones import Zone

if TYPE_CHECKING:
    from vision.shadow import Shadow

STALE_S = 2.0  # what a model saw longer ago than this, or than two and a half of its own intervals, is not known now
STALE_INTERVALS = 2.5


@dataclass(frozen=True)
class LoadedModel:
    """A detector and what of its manifest matters here; in tests nothing of it does."""

    detector: Detector
    thresholds: Mapping[str, float] = field(default_factory=dict)
    per_class: bool = False

    @classmethod
    def load(cls, use: ModelUse, shelf: ModelShelf) -> LoadedModel:
        """The model of *use*, from *shelf* if another camera has it already; raises ModelError."""
        detector = OnnxDetector(use.path, confidence=FIRST_LOOK_CONFIDENCE, shelf=shelf)
        manifest = detector.manifest
        closer = manifest.close_look if use.close_look is None else use.close_look
        return cls(CloseLookDetector(detector) if closer else detector, manifest.thresholds, manifest.per_class)


class Looker:
    """See the module's docstring. ``classes``: those of its names that no model before it finds."""

    def __init__(
        self,
        model: LoadedModel,
        *,
        classes: frozenset[str],
        interval_s: float,
        regions: Sequence[Zone],
        confident: Mapping[str, float],
        groups: Mapping[str, int],
        ids: Iterator[int],
        confident_else: float,
    ) -> None:
        self.detector = model.detector
        self.classes = classes
        self.interval_s = interval_s
        self.stale_s = max(STALE_S, STALE_INTERVALS * interval_s)
        self.sightings: tuple[Sighting, ...] = ()
        self.looked_s: float | None = None
        self.shadow: Shadow | None = None
        self._regions = regions
        self._due_s: float | None = None
        names = self.detector.names.items()
        self._new_tracker = partial(
            Tracker,
            confident=confident_else,
            confident_by_class=self._by_class(confident),
            # Where one place has one class, a head that turns and is taken for something else is still that head.
            groups={number: groups[name] for number, name in names if name in groups} if model.per_class else {},
            ids=ids,
        )
        self._tracker = self._new_tracker()

    def is_due(self, now_s: float) -> bool:
        return self._due_s is None or now_s + EARLY_SHARE * self.interval_s >= self._due_s

    def is_fresh(self, now_s: float) -> bool:
        """Whether what it saw last still says something about now."""
        return self.looked_s is not None and 0 <= now_s - self.looked_s <= self.stale_s

    def look(self, frame: Frame) -> None:
        """Look at *frame* now; `sightings` are what it saw."""
        now_s = frame.monotonic_s
        self._due_s = next_due(now_s if self._due_s is None else self._due_s, now_s, self.interval_s)
        seen = self.detect_with(self.detector, frame.image)
        found = self._tracker.update(seen, now_s)
        sightings = sightings_of(found, self.detector.names)
        self.sightings = tuple(item for item in sightings if item.name in self.classes)
        self.looked_s = now_s
        if self.shadow is not None:
            self.shadow.offer(frame, seen)

    def adopt(self, model: LoadedModel, confident: Mapping[str, float]) -> None:
        """Look with *model* from the next picture on; it has the same classes."""
        self.detector = model.detector
        self._new_tracker = partial(self._new_tracker, confident_by_class=self._by_class(confident))
        self._tracker.confident_by_class = self._by_class(confident)

    def _by_class(self, confident: Mapping[str, float]) -> dict[int, float]:
        return {number: confident[name] for number, name in self.detector.names.items() if name in confident}

    def sightings_in(self, frame: Frame) -> tuple[Sighting, ...]:
        """What there is in the whole of *frame*, for once: its own look when that was at this picture and no crops."""
        if self.looked_s == frame.monotonic_s and not self._regions:
            return self.sightings
        return sightings_of(self.detector.detect(frame.image), self.detector.names)

    def forget(self) -> None:
        """The camera did not see: nothing that was seen before says anything now."""
        self.sightings, self.looked_s = (), None

    def begin_anew(self) -> None:
        """Pictures have another size from now on: places in them mean something else."""
        self.forget()
        self._tracker = self._new_tracker()

    def detect_with(self, detector: Detector, image: Image) -> Detections:
        """What *detector* sees in *image*, or in its regions, in pixels of *image*."""
        if not self._regions:
            return detector.detect(image)
        height, width = image.shape[:2]
        bounds = [zone.bounds_px(width, height) for zone in self._regions]
        crops = [np.ascontiguousarray(image[top:bottom, left:right]) for left, top, right, bottom in bounds]
        parts = [
            (found.xyxy + np.array([left, top] * 2, np.float32), found.confidence, found.class_id)
            for found, (left, top, _, _) in zip(detector.detect_many(crops), bounds, strict=True)
        ]
        joined = Detections.of(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        return suppress(joined, IOU_MAX, per_class=True)  # regions may overlap: the same rat twice
