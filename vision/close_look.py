"""A second, closer look at every small head: lost in the whole picture, it is large in a crop.

Where a head is small, the first look only says where it is, and the closer look decides what it wears. A small head
that the closer look does not confirm keeps half of its confidence, so that it counts as unknown rather than as a
verdict. A head that is large already is judged by the first look: a crop would cost time and take its surroundings
away. The two numbers below were chosen on the validation split (see vision/README.md), not on the test split.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vision.detections import Detections, Floats, iou_matrix
from vision.detector import Detector
from vision.frame import Image
from vision.heads import suppress

FIRST_LOOK_CONFIDENCE = 0.15  # low: the first look only finds where heads may be
SMALL_SHARE_MAX = 0.3  # a head whose longer side is less of the picture's longer side is looked at again
CROP_FACTOR = 2.0  # side of the square crop over the head's longer side
HEADS_MAX = 6  # per picture, largest first: a bound on the work
IOU_SAME_MIN = 0.3
IOU_MAX = 0.5


class CloseLookDetector:
    """Wraps a detector of heads; has the same port."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.names = detector.names
        self.sha256 = detector.sha256

    def detect(self, image: Image) -> Detections:
        """Heads of the picture; the small ones with the class and confidence of the closer look."""
        first = self._detector.detect(image)
        if not len(first):
            return first
        side = np.max(first.xyxy[:, 2:] - first.xyxy[:, :2], axis=1)
        small = side < SMALL_SHARE_MAX * max(image.shape[:2])
        boxes = first.xyxy.copy()
        class_id = first.class_id.copy()
        confidence = np.asarray(np.where(small, first.confidence * 0.5, first.confidence), np.float32)
        by_size = np.argsort(-side, kind="stable")
        chosen = by_size[small[by_size]][:HEADS_MAX]
        for index, closer in zip(chosen, self._look(image, first.xyxy[chosen]), strict=True):
            if closer is not None:
                boxes[index], confidence[index], class_id[index] = closer
        return suppress(Detections.of(boxes, confidence, class_id), IOU_MAX)

    def detect_many(self, images: Sequence[Image]) -> list[Detections]:
        return [self.detect(image) for image in images]

    def _look(self, image: Image, heads: Floats) -> list[tuple[Floats, float, int] | None]:
        """For each of *heads* (N, 4) what its crop shows in the same place."""
        squares = [_square(box, image.shape[1], image.shape[0]) for box in heads]
        large = [
            index for index, (left, top, right, bottom) in enumerate(squares) if min(right - left, bottom - top) >= 2
        ]
        crops = [
            np.ascontiguousarray(image[top:bottom, left:right])
            for left, top, right, bottom in (squares[index] for index in large)
        ]
        closer: list[tuple[Floats, float, int] | None] = [None] * len(heads)
        for index, found in zip(large, self._detector.detect_many(crops), strict=True):
            closer[index] = _same(heads[index], found, squares[index][:2])
        return closer


def _same(box: Floats, found: Detections, corner: tuple[int, int]) -> tuple[Floats, float, int] | None:
    """The surest of *found*, a crop's detections, that lies where *box* is; None when there is none."""
    if not len(found):
        return None
    moved = np.asarray(found.xyxy + np.array([*corner, *corner], np.float32), np.float32)
    same = iou_matrix(box[None], moved)[0]
    best = int(np.argmax(np.where(same >= IOU_SAME_MIN, found.confidence, -1)))
    if same[best] < IOU_SAME_MIN:
        return None
    return moved[best], float(found.confidence[best]), int(found.class_id[best])


def _square(box: Floats, width: int, height: int) -> tuple[int, int, int, int]:
    centre = (box[:2] + box[2:]) / 2
    half = CROP_FACTOR * float(np.max(box[2:] - box[:2])) / 2
    left, top = (int(max(0, value - half)) for value in centre)
    right, bottom = int(min(width, centre[0] + half)), int(min(height, centre[1] + half))
    return left, top, right, bottom
