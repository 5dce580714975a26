"""What is known to be in front of a camera at one moment: the sightings of all its models, by class name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from vision.detections import NO_TRACK, Detections, Floats


@dataclass(frozen=True)
class Sighting:
    """One object: its class, box (left, top, right, bottom) in pixels, confidence, and track (NO_TRACK = doubtful)."""

    name: str
    xyxy: Floats
    confidence: float
    track_id: int = NO_TRACK

    @property
    def height_px(self) -> float:
        return float(self.xyxy[3] - self.xyxy[1])

    @property
    def width_px(self) -> float:
        return float(self.xyxy[2] - self.xyxy[0])


@dataclass(frozen=True)
class Scene:
    """``looked_for``: the classes that a model looked for lately; of any other class nothing is known.

    ``thresholds``: the confidence at which a class is meant, as its model's manifest says.
    """

    sightings: tuple[Sighting, ...]
    looked_for: frozenset[str]
    width: int
    height: int
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def of(self, names: Iterable[str]) -> Iterator[Sighting]:
        wanted = set(names)
        return (item for item in self.sightings if item.name in wanted)


def sightings_of(found: Detections, names: dict[int, str]) -> tuple[Sighting, ...]:
    """Detections as sightings."""
    rows = zip(found.xyxy, found.confidence, found.class_id, found.track_id, strict=True)
    return tuple(Sighting(names[int(kind)], box, float(sure), int(track)) for box, sure, kind, track in rows)


def share_within(inner: Floats, outer: Floats) -> float:
    """The share of *inner*'s area that lies inside *outer*; 0 for a box without area."""
    width = min(inner[2], outer[2]) - max(inner[0], outer[0])
    height = min(inner[3], outer[3]) - max(inner[1], outer[1])
    area = (inner[2] - inner[0]) * (inner[3] - inner[1])
    return float(width * height / area) if width > 0 and height > 0 and area > 0 else 0.0


def distance_px(first: Floats, second: Floats) -> float:
    """Between the nearest points of two boxes; 0 when they touch."""
    across = max(0.0, float(first[0] - second[2]), float(second[0] - first[2]))
    along = max(0.0, float(first[1] - second[3]), float(second[1] - first[3]))
    return float(np.hypot(across, along))
