"""Several cameras in one process: none waits for another, every drop has a cause, one model is in memory."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from firmware_sim.camera import Schedule, write_file
from tests.vision.views import boxes
from vision.camera_statistics import DROP_CAUSES
from vision.crumbs import SHADOWS_MAX, Crumbs, read_suspected_shadows, read_suspects
from vision.detector import OnnxDetector, ScriptedDetector
from vision.frame import Frame
from vision.happenings import CameraStatus, FrameStats, WatchItem
from vision.model_shelf import ModelShelf
from vision.pipeline import Watch
from vision.source import VideoSource
from vision.watch_settings import Watched, WatchSettings
from vision.watchroom import watch_cameras

SETTINGS = WatchSettings("a", "unused.mp4", violations=(Watched("no_mask"),), rate_fps=10, loop=False)
DEADLINE_S = 60


class SlowDetector(ScriptedDetector):
    """Takes *cost_s* for each picture and notes how old the pictures were."""

    def __init__(self, cost_s: float) -> None:
        super().__init__({0: "mask", 1: "no_mask"}, [boxes()])
        self._pause = threading.Event()
        self._cost_s = cost_s

    def detect(self, image: np.ndarray) -> object:  # type: ignore[override]
        self._pause.wait(self._cost_s)
        return super().detect(image)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds, 40 pictures."""
    path = tmp_path_factory.mktemp("film") / "kitchen.mp4"
    write_file(Schedule("mask:60"), path, 4, fps=10, width=160, height=96)
    return path


def last_statistics(items: list[WatchItem], stop: threading.Event | None = None) -> dict[str, FrameStats]:
    return {item.camera_id: item for item in items if isinstance(item, FrameStats)}


def test_three_cameras_at_twice_the_capacity_are_served_alike_and_every_drop_has_its_cause(film: Path) -> None:
    slow = SlowDetector(1 / 15)  # for 30 pictures a second
    watches = [Watch(replace(SETTINGS, camera_id=name, source=str(film)), [slow]) for name in "abc"]
    items = list(watch_cameras(watches, threading.Event()))
    assert not [item for item in items if isinstance(item, CameraStatus)]
    judged = [watch.statistics.judged for watch in watches]
    mean = sum(judged) / 3
    assert all(abs(count - mean) <= 1 + 0.1 * mean for count in judged), judged
    for watch in watches:
        final = watch.statistics.figures(1e9, {})
        assert final.age_ms_max < 2000


def test_a_camera_that_hangs_does_not_hold_up_another(film: Path, tmp_path: Path) -> None:
    watches = [
        Watch(replace(SETTINGS, camera_id="hung", source=str(tmp_path / "gone.mp4"), loop=True), [SlowDetector(0)]),
        Watch(replace(SETTINGS, camera_id="well", source=str(film)), [SlowDetector(0)]),
    ]
    stop = threading.Event()
    until_s = time.monotonic() + DEADLINE_S
    for item in watch_cameras(watches, stop):
        assert time.monotonic() < until_s
        if isinstance(item, CameraStatus):
            assert (item.camera_id, item.blind, "offline" in item.reason) == ("hung", True, True)
            stop.set()
    assert watches[1].statistics.judged >= 20  # of 40 in the four seconds until the other one was told


def test_pictures_that_nobody_took_are_counted_by_their_cause(film: Path) -> None:
    with VideoSource(str(film), rate_fps=10, loop=False) as source:
        source._thread.join(DEADLINE_S)
        assert source.drops["overload"] + source.drops["superseded"] == 39
        assert source.take(time.monotonic() + 2.5) is None  # too old by then
    assert source.drops["stale"] == 1
    assert set(source.drops) <= set(DROP_CAUSES)


def test_a_picture_right_behind_another_supersedes_it_and_one_in_its_time_is_overload() -> None:
    source = VideoSource("unused.mp4", rate_fps=10)
    for at_s in (0.0, 0.01, 0.11, 0.21):
        source._publish(Frame(np.zeros((2, 2, 3), np.uint8), None, at_s, 0))  # type: ignore[arg-type]
    assert source.drops == {"superseded": 1, "overload": 2}


def test_cameras_with_the_same_model_share_one_session() -> None:
    shelf = ModelShelf()
    first, second = OnnxDetector(shelf=shelf), OnnxDetector(confidence=0.5, shelf=shelf)
    assert first.session is second.session
    assert OnnxDetector().session is not first.session


def test_crumbs_say_who_was_inside_of_native_code(tmp_path: Path) -> None:
    path, names = tmp_path / "crumbs", ["a", "b", "c"]
    crumbs = Crumbs(path, names)
    assert read_suspects(path, names) == []
    crumbs.of_reader("b")(True)
    crumbs.of_judge("c")(True)
    assert read_suspects(path, names) == ["b", "c"]
    crumbs.of_reader("b")(False)
    assert read_suspects(path, names) == ["c"]
    assert read_suspected_shadows(path, names) == []
    crumbs.of_shadow("a", 1)(True)
    crumbs.of_shadow("c", SHADOWS_MAX - 1)(True)
    assert read_suspected_shadows(path, names) == [("a", 1), ("c", SHADOWS_MAX - 1)]
    assert read_suspects(path, names) == ["c"], "a camera is not to blame for its candidate"
    with pytest.raises(ValueError, match="at most"):
        crumbs.of_shadow("a", SHADOWS_MAX)
    assert read_suspects(tmp_path / "gone", names) == read_suspected_shadows(tmp_path / "gone", names) == []
