"""Named parts of the picture, as polygons in shares of its width and height, so that they outlive a change of size.

Which point of a box decides is a zone's own choice: behind a counter nobody's feet are seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np

from vision.detections import Floats
from vision.frame import Image

Point = tuple[float, float]
Anchor = Literal["centre", "bottom", "top", "any"]
POINTS_MAX = 64
BLANK = 114
INSIDE_MAX = 1 - 1e-6  # a box that ends at the picture's edge still lies in a zone that does


def check_polygon(points: Sequence[Point]) -> None:
    """Raises ValueError unless *points* are 3 to 64 places from 0 to 1 that enclose something."""
    if not 3 <= len(points) <= POINTS_MAX:
        raise ValueError(f"a polygon has 3 to {POINTS_MAX} points, not {len(points)}")
    if any(not 0 <= value <= 1 or math.isnan(value) for point in points for value in point):
        raise ValueError("the points of a polygon lie between 0 and 1 of the picture's width and height")
    area = sum(
        x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(points, [*points[1:], points[0]], strict=True)
    )  # the shoelace formula, twice the area
    if abs(area) < 1e-4:
        raise ValueError("the polygon encloses nothing")


@dataclass(frozen=True)
class Zone:
    """``kind`` is a zone word of the catalogue (serving, special, cooking ...); no polygon is the whole picture."""

    zone_id: str
    kind: str = "all"
    polygon: tuple[Point, ...] = ()
    anchor: Anchor = "centre"

    def __post_init__(self) -> None:
        if self.anchor not in get_args(Anchor):
            raise ValueError(f"{self.anchor}: the anchor of a zone is one of {', '.join(get_args(Anchor))}")
        if self.polygon:
            check_polygon(self.polygon)

    def holds(self, box: Floats, width: int, height: int) -> bool:
        """Whether *box* (4,) in pixels belongs to the zone. ``any``: one of centre, top and bottom does."""
        if not self.polygon:
            return True
        left, top, right, bottom = (float(value) for value in box)
        x = min((left + right) / 2 / width, INSIDE_MAX)
        ys = {
            "centre": [(top + bottom) / 2],
            "top": [top],
            "bottom": [bottom],
            "any": [top, (top + bottom) / 2, bottom],
        }
        return any(_inside(self.polygon, x, min(y / height, INSIDE_MAX)) for y in ys[self.anchor])

    def bounds_px(self, width: int, height: int) -> tuple[int, int, int, int]:
        """The smallest rectangle around the zone: left, top, right, bottom in pixels."""
        if not self.polygon:
            return 0, 0, width, height
        xs, ys = [x for x, _ in self.polygon], [y for _, y in self.polygon]
        return (
            math.floor(min(xs) * width), math.floor(min(ys) * height),
            math.ceil(max(xs) * width), math.ceil(max(ys) * height),
        )  # fmt: skip


def _inside(polygon: Sequence[Point], x: float, y: float) -> bool:
    """Even-odd rule: a ray to the right crosses an odd number of sides."""
    inside = False
    for (x1, y1), (x2, y2) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            inside = not inside
    return inside


class Masks:
    """Parts of the picture that nobody looks at: they are grey before anything is detected, kept or sent."""

    def __init__(self, polygons: Sequence[Sequence[Point]]) -> None:
        """Raises ValueError."""
        for polygon in polygons:
            check_polygon(polygon)
        self._polygons = [np.array(polygon, np.float64) for polygon in polygons]

    def cover(self, image: Image) -> Image:
        """*image*, or a copy of it with the masked parts in grey."""
        if not self._polygons:
            return image
        size = np.array([image.shape[1], image.shape[0]])
        covered = image.copy()
        cv2.fillPoly(covered, [np.round(polygon * size).astype(np.int32) for polygon in self._polygons], (BLANK,) * 3)
        return covered
