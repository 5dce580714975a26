"""The closer look: small heads are judged in a crop, large ones are not looked at twice, the unconfirmed count half."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from vision.close_look import HEADS_MAX, CloseLookDetector
from vision.detections import Detections
from vision.frame import Image

NAMES = {0: "mask", 1: "no_mask"}
NOTHING = Detections.of([], [], [])


class TwoLooks:
    """Says one thing of the whole picture, another of its crops, and keeps the sizes of what it was shown."""

    def __init__(self, whole: Detections, crop: Callable[[Image], Detections]) -> None:
        self.names, self.sha256 = NAMES, "0" * 64
        self.whole, self.crop, self.shown = whole, crop, list[tuple[int, ...]]()

    def detect(self, image: Image) -> Detections:
        self.shown.append(image.shape[:2])
        return self.whole if len(self.shown) == 1 else self.crop(image)

    def detect_many(self, images: Sequence[Image]) -> list[Detections]:
        return [self.detect(image) for image in images]


def middle(image: Image, class_id: int, confidence: float) -> Detections:
    """A box over the middle half of a crop."""
    height, width = image.shape[:2]
    return Detections.of([[width / 4, height / 4, width * 3 / 4, height * 3 / 4]], [confidence], [class_id])


PICTURE = np.zeros((400, 600, 3), np.uint8)
SMALL = Detections.of([[280, 180, 320, 220]], [0.3], [0])


def test_a_small_head_wears_what_the_closer_look_says() -> None:
    detector = TwoLooks(SMALL, lambda crop: middle(crop, 1, 0.9))
    found = CloseLookDetector(detector).detect(PICTURE)
    assert detector.shown == [(400, 600), (80, 80)]
    assert found.class_id.tolist() == [1]
    assert found.confidence.tolist() == pytest.approx([0.9])
    assert found.xyxy.tolist() == [[280, 180, 320, 220]]  # back in the pixels of the whole picture


def test_a_large_head_is_not_looked_at_twice_and_keeps_its_confidence() -> None:
    large = Detections.of([[200, 100, 400, 300]], [0.6], [0])
    detector = TwoLooks(large, lambda crop: middle(crop, 1, 0.9))
    found = CloseLookDetector(detector).detect(PICTURE)
    assert len(detector.shown) == 1
    assert (found.class_id.tolist(), found.confidence.tolist()) == ([0], pytest.approx([0.6]))


def test_a_small_head_that_the_closer_look_does_not_confirm_counts_half() -> None:
    found = CloseLookDetector(TwoLooks(SMALL, lambda crop: NOTHING)).detect(PICTURE)
    assert (found.class_id.tolist(), found.confidence.tolist()) == ([0], pytest.approx([0.15]))


def test_another_head_in_the_crop_is_not_taken_for_this_one() -> None:
    corner = Detections.of([[0, 0, 15, 15]], [0.9], [1])
    found = CloseLookDetector(TwoLooks(SMALL, lambda crop: corner)).detect(PICTURE)
    assert (found.class_id.tolist(), found.confidence.tolist()) == ([0], pytest.approx([0.15]))


@pytest.mark.parametrize("box", [[0, 0, 30, 30], [570, 370, 600, 400], [0, 390, 3, 400], [599, 0, 600, 1]])
def test_a_head_at_the_edge_is_cropped_inside_the_picture(box: list[float]) -> None:
    detector = TwoLooks(Detections.of([box], [0.5], [1]), lambda crop: NOTHING)
    assert len(CloseLookDetector(detector).detect(PICTURE)) == 1
    assert all(0 < height <= 400 and 0 < width <= 600 for height, width in detector.shown)


def test_two_first_looks_at_one_head_become_one() -> None:
    twice = Detections.of([[280, 180, 320, 220], [270, 180, 310, 222]], [0.3, 0.2], [0, 1])
    seen_at = [[280, 180, 320, 220]]

    def same_head(crop: Image) -> Detections:
        return middle(crop, 1, 0.9)

    found = CloseLookDetector(TwoLooks(twice, same_head)).detect(PICTURE)
    assert len(found) == 1
    assert found.xyxy.tolist() == seen_at


def test_a_crowd_costs_no_more_than_the_limit() -> None:
    boxes = [[60 * i, 50 * j, 60 * i + 20, 50 * j + 20] for i in range(10) for j in range(8)]
    crowd = TwoLooks(Detections.of(boxes, [0.5] * 80, [1] * 80), lambda crop: NOTHING)
    assert len(CloseLookDetector(crowd).detect(PICTURE)) == 80
    assert len(crowd.shown) == 1 + HEADS_MAX


def test_an_empty_kitchen_costs_one_look() -> None:
    empty = TwoLooks(NOTHING, lambda crop: NOTHING)
    assert len(CloseLookDetector(empty).detect(PICTURE)) == 0
    assert len(empty.shown) == 1
