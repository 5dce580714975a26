"""What is shared shows no face: heads and the upper part of people become a few cells of colour, or it is said so."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vision.test_pipeline import SETTINGS, head, judge, watch
from tests.vision.views import frame
from vision.detections import Detections
from vision.detector import ScriptedDetector
from vision.faces import CELLS_MAX, FaceDetector, FaceHider, pixelate, place_of_face, tells_of_people
from vision.happenings import ViolationOpened
from vision.manifest import ModelError
from vision.pipeline import Watch
from vision.scene import Sighting
from vision.watch_settings import Watched

SHARED = Path(os.environ.get("BRIGHTLINE_SHARED") or Path(__file__).resolve().parents[3] / "shared") / "data" / "vision"
YUNET = SHARED / "weights" / "face_detection_yunet_2026may.onnx"
NOISE = np.random.default_rng(1).integers(0, 256, (120, 160, 3), np.uint8)


def seen(name: str, *box: float) -> Sighting:
    return Sighting(name, np.array(box, np.float32), 0.2)


@given(st.tuples(st.floats(-50, 150), st.floats(-50, 110)), st.tuples(st.floats(1, 200), st.floats(1, 200)))
def test_a_hidden_place_keeps_no_more_than_a_few_cells(corner: tuple[float, float], size: tuple[float, float]) -> None:
    box = np.array([*corner, corner[0] + size[0], corner[1] + size[1]], np.float32)
    hidden = pixelate(NOISE, [box])
    left, top = (max(0, int(np.floor(value))) for value in box[:2])
    right, bottom = int(min(160, np.ceil(box[2]))), int(min(120, np.ceil(box[3])))
    if right <= left or bottom <= top:
        assert (hidden == NOISE).all()
        return
    part = hidden[top:bottom, left:right].reshape(-1, 3)
    assert len(np.unique(part, axis=0)) <= CELLS_MAX**2
    outside = np.ones(NOISE.shape[:2], bool)
    outside[top:bottom, left:right] = False
    assert (hidden[outside] == NOISE[outside]).all()


def test_places_that_overlap_show_no_more_than_the_largest_of_them() -> None:
    boxes = [np.array([x, 20, x + side, 20 + side], np.float32) for x, side in ((30, 70), (40, 40), (45, 60))]
    part = pixelate(NOISE, boxes)[20:90, 30:100].reshape(-1, 3)
    assert len(np.unique(part, axis=0)) <= CELLS_MAX**2


@pytest.mark.parametrize("name", ["no_mask", "Mask_Incorrect", "head", "NoMask", "face", "without mask", "口罩"])
def test_the_whole_head_is_hidden_with_a_margin_whatever_its_class_is_called(name: str) -> None:
    place = place_of_face(seen(name, 100, 100, 140, 150))
    assert place is not None
    assert (place <= [90, 87.5, 999, 999]).all()
    assert (place >= [0, 0, 150, 162.5]).all()


def test_the_face_under_a_hat_is_hidden() -> None:
    place = place_of_face(seen("chef_hat", 100, 100, 140, 120))
    assert place is not None
    assert place[3] == pytest.approx(150)


@pytest.mark.parametrize(
    ("box", "down_to"),
    [((100, 100, 140, 200), 135), ((100, 100, 180, 200), 160), ((100, 100, 300, 200), 200)],
    ids=["who stands: the upper third", "who sits or bends: more than half", "who lies: all of it"],
)
def test_the_part_of_a_person_that_may_hold_the_head_is_hidden(box: tuple[int, ...], down_to: float) -> None:
    place = place_of_face(seen("person", *box))
    assert place is not None
    assert (place[1], place[3]) == (pytest.approx(90), pytest.approx(down_to))


def test_things_are_not_hidden() -> None:
    assert not tells_of_people(["rat", "surface", "headphone", "mango", "cigarette", "open_bin", "capsicum"])
    assert place_of_face(seen("rat", 0, 0, 50, 50)) is None


def test_it_is_said_whether_a_face_was_hidden_or_none_was_found_or_nobody_looked() -> None:
    looking, blind = FaceHider(checked=True), FaceHider(checked=False)
    assert looking.hide(NOISE, [seen("head", 10, 10, 50, 50)]).faces == "blurred"
    assert looking.hide(NOISE, [seen("rat", 10, 10, 50, 50)]).faces == "none_found"
    assert blind.hide(NOISE, [seen("rat", 10, 10, 50, 50)]).faces == "not_checked"


def pictures(opened: ViolationOpened) -> list[np.ndarray]:
    found = [
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        for data in (opened.original_jpeg, opened.snapshot_jpeg, opened.annotated_jpeg)
    ]
    return [np.asarray(item) for item in found if item is not None]


def test_the_shared_pictures_of_an_incident_hide_the_head_and_the_original_does_not() -> None:
    (opened,) = judge(watch(head(1)), [frame(index) for index in range(12)])
    assert isinstance(opened, ViolationOpened)
    assert (opened.faces, opened.box) == ("blurred", (0.1562, 0.2778, 0.25, 0.4444))
    detail = [float(cv2.Laplacian(image[110:150, 110:150], cv2.CV_64F).var()) for image in pictures(opened)]
    assert detail[0] > 5 * max(detail[1:]), detail
    original, shared, _ = pictures(opened)
    far = np.abs(original[250:].astype(int) - shared[250:].astype(int))
    assert float(far.max()) < 8, "only the head is hidden"


def test_a_camera_that_sees_only_things_says_that_nobody_looked_for_faces() -> None:
    settings = replace(SETTINGS, violations=(Watched("rodent", changes={"dwell_s": 1}),))
    rat = Detections.of([[100, 100, 160, 140]], [0.9], [0])
    (opened,) = judge(Watch(settings, [ScriptedDetector({0: "rat"}, [rat])]), [frame(index) for index in range(12)])
    assert isinstance(opened, ViolationOpened)
    assert opened.faces == "not_checked"


@pytest.mark.skipif(not YUNET.exists(), reason=f"no face detector in {YUNET.parent}")
def test_the_face_detector_finds_faces_and_none_in_what_was_hidden() -> None:
    image = cv2.imread(str(SHARED / "samples" / "zidane.jpg"))
    assert image is not None
    assert len(FaceDetector(YUNET).find(np.asarray(image))) >= 2
    shared = FaceHider(checked=False, face_model=YUNET).hide(np.asarray(image), [])
    assert shared.faces == "blurred"
    assert FaceDetector(YUNET).find(shared.image) == []


def test_a_face_detector_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "faces.onnx").write_bytes(b"no model")
    for name in ("faces.onnx", "missing.onnx"):
        with pytest.raises(ModelError, match="no usable face detector"):
            FaceHider(checked=True, face_model=tmp_path / name)
