"""What a detector saw in one picture, as parallel arrays whose shapes are checked."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
NO_TRACK = -1


@dataclass(frozen=True)
class Detections:
    """``xyxy`` (N, 4) in pixels of the picture; ``confidence``, ``class_id``, ``track_id`` (N,), -1 = no track."""

    xyxy: Floats
    confidence: Floats
    class_id: Ints
    track_id: Ints

    def __post_init__(self) -> None:
        count = len(self.xyxy)
        if self.xyxy.shape != (count, 4):
            raise ValueError(f"xyxy has shape {self.xyxy.shape}, not (N, 4)")
        for name in ("confidence", "class_id", "track_id"):
            shape = getattr(self, name).shape
            if shape != (count,):
                raise ValueError(f"{name} has shape {shape}, not ({count},)")

    @classmethod
    def of(cls, xyxy: npt.ArrayLike, confidence: npt.ArrayLike, class_id: npt.ArrayLike) -> Detections:
        """Detections without tracks from anything array-like."""
        boxes = np.asarray(xyxy, np.float32).reshape(-1, 4)
        return cls(
            boxes,
            np.asarray(confidence, np.float32).reshape(-1),
            np.asarray(class_id, np.int64).reshape(-1),
            np.full(len(boxes), NO_TRACK, np.int64),
        )

    def __len__(self) -> int:
        return len(self.xyxy)

    def tracked(self, track_id: Ints) -> Detections:
        return replace(self, track_id=track_id)


def iou_matrix(first: Floats, second: Floats) -> Floats:
    """Intersection over union of every box of *first* (N, 4) with every box of *second* (M, 4): (N, M)."""
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    width_height = np.clip(bottom_right - top_left, 0, None)
    overlap = width_height[..., 0] * width_height[..., 1]
    area_first = np.prod(first[:, 2:] - first[:, :2], axis=1)
    area_second = np.prod(second[:, 2:] - second[:, :2], axis=1)
    union = area_first[:, None] + area_second[None, :] - overlap
    return np.asarray(overlap / np.maximum(union, 1e-9), np.float32)
