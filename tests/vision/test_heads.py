"""YOLOX's head, suppression per class, and batches: against cases worked out by hand and the real development model."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from vision.detections import Detections
from vision.detector import OnnxDetector
from vision.heads import YOLOX_STRIDES, corner_box, decode_yolox, suppress
from vision.manifest import ModelError

SHARED = Path(os.environ.get("BRIGHTLINE_SHARED") or Path(__file__).resolve().parents[3] / "shared")
WEIGHTS = SHARED / "data" / "vision" / "weights" / "yolox_nano_bigisland.onnx"
BUS = SHARED / "data" / "vision" / "samples" / "bus.jpg"
needs_yolox = pytest.mark.skipif(not (WEIGHTS.is_file() and BUS.is_file()), reason=f"no YOLOX weights in {SHARED}")
CELLS_64 = sum((64 // stride) ** 2 for stride in YOLOX_STRIDES)  # 64 + 16 + 4


def yolox_output(*rows: tuple[int, tuple[float, ...]], classes: int = 2) -> np.ndarray:
    output = np.zeros((CELLS_64, 5 + classes), np.float32)
    for index, values in rows:
        output[index] = values
    return output


def test_a_yolox_cell_gives_its_place_on_the_grid_and_its_size_as_a_logarithm() -> None:
    # cell (3, 2) of the grid of 8 pixels; centre half a cell further; 16 × 32 pixels
    first = (2 * 8 + 3, (0.5, 0.5, np.log(2), np.log(4), 0.9, 0.1, 0.8))
    # cell (1, 0) of the grid of 32 pixels: after 64 + 16 cells
    second = (64 + 16 + 1, (0.25, 0.0, np.log(0.5), np.log(0.5), 1.0, 0.7, 0.0))
    found = decode_yolox(yolox_output(first, second), 2, (64, 64), 0.4)
    assert found.xyxy.tolist() == [[20, 4, 36, 36], [32, -8, 48, 8]]
    assert found.confidence.tolist() == pytest.approx([0.72, 0.7])
    assert found.class_id.tolist() == [1, 0]


def test_yolox_scores_are_objectness_times_class() -> None:
    assert len(decode_yolox(yolox_output((0, (0, 0, 0, 0, 0.5, 0.7, 0))), 2, (64, 64), 0.4)) == 0


def test_a_yolox_size_beyond_all_pictures_overflows_nothing() -> None:
    found = decode_yolox(yolox_output((0, (0, 0, 1e9, 1e9, 1, 1, 0))), 2, (64, 64), 0.4)
    assert np.isfinite(found.xyxy).all()


@pytest.mark.parametrize("shape", [(CELLS_64, 6), (CELLS_64 - 1, 7), (7, CELLS_64)])
def test_an_output_that_is_not_yolox_s_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ModelError, match=rf"expected \({CELLS_64}, 7\) of YOLOX"):
        decode_yolox(np.zeros(shape, np.float32), 2, (64, 64), 0.4)


def test_yolox_input_is_blue_green_red_in_the_upper_left_corner() -> None:
    image = np.zeros((32, 64, 3), np.uint8)
    image[:] = (10, 20, 30)
    tensor, scale, pad = corner_box(image, (64, 64))
    assert (tensor.shape, scale, pad) == ((1, 3, 64, 64), (1.0, 1.0), (0, 0))
    assert tensor[0, :, 5, 5].tolist() == [10, 20, 30]
    assert (tensor[0, :, 32:] == 114).all()


def test_two_classes_may_lie_on_one_another_where_the_model_allows_it() -> None:
    both = Detections.of([[0, 0, 10, 10], [0, 0, 10, 10], [1, 0, 11, 10]], [0.9, 0.8, 0.7], [0, 1, 0])
    assert suppress(both, 0.5, per_class=True).class_id.tolist() == [0, 1]
    assert suppress(both, 0.5).class_id.tolist() == [0]


COCO = json.loads("""["person", "bicycle", "car", "motorcycle", "airplane", "bus"]""")


def yolox_model(folder: Path) -> Path:
    """The development model with a manifest; only the first class names matter here."""
    model = Path(shutil.copy(WEIGHTS, folder / "yolox.onnx"))
    names = {str(i): COCO[i] if i < len(COCO) else f"class {i}" for i in range(80)}
    manifest = {
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(), "input_px": 416, "names": names,
        "licence": "Apache-2.0", "head": "yolox", "per_class": True,
    }  # fmt: skip
    model.with_suffix(".json").write_text(json.dumps(manifest))
    return model


@needs_yolox
def test_yolox_sees_the_bus_and_the_people_before_it(tmp_path: Path) -> None:
    image = np.asarray(cv2.imread(str(BUS)), np.uint8)
    detector = OnnxDetector(yolox_model(tmp_path), confidence=0.4)
    found = detector.detect(image)
    names = [detector.names[int(kind)] for kind in found.class_id]
    assert names.count("bus") == 1
    assert 3 <= names.count("person") <= 5
    left, top, right, bottom = found.xyxy[names.index("bus")] / np.array([image.shape[1], image.shape[0]] * 2)
    assert left < 0.1
    assert 0.15 < top < 0.3
    assert right > 0.9
    assert 0.6 < bottom < 0.8


@needs_yolox
def test_a_model_of_batch_one_takes_several_pictures_one_after_the_other(tmp_path: Path) -> None:
    image = np.asarray(cv2.imread(str(BUS)), np.uint8)
    detector = OnnxDetector(yolox_model(tmp_path), confidence=0.4)
    alone = detector.detect(image)
    first, _, third = detector.detect_many([image, image[:, ::-1].copy(), image])
    assert np.array_equal(first.xyxy, alone.xyxy)
    assert np.array_equal(third.xyxy, alone.xyxy)


def test_a_model_with_a_free_batch_finds_the_same_in_many_pictures_as_in_each() -> None:
    from firmware_sim.scene import Kitchen

    kitchen = Kitchen(640, 360)
    images = [kitchen.frame(2 * i, "no_mask") for i in range(10)]  # more than one batch
    detector = OnnxDetector(confidence=0.15)
    for one, image in zip(detector.detect_many(images), images, strict=True):
        alone = detector.detect(image)
        assert one.class_id.tolist() == alone.class_id.tolist()
        assert np.allclose(one.xyxy, alone.xyxy, atol=0.05)
        assert np.allclose(one.confidence, alone.confidence, atol=1e-3)
