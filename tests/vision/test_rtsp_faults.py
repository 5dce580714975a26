"""A real RTSP server killed, frozen, silent and damaged, all at once, beside a camera that is well."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from firmware_sim.camera import RtspCamera, Schedule, write_file
from tests.services import missing
from tests.vision.faulty_camera import FaultyCamera
from tests.vision.views import boxes
from tests.waiting import wait_for
from vision.coverage import CoverageReport
from vision.detector import ScriptedDetector
from vision.frame import Frame
from vision.happenings import CameraStatus, WatchItem
from vision.pipeline import Watch
from vision.watch_settings import Watched, WatchSettings
from vision.watchroom import watch_cameras

FAULTS = ("killed", "frozen", "silent", "corrupt")
TOLD_S_MAX, BACK_S_MAX = 5.0, 10.0
BUSY_S = 1.5 if os.environ.get("BRIGHTLINE_BUSY") == "1" else 0.0  # for a machine that has other things to do
UNDER_WAY_S_MAX = 0.5  # what had been sent when the fault began may be judged
FPS = 10


class NotingWatch(Watch):
    """Notes the pictures that were judged, with how often that had happened before."""

    judged: list[Frame]

    def judge(self, frame: Frame) -> Iterator[WatchItem]:
        before = self.statistics.judged
        yield from super().judge(frame)
        if self.statistics.judged > before:
            self.judged.append(replace(frame, image=frame.image[:0]))


class Room:
    """Watches in a thread; every item with its time, and when each camera was judged."""

    def __init__(self, sources: dict[str, str]) -> None:
        self.items: list[tuple[float, WatchItem]] = []
        self.watches = {name: self._watch(name, source) for name, source in sources.items()}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _watch(self, name: str, source: str) -> NotingWatch:
        settings = WatchSettings(
            name, source, rate_fps=FPS, violations=(Watched("no_mask"),), coverage_interval_s=1.0, clip_after_s=0
        )
        watch = NotingWatch(settings, [ScriptedDetector({0: "mask", 1: "no_mask"}, [boxes((0, 60, 10, 100, 60))])])
        watch.judged = []
        return watch

    def _run(self) -> None:
        for item in watch_cameras(list(self.watches.values()), self._stop):
            self.items.append((time.monotonic(), item))

    def __enter__(self) -> Room:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def judged(self) -> dict[str, int]:
        return {name: watch.statistics.judged for name, watch in self.watches.items()}

    def told_s(self, name: str, after_s: float, *, blind: bool) -> float | None:
        """When the camera was told as blind (or as seeing) after that moment."""
        found = (
            at_s
            for at_s, item in self.items
            if at_s >= after_s and isinstance(item, CameraStatus) and (item.camera_id, item.blind) == (name, blind)
        )
        return next(found, None)

    def last_judged(self, name: str, before_s: float) -> Frame:
        """The last judged picture that was taken before that moment."""
        return [frame for frame in self.watches[name].judged if frame.monotonic_s < before_s][-1]

    def reports(self, name: str, from_s: float, to_s: float) -> list[CoverageReport]:
        """Those that came in between."""
        return [
            item
            for at_s, item in self.items
            if from_s <= at_s <= to_s and isinstance(item, CoverageReport) and item.camera_id == name
        ]


@pytest.fixture
def cameras() -> Iterator[dict[str, FaultyCamera]]:
    if not RtspCamera.available():
        missing("the system's Python has no GStreamer RTSP server")
    with ExitStack() as stack:
        yield {fault: stack.enter_context(FaultyCamera(fault)) for fault in FAULTS}


def test_every_fault_is_told_in_five_seconds_and_over_in_ten_and_nothing_is_judged_in_between(
    cameras: dict[str, FaultyCamera], tmp_path: Path
) -> None:
    film = tmp_path / "well.mp4"
    write_file(Schedule("mask:60"), film, 4, fps=FPS, width=160, height=96)
    with Room({"well": str(film), **{fault: camera.url for fault, camera in cameras.items()}}) as room:
        wait_for("every camera is judged", lambda: min(room.judged().values()) >= 2 * FPS, 60)
        well_before, broken_s = room.judged()["well"], time.monotonic()
        for camera in cameras.values():
            camera.break_down()
        told_s = {
            fault: wait_for(f"{fault} is told", lambda fault=fault: room.told_s(fault, broken_s, blind=True), 30)  # type: ignore[misc]
            for fault in FAULTS
        }
        assert max(told_s.values()) - broken_s <= TOLD_S_MAX + BUSY_S, told_s
        judged = room.judged()
        threading.Event().wait(2.0)  # the outage goes on
        assert {name: count for name, count in room.judged().items() if name != "well"} == {
            name: count for name, count in judged.items() if name != "well"
        }
        repaired_s = time.monotonic()
        for camera in cameras.values():
            camera.repair()
        back_s = {
            fault: wait_for(f"{fault} is back", lambda fault=fault: room.told_s(fault, repaired_s, blind=False), 40)  # type: ignore[misc]
            for fault in FAULTS
        }
        assert max(back_s.values()) - repaired_s <= BACK_S_MAX + BUSY_S, back_s
        well_s = time.monotonic() - broken_s
        assert room.judged()["well"] - well_before >= 0.8 * FPS * well_s, "the others are not affected"
    for fault in FAULTS:
        last = room.last_judged(fault, repaired_s)
        assert last.monotonic_s - broken_s <= UNDER_WAY_S_MAX + BUSY_S, "nothing that came later was judged"
        reports = room.reports(fault, broken_s, repaired_s)
        assert reports
        for report in reports:  # that they came once a second makes each of them small
            until_last_s = max(0.0, (last.captured_at - report.started_at).total_seconds())
            assert sum(row.judged_s for row in report.rows) <= until_last_s + 0.05, (fault, report)
    assert room.told_s("well", 0, blind=True) is None
