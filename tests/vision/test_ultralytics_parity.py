"""Pre- and post-processing give what ultralytics' own `predict` gives: live where it is installed, else as recorded."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.vision.ultralytics_parity import (
    BOX_PX_MAX,
    CONFIDENCE_MAX,
    FLOOR,
    RECORD,
    difference,
    from_rows,
    pictures,
    predict,
)
from vision.detections import Detections
from vision.detector import DEFAULT_MODEL, OnnxDetector


def check(ours: Detections, theirs: Detections, name: str) -> None:
    found = difference(ours, theirs)
    assert found.unmatched == 0, name
    assert found.box_px_max <= BOX_PX_MAX, name
    assert found.confidence_max <= CONFIDENCE_MAX, name


def test_detection_equals_what_ultralytics_gave_when_it_was_recorded() -> None:
    record = json.loads(RECORD.read_text("utf-8"))
    detector = OnnxDetector(confidence=FLOOR)
    assert record["model_sha256"] == detector.sha256, "another model: record again, see ultralytics_parity.py"
    images = pictures()
    assert set(record["pictures"]) == set(images)
    assert sum(map(len, record["pictures"].values())) > 20
    for name, image in images.items():
        check(detector.detect(image), from_rows(record["pictures"][name]), name)


def test_detection_equals_ultralytics_own_on_the_same_model() -> None:
    """Runs where the `train` extra is installed; skips elsewhere."""
    ultralytics = pytest.importorskip("ultralytics", reason="the train extra (ultralytics, torch) is not installed")
    model, detector = ultralytics.YOLO(str(DEFAULT_MODEL), task="detect"), OnnxDetector(confidence=FLOOR)
    for name, image in pictures().items():
        theirs = predict(model, image, detector.manifest.input_px, per_class=False)
        check(detector.detect(image), theirs, name)


def test_a_box_that_is_missing_moved_or_of_another_class_is_a_difference() -> None:
    theirs = Detections.of([[0, 0, 100, 100], [200, 0, 300, 100]], [0.9, 0.8], [0, 1])
    assert difference(theirs, theirs).unmatched == 0
    assert difference(Detections.of(theirs.xyxy[:1], [0.9], [0]), theirs).unmatched == 1
    assert difference(Detections.of(theirs.xyxy, [0.9, 0.8], [0, 0]), theirs).unmatched == 2
    moved = difference(Detections.of(theirs.xyxy + np.float32(0.5), [0.9, 0.7], [0, 1]), theirs)
    assert moved.box_px_max == 0.5
    assert moved.confidence_max == pytest.approx(0.1)
