"""A frozen source is found in the stream that its encoder makes of it, a live and empty kitchen never taken for one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from firmware_sim.scene import PORTRAIT
from tests.vision.views import START, boxes, frame, keyframe, wall
from vision.coverage import CoverageReport
from vision.detector import ScriptedDetector
from vision.film import read_film
from vision.frame import Image
from vision.happenings import CameraStatus
from vision.keyframes import Keyframe
from vision.pipeline import Watch
from vision.replay import replay
from vision.sight import SightCheck
from vision.watch_settings import Watched, WatchSettings

FPS = 5
SIZE = (320, 192)


def scene(name: str) -> Image:
    if name == "wall":
        return wall(*SIZE)
    if name == "photo":
        return np.asarray(cv2.resize(cv2.imread(str(PORTRAIT)), SIZE, interpolation=cv2.INTER_AREA), np.uint8)
    if name == "night":
        return np.asarray(scene("photo") // 4, np.uint8)
    spots = cv2.GaussianBlur(np.random.default_rng(3).integers(0, 255, (192, 320, 3), dtype=np.uint8), (0, 0), 4)
    return np.asarray(cv2.normalize(spots, None, 20, 230, cv2.NORM_MINMAX), np.uint8)  # type: ignore[call-overload]


def pictures(name: str, *, sigma: float, live_s: float, frozen_s: float = 0, clock: bool = False) -> Iterator[Image]:
    """A sensor with noise of *sigma* before a still *name*, that hangs after *live_s*; the camera's *clock* goes on."""
    still, rng = scene(name).astype(np.float32), np.random.default_rng(5)
    noise = rng.normal(0, sigma, (8, *still.shape)).astype(np.float32)
    image = np.zeros_like(still, np.uint8)
    for index in range(int((live_s + frozen_s) * FPS)):
        if index < live_s * FPS:
            shifted = np.roll(noise[int(rng.integers(8))], int(rng.integers(300)), axis=1)
            image = np.clip(still + shifted + 0.5, 0, 255).astype(np.uint8)
        drawn = image.copy()
        if clock:
            cv2.rectangle(drawn, (4, 4), (100, 18), (0, 0, 0), -1)
            said = f"25-11 12:00:{index // FPS:02d}"
            cv2.putText(drawn, said, (6, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (255, 255, 255), 1)
        yield drawn


def film(
    path: Path, images: Iterator[Image], *, gop: int, codec: str = "libx264", rate: int = 0, **options: str
) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if codec == "libx264":
            options = {
                "preset": "superfast",
                "tune": "zerolatency",
                "keyint_min": str(gop),
                "sc_threshold": "0",
            } | options
        stream.options = {"g": str(gop), **options}
        if rate:
            stream.bit_rate = rate
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
    return path


def watch() -> Watch:
    """Looks for masks, finds none, and is always on duty."""
    settings = WatchSettings("cam", "unused", violations=(Watched("no_mask"),), rate_fps=FPS)
    return Watch(settings, [ScriptedDetector({0: "mask", 1: "no_mask"}, [boxes()])])


FROZEN = {  # a film, when it hangs, and the seconds within which that is told
    "a keyframe a second, constant quality": ("photo", 5, {"qp": "28"}, 0, False, 6, 4.5),
    "every two seconds, constant quality, a clock": ("wall", 10, {"qp": "30"}, 0, True, 7, 5),
    "every four seconds": ("night", 20, {"qp": "26"}, 0, False, 7, 8),
    "a keyframe a second, 300 kbit/s": ("spots", 5, {}, 300_000, False, 16, 6),
    "every two seconds, 80 kbit/s, a clock": ("photo", 10, {}, 80_000, True, 30, 12),
}


@pytest.mark.parametrize("name", list(FROZEN))
def test_a_hung_sensor_is_told_and_none_of_its_time_counts_as_judged(name: str, tmp_path: Path) -> None:
    what, gop, options, rate, clock, live_s, told_s_max = FROZEN[name]
    images = pictures(what, sigma=1.5, live_s=live_s, frozen_s=told_s_max + 3, clock=clock)
    path = film(tmp_path / "film.mkv", images, gop=gop, rate=rate, **options)
    report = replay(watch(), path, START)
    (blind,) = report["blind"]
    assert (blind["reason"], blind["to_s"]) == ("frozen", None)
    assert live_s <= blind["from_s"] <= live_s + told_s_max
    (row,) = report["coverage"]
    assert row["due_s"] == pytest.approx(report["duration_s"], abs=0.01)
    assert live_s - 9 * gop / FPS <= row["judged_s"] <= live_s, "a frozen second never counts, a live one mostly"


LIVE = {
    "night, hardly any noise": ("night", 0.3, 10, {"crf": "33"}, 0),
    "little noise": ("wall", 0.7, 10, {"crf": "33"}, 0),
    "noise, a keyframe every ten seconds": ("spots", 1.5, 50, {"crf": "33"}, 0),
    "hardly any noise, 60 kbit/s": ("photo", 0.3, 5, {}, 60_000),
}


@pytest.mark.parametrize("name", list(LIVE))
def test_an_empty_kitchen_is_not_frozen_however_strongly_it_is_compressed(name: str, tmp_path: Path) -> None:
    what, sigma, gop, options, rate = LIVE[name]
    path = film(tmp_path / "film.mkv", pictures(what, sigma=sigma, live_s=21), gop=gop, rate=rate, **options)
    report = replay(watch(), path, START)
    assert report["blind"] == []
    (row,) = report["coverage"]
    assert row["judged_s"] == pytest.approx(20.8, abs=0.41)


@pytest.mark.parametrize(("frozen_s", "expected"), [(8, ["frozen"]), (0, [])])
def test_a_camera_of_jpegs_is_frozen_when_it_repeats_them_all_but_the_clock(
    frozen_s: float, expected: list[str], tmp_path: Path
) -> None:
    images = pictures("photo", sigma=0.5, live_s=5, frozen_s=frozen_s, clock=True)
    path = film(tmp_path / "film.mkv", images, gop=1, codec="mjpeg", qmin="8", qmax="8")
    assert [item["reason"] for item in replay(watch(), path, START)["blind"]] == expected


@pytest.mark.parametrize(("fps", "told_s"), [(0.1, 10), (0.5, 2), (1, 3), (2, 3), (5, 3)])
def test_seconds_alone_decide_when_a_still_picture_is_told(fps: float, told_s: float) -> None:
    check = SightCheck()
    seen = [frame(i, fps=fps) for i in range(round(3 * fps) + 4)]
    assert all(check.look(item.image, item.monotonic_s, item.keyframe).clear for item in seen)
    hung = seen[-1]
    waited = (number / fps for number in range(1, 60))
    told = (s for s in waited if check.look(hung.image, hung.monotonic_s + s, keyframe(hung.image)).blind)
    assert next(told) == pytest.approx(told_s, abs=0.21)


def test_what_was_counted_since_the_last_change_is_taken_back_and_the_report_ends_before_it() -> None:
    settings = WatchSettings("cam", "unused", violations=(Watched("no_mask"),), coverage_interval_s=4)
    target = Watch(settings, [ScriptedDetector({0: "mask", 1: "no_mask"}, [boxes()])])
    hung = frame(15).image
    items = [item for i in range(40) for item in target.judge(frame(i, hung if i > 15 else None))]
    items += target.finish()
    (status,) = (item for item in items if isinstance(item, CameraStatus))
    reports = [item for item in items if isinstance(item, CoverageReport)]
    assert status.at == START + timedelta(seconds=3 + 3)
    assert sum(item.rows[0].due_s for item in reports) == pytest.approx(39 / FPS)
    assert sum(item.rows[0].judged_s for item in reports) == pytest.approx(3)
    assert sum(item.blind_s for item in reports) == pytest.approx(39 / FPS - 3)


def test_a_film_of_one_keyframe_that_is_played_again_and_again_is_not_frozen(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mkv", pictures("photo", sigma=1, live_s=4), gop=500)
    check = SightCheck()
    for again in range(5):
        for item in read_film(path, FPS, START):
            assert check.look(item.image, 4 * again + item.monotonic_s, item.keyframe).clear


def test_a_stream_without_known_keyframes_is_never_called_frozen_and_counts_at_once() -> None:
    check, hung = SightCheck(), frame(0).image
    assert all(check.look(hung, i / FPS).clear for i in range(50))
    assert check.alive_s(9.8) == 9.8


@pytest.mark.parametrize("size", [(8, 8), (360, 640), (1080, 1920), (2160, 3840)])
def test_a_sample_is_small_whatever_the_size_of_the_picture(size: tuple[int, int]) -> None:
    grey = np.random.default_rng(1).integers(0, 255, size, dtype=np.uint8)
    blocks = Keyframe.of(grey, intra=False).blocks
    assert blocks.shape[1] == 256
    assert len(blocks) <= 1500
    if len(blocks):
        assert np.array_equal(blocks[0].reshape(16, 16), grey[:16, :16])
