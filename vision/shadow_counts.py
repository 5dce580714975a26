"""How a candidate model and the live one agree, counted class by class; pure.

Two boxes agree when they have the same class and overlap, each at the confidence that its own model's manifest asks
for. A picture agrees when all of its boxes do. Intervals: Wilson (1927), 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vision.catalogue import DEFAULT_CONFIDENCE
from vision.detections import Detections, Floats, iou_matrix

IOU_SAME_MIN = 0.5
Z_95 = 1.959964


@dataclass(frozen=True)
class Seen:
    """What one model saw, by name, at its own thresholds."""

    names: tuple[str, ...]
    xyxy: Floats

    @classmethod
    def of(cls, found: Detections, names: Mapping[int, str], thresholds: Mapping[str, float]) -> Seen:
        rows = [
            (names[int(kind)], number)
            for number, (kind, sure) in enumerate(zip(found.class_id, found.confidence, strict=True))
            if sure >= thresholds.get(names[int(kind)], DEFAULT_CONFIDENCE)
        ]
        return cls(tuple(name for name, _ in rows), found.xyxy[[number for _, number in rows]])


@dataclass(frozen=True)
class Comparison:
    """Names of the boxes that both saw, and those that only one did with their places."""

    both: tuple[str, ...]
    only_live: tuple[tuple[str, Floats], ...]
    only_other: tuple[tuple[str, Floats], ...]

    @property
    def agrees(self) -> bool:
        return not self.only_live and not self.only_other


def compare(live: Seen, other: Seen) -> Comparison:
    """Pair the boxes of a class greedily, best overlap first."""
    overlap = iou_matrix(live.xyxy, other.xyxy)
    same = np.array([[name == theirs for theirs in other.names] for name in live.names], bool).reshape(overlap.shape)
    overlap = np.where(same, overlap, 0)
    mine, theirs = set(range(len(live.names))), set(range(len(other.names)))
    both = []
    for flat in np.argsort(-overlap, axis=None, kind="stable"):
        row, column = divmod(int(flat), len(other.names))
        if overlap[row, column] < IOU_SAME_MIN:
            break
        if row in mine and column in theirs:
            mine.discard(row)
            theirs.discard(column)
            both.append(live.names[row])
    return Comparison(
        tuple(both),
        tuple((live.names[number], live.xyxy[number]) for number in sorted(mine)),
        tuple((other.names[number], other.xyxy[number]) for number in sorted(theirs)),
    )


def wilson(hits: int, tries: int) -> tuple[float, float]:
    """The interval of a share, 95 %; all of 0 to 1 when nothing was tried."""
    if not tries:
        return 0.0, 1.0
    share, spread = hits / tries, Z_95**2 / tries
    centre = share + spread / 2
    margin = Z_95 * math.sqrt((share * (1 - share) + spread / 4) / tries)
    return max(0.0, (centre - margin) / (1 + spread)), min(1.0, (centre + margin) / (1 + spread))


@dataclass
class ShadowCounts:
    """Since the last decision. ``skipped``: pictures of the share that found the candidate busy or at rest."""

    pictures: int = 0
    agreed: int = 0
    skipped: int = 0
    errors: int = 0
    cpu_s: float = 0.0
    classes: dict[str, list[int]] = field(default_factory=dict)  # both, only live, only the candidate

    def add(self, found: Comparison) -> None:
        self.pictures += 1
        self.agreed += found.agrees
        names = (found.both, [name for name, _ in found.only_live], [name for name, _ in found.only_other])
        for column, group in enumerate(names):
            for name in group:
                self.classes.setdefault(name, [0, 0, 0])[column] += 1

    def as_report(self) -> dict[str, Any]:
        """With the shares and their intervals."""

        def share(hits: int, tries: int) -> dict[str, Any]:
            low, high = wilson(hits, tries)
            return {"share": round(hits / tries, 4) if tries else None, "interval_95": [round(low, 4), round(high, 4)]}

        classes = {
            name: {"both": both, "only_live": live, "only_candidate": other, **share(both, both + live + other)}
            for name, (both, live, other) in sorted(self.classes.items())
        }
        return {
            "pictures": self.pictures, "agreed": self.agreed, **share(self.agreed, self.pictures),
            "skipped": self.skipped, "errors": self.errors,
            "cpu_ms_mean": round(1000 * self.cpu_s / self.pictures, 1) if self.pictures else None, "classes": classes,
        }  # fmt: skip
