"""Which input a model gets: the smallest around the picture where its axes are free, else the one it was made for."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from firmware_sim.scene import Kitchen
from vision.detector import OnnxDetector
from vision.manifest import ModelError
from vision.model_shelf import ModelShelf

FREE = ["batch", 3, "height", "width"]


class ShapedSession:
    """A model with one box in the middle of its input; keeps the shapes that it was run with."""

    def __init__(self, axes: list[Any], *, metadata: dict[str, str] | None = None, squares_only: bool = False) -> None:
        self.axes, self.squares_only, self.shapes = axes, squares_only, list[tuple[int, ...]]()
        self.metadata = metadata or {}

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="images", shape=self.axes)]

    def get_modelmeta(self) -> Any:
        return SimpleNamespace(custom_metadata_map=self.metadata)

    def run(self, names: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

        tensor = inputs["images"]
        fits = all(axis == side for axis, side in zip(self.axes, tensor.shape, strict=True) if isinstance(axis, int))
        if not fits or (self.squares_only and tensor.shape[2] != tensor.shape[3]):
            raise InvalidArgument(f"{tensor.shape} is not taken")
        self.shapes.append(tensor.shape)
        height, width = tensor.shape[2:]
        row = np.array([[width / 2], [height / 2], [32], [32], [0.9]], np.float32)
        return [np.stack([row] * len(tensor))]


class YoloxSession(ShapedSession):
    """The same with YOLOX's output: 8 × 8 px in the corner of the last cell."""

    def run(self, names: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        super().run(names, inputs)
        batch, _, height, width = inputs["images"].shape
        cells = sum((height // stride) * (width // stride) for stride in (8, 16, 32))
        output = np.zeros((batch, cells, 6), np.float32)
        output[:, -1] = (0.6875, 0.3125, np.log(1 / 4), np.log(1 / 4), 0.9, 0.9)
        return [output]


def detector_with(folder: Path, session: ShapedSession, **changes: object) -> OnnxDetector:
    digest = hashlib.sha256(b"model").hexdigest()
    (folder / "m.onnx").write_bytes(b"model")
    manifest = {"sha256": digest, "input_px": 320, "names": {"0": "person"}, "licence": "x", **changes}
    (folder / "m.json").write_text(json.dumps(manifest))
    detector = OnnxDetector(folder / "m.onnx", shelf=ModelShelf(1, {digest: session}))
    session.shapes.clear()
    return detector


def wide(width: int = 640, height: int = 360) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


def test_a_model_with_free_axes_gets_no_more_grey_than_its_stride_asks_for(tmp_path: Path) -> None:
    session = ShapedSession(FREE)
    found = detector_with(tmp_path, session).detect(wide())
    assert session.shapes == [(1, 3, 192, 320)]
    assert found.xyxy.tolist() == [[288, 148, 352, 212]]  # 32 px of the input around the middle of the picture


def test_the_stride_is_the_one_that_the_export_states(tmp_path: Path) -> None:
    session = ShapedSession(FREE, metadata={"stride": "64"})
    detector_with(tmp_path, session).detect(wide(640, 400))
    assert session.shapes == [(1, 3, 256, 320)]


def test_a_model_of_fixed_shape_gets_that_though_it_is_not_square(tmp_path: Path) -> None:
    session = ShapedSession([1, 3, 192, 320])
    detector = detector_with(tmp_path, session)
    assert detector.detect(wide()).xyxy.tolist() == [[288, 148, 352, 212]]
    assert detector.detect(wide(400, 400)).xyxy[0].tolist() == pytest.approx([500 / 3, 500 / 3, 700 / 3, 700 / 3])
    assert set(session.shapes) == {(1, 3, 192, 320)}


def test_a_model_whose_axes_are_free_in_name_only_gets_the_whole_square(tmp_path: Path) -> None:
    session = ShapedSession(FREE, squares_only=True)
    detector_with(tmp_path, session).detect(wide())
    assert session.shapes == [(1, 3, 320, 320)]


def test_a_yolox_model_gets_its_square_as_its_makers_feed_it(tmp_path: Path) -> None:
    session = YoloxSession(FREE)
    detector_with(tmp_path, session, head="yolox").detect(wide())
    assert session.shapes == [(1, 3, 320, 320)]


def test_a_yolox_model_of_fixed_shape_need_not_be_square(tmp_path: Path) -> None:
    session = YoloxSession([1, 3, 192, 320])
    found = detector_with(tmp_path, session, head="yolox").detect(wide())
    assert found.xyxy.tolist() == [[612, 332, 628, 348]]  # the last cell of 32 px, (9, 5), in pixels of the picture


def test_pictures_of_several_shapes_come_back_in_their_order_and_equal_ones_go_in_together(tmp_path: Path) -> None:
    session = ShapedSession(FREE)
    images = [wide(), wide(360, 640), wide(), wide(64, 64)]
    found = detector_with(tmp_path, session).detect_many(images)
    assert session.shapes == [(2, 3, 192, 320), (1, 3, 320, 192), (1, 3, 320, 320)]
    middles = [((boxes.xyxy[0, :2] + boxes.xyxy[0, 2:]) / 2).tolist() for boxes in found]
    assert middles == [[image.shape[1] / 2, image.shape[0] / 2] for image in images]


def test_a_fixed_batch_is_filled_and_only_the_pictures_are_told(tmp_path: Path) -> None:
    session = ShapedSession([4, 3, 192, 320])
    detector = detector_with(tmp_path, session)
    assert len(detector.detect_many([wide()] * 5)) == 5
    assert session.shapes == [(4, 3, 192, 320)] * 2
    assert detector.tensor_of(wide()).shape == (4, 3, 192, 320)


@pytest.mark.parametrize(
    ("axes", "problem"),
    [
        ([1, 3, 256, 256], "256 high and 256 wide, but its manifest's input_px 320"),
        ([1, 3, 640, 320], "640 high and 320 wide"),
        ([1, 10], r"expected \(N, 3, height, width\)"),
    ],
)
def test_a_model_whose_input_is_not_the_manifest_s_is_refused(tmp_path: Path, axes: list[int], problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        detector_with(tmp_path, ShapedSession(axes))


def test_the_packaged_model_finds_the_same_head_in_a_wide_and_in_a_square_picture() -> None:
    image = Kitchen(640, 360).frame(3, "no_mask")
    detector = OnnxDetector(confidence=0.15)
    assert detector.tensor_of(image).shape == (1, 3, 192, 320)
    square = np.full((640, 640, 3), 114, np.uint8)
    square[140:500] = image
    alone, padded = detector.detect(image), detector.detect(square)
    assert len(alone) == len(padded) == 1
    assert np.abs(alone.xyxy - (padded.xyxy - np.array([0, 140, 0, 140]))).max() < 8
