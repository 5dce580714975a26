"""Pictures and detections for tests: what a camera sees, five times a second, never twice the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import cv2
import numpy as np

from vision.detections import Detections
from vision.frame import Frame, Image
from vision.keyframes import Keyframe

START = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)  # a Monday, noon in Shanghai


@cache
def wall(width: int, height: int) -> Image:
    """A tiled wall with shelves, the same one every time: every part of it has something to be seen in it."""
    rng = np.random.default_rng(11)
    image = np.full((height, width, 3), 150, np.uint8)
    for _ in range(260):
        left, top = int(rng.integers(0, width)), int(rng.integers(0, height))
        size = rng.integers(8, 50, 2)
        shade = tuple(int(value) for value in rng.integers(60, 230, 3))
        cv2.rectangle(image, (left, top), (left + int(size[0]), top + int(size[1])), shade, -1)
    return image


def frame(index: int, image: Image | None = None, *, fps: float = 5) -> Frame:
    """Picture number *index*; with the sensor's noise unless *image* says otherwise."""
    if image is None:
        noise = np.random.default_rng(index).integers(0, 6, (360, 640, 3), dtype=np.uint8)
        image = np.asarray(cv2.add(wall(640, 360), noise), np.uint8)
    at_s = index / fps
    return Frame(image, START + timedelta(seconds=at_s), at_s, index, keyframe(image))


def keyframe(image: Image) -> Keyframe:
    """As a camera sends it whose pictures are all keyframes."""
    return Keyframe.of(image[..., 1], intra=True)


def black(index: int) -> Frame:
    return frame(index, np.random.default_rng(index).integers(0, 6, (360, 640, 3), dtype=np.uint8))


def boxes(*rows: tuple[int, float, float, float, float] | tuple[int, float, float, float, float, float]) -> Any:
    """Detections from (class, left, top, right, bottom[, confidence])."""
    return Detections.of(
        [row[1:5] for row in rows], [row[5] if len(row) > 5 else 0.9 for row in rows], [r[0] for r in rows]
    )
