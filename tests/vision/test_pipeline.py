"""One camera, frame by frame: what opens, what closes, and that blindness is never a verdict."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from firmware_sim.camera import Schedule, write_file
from vision.detections import Detections
from vision.detector import ModelError, ScriptedDetector
from vision.frame import Frame
from vision.pipeline import (
    CameraStatus,
    FrameStats,
    OpenIncident,
    ViolationClosed,
    ViolationOpened,
    Watch,
    WatchItem,
    WatchSettings,
)

NAMES = {0: "mask", 1: "no_mask", 2: "pot"}
START = datetime(2026, 3, 1, tzinfo=UTC)
SETTINGS = WatchSettings("cam-1", "unused.mp4", dwell_s=2, recover_s=4)


def head(class_id: int, *, confidence: float = 0.9, size: float = 60) -> Detections:
    return Detections.of([[100, 100, 100 + size, 100 + size]], [confidence], [class_id])


def frame(index: int, level: int = 90) -> Frame:
    at_s = index / 5
    return Frame(np.full((360, 640, 3), level, np.uint8), START + timedelta(seconds=at_s), at_s, index)


def watch(*script: Detections, settings: WatchSettings = SETTINGS) -> Watch:
    return Watch(settings, detector=ScriptedDetector(NAMES, script))


def judge(target: Watch, frames: list[Frame]) -> list[WatchItem]:
    return [item for one in frames for item in target.judge(one)]


def test_a_violation_opens_once_with_pictures_and_closes_after_recovery() -> None:
    target = watch(*[head(1)] * 30, head(0))
    opened, closed = judge(target, [frame(i) for i in range(60)])
    assert isinstance(opened, ViolationOpened)
    assert (opened.kind, opened.camera_id, opened.at) == ("no_mask", "cam-1", START + timedelta(seconds=2))
    assert opened.confidence == pytest.approx(0.9)
    assert opened.duration_s == pytest.approx(2)
    assert isinstance(closed, ViolationClosed)
    assert closed.incident_id == opened.incident_id
    assert closed.at == START + timedelta(seconds=29 / 5 + 4)


def test_the_pictures_are_jpegs_of_the_frame_and_one_has_the_finding_drawn_in() -> None:
    (opened,) = judge(watch(head(1)), [frame(i) for i in range(12)])
    assert isinstance(opened, ViolationOpened)
    raw, drawn = (
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        for data in (opened.snapshot_jpeg, opened.annotated_jpeg)
    )
    assert raw is not None
    assert drawn is not None
    assert raw.shape == drawn.shape == (360, 640, 3)
    assert abs(float(raw.mean()) - 90) < 2
    blue, green, red = drawn[100:160, 99:102].reshape(-1, 3).mean(axis=0)  # the left side of the box
    assert red > blue + 50
    assert red > green + 50


def test_a_black_picture_is_blindness_and_no_verdict() -> None:
    target = watch(head(1))
    items = judge(target, [frame(i, level=3) for i in range(50)])
    assert [(type(item), getattr(item, "blind", None)) for item in items] == [(CameraStatus, True)]
    seeing, opened = judge(target, [frame(50 + i) for i in range(12)])
    assert isinstance(seeing, CameraStatus)
    assert not seeing.blind
    assert isinstance(opened, ViolationOpened)


def test_one_black_picture_forgets_a_half_made_judgement() -> None:
    target = watch(head(1))
    items = judge(target, [frame(i, level=3 if i == 8 else 90) for i in range(25)])
    (opened,) = [item for item in items if isinstance(item, ViolationOpened)]
    assert opened.at == START + timedelta(seconds=9 / 5 + 2)


def test_an_open_incident_does_not_close_in_the_dark() -> None:
    target = watch(head(1))
    (opened,) = judge(target, [frame(i) for i in range(12)])
    assert isinstance(opened, ViolationOpened)
    items = judge(target, [frame(12 + i, level=0) for i in range(200)])
    assert [type(item) for item in items] == [CameraStatus]


@pytest.mark.parametrize(
    "found",
    [
        head(1, size=20),  # too small to judge
        head(1, confidence=0.3),  # too doubtful
        head(2),  # not a head at all
        head(0),
        Detections.of([], [], []),
    ],
)
def test_small_doubtful_foreign_and_masked_heads_never_open(found: Detections) -> None:
    assert judge(watch(head(0), found), [frame(i) for i in range(100)]) == []


def test_a_foreign_class_does_not_count_as_recovery_of_the_offender() -> None:
    items = judge(watch(*[head(1)] * 12, head(2)), [frame(i) for i in range(100)])
    assert [type(item) for item in items] == [ViolationOpened]


def test_an_incident_from_before_the_restart_closes_under_its_id() -> None:
    settings = WatchSettings("cam-1", "unused.mp4", recover_s=4, open_incidents=(OpenIncident("old", "no_mask"),))
    (closed,) = judge(watch(head(0), settings=settings), [frame(i) for i in range(22)])
    assert isinstance(closed, ViolationClosed)
    assert closed.incident_id == "old"


def test_a_model_that_cannot_see_the_violation_is_refused() -> None:
    with pytest.raises(ModelError, match="knows person, none of which is no_mask"):
        Watch(SETTINGS, detector=ScriptedDetector({0: "person"}, []))


@pytest.mark.parametrize("wrong", [{"kind": "juggling"}, {"dwell_s": 0.0}, {"window_share": 2.0}, {"confidence": 0.0}])
def test_settings_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must be|no such kind"):
        watch(head(1), settings=WatchSettings("cam-1", "unused.mp4", **wrong))


def test_a_lost_source_is_told_once_and_statistics_go_on(tmp_path: Path) -> None:
    path = tmp_path / "broken.mp4"
    path.write_text("no film")
    target = watch(head(1), settings=WatchSettings("cam-1", str(path), loop=False))
    status, stats = list(target.run(threading.Event()))
    assert isinstance(status, CameraStatus)
    assert status.blind
    assert status.reason.startswith("offline: InvalidDataError")
    assert stats == FrameStats("cam-1", 0, 0)


def test_a_film_is_watched_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    write_file(Schedule("no_mask:9"), path, 3, fps=10, width=160, height=96)
    target = watch(head(1), settings=WatchSettings("cam-1", str(path), dwell_s=1, rate_fps=10, loop=False))
    items = list(target.run(threading.Event()))
    assert [type(item) for item in items if not isinstance(item, FrameStats)] == [ViolationOpened]


def test_a_stop_ends_the_watch(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    write_file(Schedule("no_mask:9"), path, 1, fps=10, width=160, height=96)
    stop = threading.Event()
    items = watch(head(1), settings=WatchSettings("cam-1", str(path), rate_fps=10)).run(stop)
    assert isinstance(next(items), FrameStats)
    stop.set()
    assert list(items) == []
