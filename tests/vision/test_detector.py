"""The detector's parts: letterbox geometry, decoding of both heads, suppression, manifests, shape checks."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision.detections import NO_TRACK, Detections, iou_matrix
from vision.detector import DEFAULT_MODEL, OnnxDetector, ScriptedDetector
from vision.heads import CANDIDATES_MAX, DETECTIONS_MAX, decode, letterbox, suppress
from vision.manifest import ModelError, ModelManifest


def picture(height: int, width: int, value: int = 200) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_letterbox_of_a_wide_picture_pads_above_and_below_with_grey_114() -> None:
    tensor, scale, pad = letterbox(picture(360, 640), (320, 320))
    assert tensor.shape == (1, 3, 320, 320)
    assert tensor.dtype == np.float32
    assert (scale, pad) == ((0.5, 0.5), (0, 70))
    assert np.allclose(tensor[0, :, :70], 114 / 255)
    assert np.allclose(tensor[0, :, 70:250], 200 / 255)
    assert np.allclose(tensor[0, :, 250:], 114 / 255)


def test_letterbox_turns_blue_green_red_into_red_green_blue() -> None:
    image = picture(320, 320)
    image[:] = (10, 20, 30)
    assert [round(float(v) * 255) for v in letterbox(image, (320, 320))[0][0, :, 5, 5]] == [30, 20, 10]


@pytest.mark.parametrize(
    ("height", "width", "pad"),
    # round((320 - new) / 2 - 0.1), as ultralytics: an odd row of padding goes below and to the right
    [(320, 320, (0, 0)), (319, 320, (0, 0)), (317, 320, (0, 1)), (320, 317, (1, 0)), (100, 317, (0, 109))],
)
def test_padding_is_rounded_as_ultralytics_rounds_it(height: int, width: int, pad: tuple[int, int]) -> None:
    assert letterbox(picture(height, width), (320, 320))[2] == pad


@pytest.mark.parametrize(("height", "width"), [(1, 4000), (4000, 1), (1, 1), (2000, 3000)])
def test_letterbox_takes_any_picture_shape(height: int, width: int) -> None:
    assert letterbox(picture(height, width), (320, 320))[0].shape == (1, 3, 320, 320)


@settings(deadline=None, max_examples=40)
@given(st.integers(40, 2000), st.integers(40, 2000), st.integers(64, 640))
def test_the_edges_come_back_from_the_letterbox_exactly(height: int, width: int, side: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    tensor, (scale_x, scale_y), (left, top) = letterbox(image, (side, side))
    inside = np.argwhere(tensor[0, 0] < 0.2)  # the black picture on its grey ground
    (first_y, first_x), (last_y, last_x) = inside.min(axis=0), inside.max(axis=0)
    assert (first_x, first_y) == (left, top)
    assert (last_x + 1 - left) / scale_x == pytest.approx(width)
    assert (last_y + 1 - top) / scale_y == pytest.approx(height)


@pytest.mark.parametrize(
    ("height", "width", "shape", "pad"),
    # what ultralytics 8.4.190's LetterBox(320, auto=True, stride=32) gives
    [
        (360, 640, (192, 320), (0, 6)),
        (640, 360, (320, 192), (6, 0)),
        (300, 300, (320, 320), (0, 0)),
        (331, 499, (224, 320), (0, 6)),
        (1, 4000, (32, 320), (0, 15)),
        (310, 320, (320, 320), (0, 5)),
    ],
)
def test_with_a_stride_the_letterbox_is_the_smallest_around_the_picture(
    height: int, width: int, shape: tuple[int, int], pad: tuple[int, int]
) -> None:
    tensor, _, found_pad = letterbox(picture(height, width), (320, 320), 32)
    assert (tensor.shape, found_pad) == ((1, 3, *shape), pad)
    across, along = shape[1] - 2 * pad[0] - 1, shape[0] - 2 * pad[1] - 1  # an odd row of grey is below, or to the right
    inside = tensor[0, 0, pad[1] : pad[1] + along, pad[0] : pad[0] + across]
    assert np.allclose(inside, 200 / 255)


def test_a_letterbox_need_not_be_square() -> None:
    tensor, scale, pad = letterbox(picture(100, 100), (192, 320))
    assert (tensor.shape, scale, pad) == ((1, 3, 192, 320), (1.92, 1.92), (64, 0))


def raw_head(*rows: tuple[float, ...]) -> np.ndarray:
    """(4 + 2, N) as a YOLOv8/11 head gives it, from (centre x, centre y, width, height, score 0, score 1)."""
    return np.array(rows, np.float32).reshape(-1, 6).T


def test_the_yolo_head_gives_corners_the_better_class_and_nothing_doubtful() -> None:
    found = decode(raw_head((50, 40, 20, 10, 0.1, 0.8), (200, 200, 10, 10, 0.7, 0.2), (9, 9, 2, 2, 0.2, 0.1)), 2, 0.4)
    assert found.xyxy.tolist() == [[40, 35, 60, 45], [195, 195, 205, 205]]
    assert found.class_id.tolist() == [1, 0]
    assert found.confidence.tolist() == pytest.approx([0.8, 0.7])


def test_one_head_never_wears_a_mask_and_no_mask_at_once() -> None:
    found = decode(raw_head((50, 50, 20, 20, 0.6, 0), (51, 50, 20, 20, 0, 0.7)), 2, 0.4)
    assert found.class_id.tolist() == [1]


def test_the_end_to_end_head_is_taken_as_it_is() -> None:
    rows = np.array([[1, 2, 30, 40, 0.9, 1], [0, 0, 5, 5, 0.1, 0], [2, 3, 31, 41, 0.8, 0]], np.float32)
    found = decode(rows, 2, 0.4)
    assert found.xyxy.tolist() == [[1, 2, 30, 40], [2, 3, 31, 41]]
    assert found.class_id.tolist() == [1, 0]


def test_the_end_to_end_head_with_a_class_without_a_name_is_refused() -> None:
    with pytest.raises(ModelError, match="class number"):
        decode(np.array([[1, 2, 30, 40, 0.9, 7]], np.float32), 2, 0.4)


@pytest.mark.parametrize("shape", [(7, 100), (100,), (1, 6, 100), (100, 7), (84, 8400)])
def test_an_output_of_another_shape_is_refused_with_what_was_expected(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"expected \(6, N\) or \(N, 6\)"):
        decode(np.zeros(shape, np.float32), 2, 0.4)


def test_nothing_found_is_an_empty_set_of_the_right_shape() -> None:
    found = decode(np.zeros((6, 2100), np.float32), 2, 0.4)
    assert found.xyxy.shape == (0, 4)
    assert found.track_id.shape == (0,)


def test_a_picture_full_of_boxes_gives_no_more_than_the_limit_and_the_surest_first() -> None:
    grid = [(10 * (i % 60) + 5, 10 * (i // 60) + 5, 8, 8, 0.4 + i / 10_000, 0) for i in range(2 * CANDIDATES_MAX)]
    found = decode(raw_head(*grid), 2, 0.3)
    assert len(found) == DETECTIONS_MAX
    assert found.confidence[0] == pytest.approx(0.4 + (2 * CANDIDATES_MAX - 1) / 10_000)
    assert (np.diff(found.confidence) <= 0).all()


def test_suppression_keeps_the_surest_of_what_overlaps_and_all_that_does_not() -> None:
    boxes = Detections.of(
        [[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 4], [50, 50, 60, 60]], [0.5, 0.9, 0.4, 0.3], [0] * 4
    )
    kept = suppress(boxes, 0.5)
    assert kept.xyxy.tolist() == [[1, 0, 11, 10], [0, 0, 10, 4], [50, 50, 60, 60]]


def test_overlap_of_exactly_the_limit_is_kept() -> None:
    boxes = Detections.of([[0, 0, 10, 10], [0, 0, 10, 5]], [0.9, 0.8], [0, 0])
    assert len(suppress(boxes, 0.5)) == 2
    assert len(suppress(boxes, 0.49)) == 1


def test_overlap_is_intersection_over_union() -> None:
    first = np.array([[0, 0, 10, 10], [0, 0, 0, 0]], np.float32)
    second = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [2, 2, 7, 7]], np.float32)
    assert iou_matrix(first, second)[0].tolist() == pytest.approx([1, 50 / 150, 0, 0.25])
    assert iou_matrix(first, second)[1].tolist() == [0, 0, 0, 0]
    assert iou_matrix(first, np.zeros((0, 4), np.float32)).shape == (2, 0)


@pytest.mark.parametrize("wrong", ["xyxy", "confidence", "class_id", "track_id"])
def test_detections_of_unequal_lengths_cannot_be_made(wrong: str) -> None:
    parts = {
        "xyxy": np.zeros((2, 4), np.float32),
        "confidence": np.zeros(2, np.float32),
        "class_id": np.zeros(2, np.int64),
        "track_id": np.zeros(2, np.int64),
    }
    parts[wrong] = np.zeros((2, 3) if wrong == "xyxy" else 3, parts[wrong].dtype)
    with pytest.raises(ValueError, match=f"{wrong} has shape"):
        Detections(**parts)


def test_detections_start_without_tracks() -> None:
    assert Detections.of([[0, 0, 1, 1]], [0.5], [0]).track_id.tolist() == [NO_TRACK]


def test_the_scripted_detector_plays_its_script_and_repeats_the_end() -> None:
    script = [Detections.of([], [], []), Detections.of([[0, 0, 1, 1]], [0.5], [0])]
    detector = ScriptedDetector({0: "mask"}, script)
    assert [len(detector.detect(picture(4, 4))) for _ in range(4)] == [0, 1, 1, 1]


def model_with(folder: Path, manifest: object, data: bytes = b"model") -> Path:
    model = folder / "m.onnx"
    model.write_bytes(data)
    if manifest is not None:
        (folder / "m.json").write_text(manifest if isinstance(manifest, str) else json.dumps(manifest))
    return model


GOOD = {"sha256": hashlib.sha256(b"model").hexdigest(), "input_px": 320, "names": {"0": "mask"}, "licence": "x"}


@pytest.mark.parametrize(
    "manifest",
    [
        None,
        "{not json",
        [],
        "null",
        {},
        {**GOOD, "input_px": None},
        {**GOOD, "input_px": 0},
        {**GOOD, "input_px": 10**9},
        {**GOOD, "names": ["mask"]},
        {**GOOD, "names": {}},
        {**GOOD, "names": {"0": "mask", "2": "no_mask"}},
        {**GOOD, "licence": " "},
        {**GOOD, "head": "round"},
        {**GOOD, "thresholds": {"cat": 0.5}},
        {**GOOD, "thresholds": {"mask": 0.01}},
        {**GOOD, "thresholds": [0.5]},
    ],
)
def test_a_manifest_that_is_missing_or_wrong_names_the_file_and_what_to_write(tmp_path: Path, manifest: object) -> None:
    with pytest.raises(ModelError, match=r"m\.json: no usable manifest .*write sha256, input_px, names and licence"):
        ModelManifest.load(model_with(tmp_path, manifest))


def test_a_model_whose_bytes_changed_is_never_loaded(tmp_path: Path) -> None:
    model = shutil.copy(DEFAULT_MODEL, tmp_path / "m.onnx")
    shutil.copy(DEFAULT_MODEL.with_suffix(".json"), tmp_path / "m.json")
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    with pytest.raises(ModelError, match="its SHA-256 is"):
        OnnxDetector(model)


def test_a_missing_model_says_so(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps(GOOD))
    with pytest.raises(ModelError, match="cannot be read"):
        OnnxDetector(tmp_path / "m.onnx")


def test_a_file_that_is_no_onnx_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="onnxruntime cannot run it"):
        OnnxDetector(model_with(tmp_path, GOOD))


def test_a_manifest_with_too_few_names_is_found_at_once_and_not_at_the_first_picture(tmp_path: Path) -> None:
    data = DEFAULT_MODEL.read_bytes()
    manifest = {"sha256": hashlib.sha256(data).hexdigest(), "input_px": 320, "names": {"0": "mask"}, "licence": "x"}
    with pytest.raises(ModelError, match="output has shape"):
        OnnxDetector(model_with(tmp_path, manifest, data))


def test_an_input_side_that_the_model_cannot_take_is_found_at_once(tmp_path: Path) -> None:
    data = DEFAULT_MODEL.read_bytes()
    manifest = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "input_px": 333,
        "names": {"0": "mask", "1": "no_mask"},
        "licence": "x",
    }
    with pytest.raises(ModelError, match="onnxruntime cannot run it"):
        OnnxDetector(model_with(tmp_path, manifest, data))


def test_boxes_of_the_packaged_model_stay_inside_the_picture() -> None:
    noise = np.random.default_rng(3).integers(0, 255, (90, 200, 3), dtype=np.uint8)
    found = OnnxDetector(confidence=0.001).detect(noise)
    assert len(found)
    assert (found.xyxy >= 0).all()
    assert (found.xyxy <= np.array([200, 90, 200, 90])).all()


def test_the_packaged_model_has_a_card_that_states_its_digest() -> None:
    digest = ModelManifest.load(DEFAULT_MODEL).sha256
    assert digest in DEFAULT_MODEL.with_suffix(".md").read_text("utf-8")
