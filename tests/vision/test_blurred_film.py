"""The shared film: small, of few pictures, playable, and without a face in any of them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from firmware_sim.camera import Schedule, write_file
from vision.blurred_film import BlurredFilm, FilmSettings, _Picture, _with_neighbours, blur_film
from vision.detector import DEFAULT_MODEL, OnnxDetector
from vision.zones import BLANK

SETTINGS = FilmSettings((DEFAULT_MODEL,))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    write_file(Schedule("no_mask:9"), path, 3, fps=15, width=800, height=450)
    return path.read_bytes()


@pytest.fixture(scope="module")
def film(clip: bytes) -> BlurredFilm:
    return blur_film(clip, SETTINGS)


def pictures(data: bytes) -> list[tuple[float, np.ndarray]]:
    with av.open(io.BytesIO(data), "r") as container:
        return [(float(item.time or 0), item.to_ndarray(format="bgr24")) for item in container.decode(video=0)]


def test_it_is_small_has_five_pictures_a_second_and_keeps_their_times(clip: bytes, film: BlurredFilm) -> None:
    shown = pictures(film.mp4)
    assert len(film.mp4) < len(clip) / 2
    assert {image.shape for _, image in shown} == {(360, 640, 3)}
    assert len(shown) == film.pictures == 15
    assert [at_s for at_s, _ in shown] == pytest.approx([number / 5 for number in range(15)], abs=0.07)
    assert (film.first_s, film.last_s) == (0.0, pytest.approx(2.8, abs=0.07))
    with av.open(io.BytesIO(film.mp4), "r") as container:
        assert container.streams.video[0].codec_context.name == "h264"


def test_no_head_can_be_made_out_in_any_picture_of_it(clip: bytes, film: BlurredFilm) -> None:
    model = OnnxDetector(confidence=0.4)
    assert film.faces == "blurred"
    heads = 0
    for (_, original), (_, shared) in zip(pictures(clip)[::3], pictures(film.mp4), strict=True):
        for box in model.detect(np.asarray(original, np.uint8)).xyxy:
            heads += 1
            assert detail(shared, box * 0.8) < detail(original, box) / 3
    assert heads >= 5, "the model saw next to nobody: the test shows nothing"


def detail(image: np.ndarray, box: np.ndarray) -> float:
    left, top, right, bottom = (int(value) for value in box)
    return float(cv2.Laplacian(image[top:bottom, left:right], cv2.CV_64F).var())


def test_what_is_missed_in_one_picture_is_hidden_by_its_neighbours() -> None:
    image = np.zeros((10, 10, 3), np.uint8)
    places = [[np.array([number] * 4, np.float32)] if number != 1 else [] for number in range(4)]
    row = iter([_Picture(image, float(number), found) for number, found in enumerate(places)])
    hidden = [sorted(float(place[0]) for place in found) for _, found in _with_neighbours(row)]
    assert hidden == [[0.0], [0.0, 2.0], [2.0, 3.0], [2.0, 3.0]]


def test_what_is_masked_is_grey_in_every_picture_of_it(clip: bytes) -> None:
    left = ((0.0, 0.0), (0.25, 0.0), (0.25, 1.0), (0.0, 1.0))
    settings = FilmSettings.parse(as_json(FilmSettings((), masks=(left,))))
    for _, shown in pictures(blur_film(clip, settings).mp4):
        assert np.abs(shown[:, :140].astype(int) - BLANK).max() < 20
        assert np.abs(shown[:, 180:].astype(int) - BLANK).max() > 40


def test_a_camera_whose_models_see_only_things_says_that_nobody_looked(clip: bytes) -> None:
    assert blur_film(clip, FilmSettings(())).faces == "not_checked"


def run(settings: str, clip: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "vision.blurred_film", settings],
        input=clip,
        capture_output=True,
        timeout=120,
        check=False,
    )


def as_json(settings: FilmSettings) -> str:
    return json.dumps(asdict(settings), default=str)


def test_its_process_says_what_it_made_and_then_the_film(clip: bytes) -> None:
    done = run(as_json(SETTINGS), clip)
    assert done.returncode == 0, done.stderr
    line, _, data = done.stdout.partition(b"\n")
    assert json.loads(line) == {
        "faces": "blurred",
        "pictures": 15,
        "first_s": 0.0,
        "last_s": pytest.approx(2.8, abs=0.1),
    }
    assert len(pictures(data)) == 15


def test_its_process_says_why_there_is_no_film(clip: bytes) -> None:
    for settings, data, reason in (
        (as_json(SETTINGS), b"no film at all" * 1000, b"the film cannot be made"),
        (as_json(FilmSettings((Path("missing.onnx"),))), clip, b"no usable manifest"),
    ):
        done = run(settings, data)
        assert (done.returncode, done.stdout) == (1, b"")
        assert reason in done.stderr


def test_its_process_is_ended_when_it_uses_more_than_its_share_of_cpu_time(clip: bytes) -> None:
    assert run(as_json(FilmSettings((DEFAULT_MODEL,) * 60, cpu_s_max=1)), clip).returncode < 0
