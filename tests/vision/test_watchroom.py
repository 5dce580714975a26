"""Several cameras in one process: none waits for another, every drop has a cause, one model is in memory."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware_sim.camera import Schedule, write_file
from tests.vision.views import boxes
from vision.camera_statistics import DROP_CAUSES
from vision.crumbs import SHADOWS_MAX, Crumbs, read_suspected_shadows, read_suspects
from vision.detector import OnnxDetector, ScriptedDetector
from vision.frame import Frame
from vision.happenings import CameraStatus, FrameStats, WatchItem
from vision.manifest import ModelError
from vision.model_shelf import ModelShelf
from vision.pipeline import Watch
from vision.source import VideoSource
from vision.watch_settings import Watched, WatchSettings
from vision.watchroom import share_cores, watch_cameras

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


@pytest.mark.parametrize("judges", [1, 2])
def test_three_cameras_at_twice_the_capacity_are_served_alike_and_every_drop_has_its_cause(
    film: Path, judges: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources: list[VideoSource] = []

    class NotedSource(VideoSource):
        def __init__(self, url: str, **options: Any) -> None:
            super().__init__(url, **options)
            sources.append(self)

    monkeypatch.setattr("vision.watchroom.VideoSource", NotedSource)
    slow = SlowDetector(judges / 15)  # for 30 pictures a second
    watches = [Watch(replace(SETTINGS, camera_id=name, source=str(film)), [slow]) for name in "abc"]
    items = list(watch_cameras(watches, threading.Event(), judges=judges))
    assert not [item for item in items if isinstance(item, CameraStatus)]
    judged = [watch.statistics.judged for watch in watches]
    mean = sum(judged) / 3
    assert all(abs(count - mean) <= 1 + 0.1 * mean for count in judged), judged
    for watch, source in zip(watches, sources, strict=True):
        final = watch.statistics.figures(1e9, source.drops)
        assert final.age_ms_max < 2000
        assert set(final.drops) == set(DROP_CAUSES)
        assert final.judged + sum(final.drops.values()) == source._reader.given, "every picture that was due"
        assert 30 <= source._reader.given <= 40


class MeetingDetector(ScriptedDetector):
    """Looks once somebody looks at another camera's picture; notes the threads that looked."""

    def __init__(self, meeting: threading.Barrier) -> None:
        super().__init__({0: "mask", 1: "no_mask"}, [boxes()])
        self.threads: set[str] = set()
        self._meeting = meeting
        self._alone = threading.Lock()

    def detect(self, image: np.ndarray) -> object:  # type: ignore[override]
        if not self._alone.acquire(blocking=False):
            raise AssertionError("two judges are with one camera")
        with contextlib.suppress(threading.BrokenBarrierError):  # the end of the film
            self._meeting.wait(DEADLINE_S)
        self.threads.add(threading.current_thread().name)
        self._alone.release()
        return super().detect(image)


def test_two_judges_look_at_two_cameras_at_once_and_never_at_one(film: Path) -> None:
    meeting = threading.Barrier(2)
    detectors = [MeetingDetector(meeting), MeetingDetector(meeting)]
    watches = [
        Watch(replace(SETTINGS, camera_id=name, source=str(film), loop=True), [detector])
        for name, detector in zip("ab", detectors, strict=True)
    ]
    stop = threading.Event()

    def stop_after_some() -> None:
        while not stop.is_set() and min(watch.statistics.judged for watch in watches) < 5:
            stop.wait(0.02)
        stop.set()
        meeting.abort()

    observer = threading.Thread(target=stop_after_some)
    observer.start()
    try:
        for _ in watch_cameras(watches, stop, judges=2):
            pass
    finally:
        stop.set()
        observer.join(DEADLINE_S)
    assert min(watch.statistics.judged for watch in watches) >= 5
    assert detectors[0].threads | detectors[1].threads == {"judge_0", "judge_1"}


class BrokenDetector(ScriptedDetector):
    """No picture suits it."""

    def detect(self, image: np.ndarray) -> object:  # type: ignore[override]
        del image
        raise ModelError("the model gave a class number that is none of its names")


@pytest.mark.parametrize(
    ("cores", "cameras", "shares"),
    [(1, 1, (1, 1)), (1, 8, (1, 1)), (3, 1, (1, 3)), (3, 2, (2, 1)), (3, 8, (3, 1)), (7, 2, (2, 3))],
)
def test_cores_go_to_judges_first_and_what_is_over_to_the_threads_of_each(
    cores: int, cameras: int, shares: tuple[int, int]
) -> None:
    assert share_cores(cores, cameras) == shares


def test_what_goes_wrong_in_a_judge_ends_the_watch_and_leaves_that_camera_alone_as_the_suspect(
    film: Path, tmp_path: Path
) -> None:
    names = ["well", "broken"]
    found = [ScriptedDetector({0: "mask", 1: "no_mask"}, [boxes()]), BrokenDetector({0: "mask", 1: "no_mask"}, [])]
    watches = [
        Watch(replace(SETTINGS, camera_id=name, source=str(film)), [detector])
        for name, detector in zip(names, found, strict=True)
    ]
    with pytest.raises(ModelError, match="class number"):
        list(watch_cameras(watches, threading.Event(), Crumbs(tmp_path / "crumbs", names), judges=2))
    assert read_suspects(tmp_path / "crumbs", names, judged_only=True) == ["broken"]


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
