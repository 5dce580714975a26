"""A recording: the camera's own packets on the disk, within its bounds, and a film of any moment that is kept."""

from __future__ import annotations

import io
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import pytest

from firmware_sim.camera import RtspCamera
from tests.edge.console import ROOT
from tests.services import missing
from tests.vision.faulty_camera import FaultyCamera
from tests.vision.test_packet_ring import FPS, fill, film, unpacked
from tests.vision.test_pipeline import SETTINGS
from tests.vision.views import boxes
from tests.waiting import wait_for
from vision.detector import ScriptedDetector
from vision.happenings import Looked
from vision.looks import LookOrder
from vision.packet_tap import PacketTap
from vision.pipeline import Watch
from vision.recording import RecordedRing, Recording
from vision.segments import NotRecorded, RecordedClip, RecordingUse, SegmentFolder
from vision.watchroom import watch_cameras

__all__ = ["film"]  # a fixture
MIB = 1024 * 1024
MASKS = (((0, 0), (0.1, 0), (0.1, 0.1)),)
DEADLINE_S = 20


def use_of(folder: Path, **changes: object) -> RecordingUse:
    return replace(RecordingUse(folder, hours=1, bytes_max=100 * MIB, free_bytes_min=0), **changes)  # type: ignore[arg-type]


def record(use: RecordingUse, film: Path, *ago_s: float) -> tuple[list[bytes], Recording]:
    """Record the film, six seconds with a keyframe each second, as if it had begun so many seconds ago; once for each.

    Gives the packets of one, and the recording, which has ended.
    """
    with Recording(use) as recording:
        ring = RecordedRing(recording)
        for seconds in ago_s:
            sent = fill(ring, film, start_s=time.monotonic() - seconds)
    return sent, recording


def clip_at(use: RecordingUse, ago_s: float, before_s: float = 1.0, after_s: float = 1.0) -> RecordedClip:
    return SegmentFolder(use).cut(datetime.now(UTC) - timedelta(seconds=ago_s), before_s, after_s)


def test_a_film_is_cut_from_the_keyframe_before_and_holds_the_camera_s_own_bytes(film: Path, tmp_path: Path) -> None:
    use = use_of(tmp_path / "kitchen")
    asked_at = datetime.now(UTC)
    sent, _ = record(use, film, 1000)
    (segment,) = SegmentFolder(use).segments()
    assert abs((segment.start_at - asked_at).total_seconds() + 1000) < 5
    clip = SegmentFolder(use).cut(segment.start_at + timedelta(seconds=3.05), 0.5, 1.0)
    packets, pictures = unpacked(clip.mp4)
    assert packets == sent[20:41]
    assert pictures == clip.frames == 21
    assert clip.first_at - segment.start_at == timedelta(seconds=2)
    assert clip.last_at - segment.start_at == timedelta(seconds=4)
    assert (tmp_path / "kitchen").stat().st_mode & 0o077 == 0


def test_a_film_goes_over_the_end_of_a_file_and_what_was_not_recorded_is_refused(film: Path, tmp_path: Path) -> None:
    use = use_of(tmp_path)
    record(use, film, 1000, 994, 500)
    assert len(SegmentFolder(use).segments()) == 3
    packets, pictures = unpacked(clip_at(use, 994, 3, 3).mp4)
    assert 55 <= pictures == len(packets) <= 75
    with av.open(str(SegmentFolder(use).segments()[0].path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
    for ago_s in (1010, 980, 400):
        with pytest.raises(NotRecorded, match=r"^not recorded, kept is: 20.* to 20.* UTC$"):
            clip_at(use, ago_s)
    with pytest.raises(NotRecorded, match=r"kept is: nothing$"):
        clip_at(use_of(tmp_path / "nowhere"), 10)


def test_a_camera_that_was_set_to_another_size_gives_the_film_of_the_side_with_the_moment(
    film: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.mp4"
    with av.open(str(other), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 320, 192, "yuv420p", FPS
        for _ in range(4 * FPS):
            container.mux(stream.encode(av.VideoFrame(320, 192, "yuv420p")))
        container.mux(stream.encode(None))
    use = use_of(tmp_path / "kitchen")
    with Recording(use) as recording:
        ring = RecordedRing(recording)
        fill(ring, film, start_s=time.monotonic() - 1000)
        fill(ring, other, start_s=time.monotonic() - 994)
    assert widths(clip_at(use, 997, 5, 5)) == {160}
    assert widths(clip_at(use, 992, 5, 5)) == {320}


def widths(clip: RecordedClip) -> set[int]:
    with av.open(io.BytesIO(clip.mp4)) as container:
        return {picture.width for picture in container.decode(video=0)}


def test_the_oldest_files_go_when_all_is_too_much_or_too_old(film: Path, tmp_path: Path) -> None:
    use = use_of(tmp_path)
    record(use, film, 1000, 900, 800)
    folder = SegmentFolder(use)
    sizes = [item.size_bytes for item in folder.segments()]
    now = datetime.now(UTC)
    assert folder.make_room(now)
    assert len(folder.segments()) == 3
    assert SegmentFolder(replace(use, bytes_max=sum(sizes) - 1)).make_room(now)
    assert [item.number for item in folder.segments()] == [2, 3]
    later = now + timedelta(hours=2)
    unsure = replace(use, clock_right=lambda: False)
    assert SegmentFolder(unsure).make_room(later)
    assert len(folder.segments()) == 2, "by a clock that may be wrong nothing goes"
    assert folder.make_room(later, writing=folder.segments()[1].path)
    assert [item.number for item in folder.segments()] == [3]
    record(use, film, 700)
    assert [item.number for item in folder.segments()] == [3, 4], "numbers go on after a restart"


def test_without_room_on_the_disk_nothing_is_recorded_and_it_is_told_once_each_way(film: Path, tmp_path: Path) -> None:
    use = use_of(tmp_path)
    record(use, film, 1000)
    full = replace(use, free_bytes_min=10**18)
    _, recording = record(full, film, 900, 800)
    assert SegmentFolder(use).segments() == [], "old minutes give way to what the disk is kept free for"
    assert [(change.on, change.reason) for change in recording.changes] == [(False, "there is no room for it")]


def test_recording_goes_on_when_there_is_room_again(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vision.recording.CHECK_S", 0.0)
    (tmp_path / "file").write_bytes(b"")
    use = use_of(tmp_path / "file")  # no folder can be made there
    with Recording(use) as recording:
        ring = RecordedRing(recording)
        fill(ring, film, start_s=time.monotonic() - 1000)
        wait_for("it is told", lambda: len(recording.changes) == 1, DEADLINE_S)
        (tmp_path / "file").unlink()

        def again() -> bool:
            fill(ring, film, start_s=time.monotonic() - 900)
            return len(recording.changes) == 2

        wait_for("it goes on", again, DEADLINE_S)
    assert [change.on for change in recording.changes] == [False, True]
    assert SegmentFolder(use).segments() != []


KILLED = """
import os, signal, sys, time
from pathlib import Path
from tests.vision.test_packet_ring import fill
from tests.vision.test_recording import use_of
from vision.recording import RecordedRing, Recording
from vision.segments import SegmentFolder

use = use_of(Path(sys.argv[1]))
with Recording(use) as recording:
    fill(RecordedRing(recording), Path(sys.argv[2]), start_s=time.monotonic() - 1000)
    while recording._queue:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_is_killed_loses_the_last_seconds_alone(film: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "k"), str(film)]
    asked_at = datetime.now(UTC)
    assert subprocess.run(command, cwd=ROOT, check=False, timeout=60).returncode == -signal.SIGKILL
    clip = SegmentFolder(use_of(tmp_path / "k")).cut(asked_at - timedelta(seconds=998), 30, 30)
    packets, pictures = unpacked(clip.mp4)
    assert len(packets) == pictures >= 6 * FPS - 2 * FPS


@contextmanager
def watched(film: Path, **changes: object) -> Iterator[Callable[[LookOrder], Looked]]:
    """A camera that plays the film; gives who has an order carried out."""
    watch = Watch(
        replace(SETTINGS, source=str(film), rate_fps=5, **changes),  # type: ignore[arg-type]
        [ScriptedDetector({0: "mask", 1: "no_mask"}, [boxes()])],
    )
    answers: queue.Queue[Looked] = queue.Queue()
    stop = threading.Event()

    def run() -> None:
        for item in watch_cameras([watch], stop):
            if isinstance(item, Looked):
                answers.put(item)

    thread = threading.Thread(target=run)
    thread.start()

    def ask(order: LookOrder) -> Looked:
        watch.looks.take(order)
        return answers.get(timeout=DEADLINE_S)

    try:
        yield ask
    finally:
        stop.set()
        thread.join(DEADLINE_S)


def order(ago_s: float) -> LookOrder:
    return LookOrder("o1", "clip", at=datetime.now(UTC) - timedelta(seconds=ago_s), before_s=1, after_s=1)


def test_an_order_for_a_moment_before_the_ring_is_served_from_the_disk(film: Path, tmp_path: Path) -> None:
    use = use_of(tmp_path)
    record(use, film, 1000)
    with watched(film, recording=use) as ask:
        answer = ask(order(997))
        assert (answer.status, answer.reason) == ("done", "")
        assert answer.first_at is not None
        assert answer.last_at is not None
        assert 2 <= (answer.last_at - answer.first_at).total_seconds() <= 3
        assert unpacked(answer.clip_mp4)[1] == answer.frames
        refused = ask(order(2000))
        assert (refused.status, refused.clip_mp4) == ("refused", b"")
        assert refused.reason.startswith("not recorded, kept is: 20")
    assert len(SegmentFolder(use).segments()) > 1, "it went on recording"


def test_without_a_recording_an_order_for_a_moment_before_the_ring_is_refused(film: Path) -> None:
    with watched(film) as ask:
        assert ask(order(997)).reason == "gone: the film of that moment, the last 30 s are kept"


def test_a_camera_with_masks_is_not_recorded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a recording would show what they hide"):
        replace(SETTINGS, masks=MASKS, recording=use_of(tmp_path))


@pytest.mark.parametrize(
    ("hidden", "reason"), [(False, "no film is kept of this camera"), (True, "gone: the film of that moment")]
)
def test_a_camera_with_masks_keeps_nothing_for_films_unless_somebody_hides_what_they_cover(
    film: Path, hidden: bool, reason: str
) -> None:
    with watched(film, masks=MASKS, masked_films=hidden) as ask:
        assert ask(order(997)).reason.startswith(reason)


@pytest.mark.slow
def test_an_rtsp_camera_that_comes_back_goes_on_in_another_file(tmp_path: Path) -> None:
    if not RtspCamera.available():
        missing("GStreamer's RTSP server")
    folder = SegmentFolder(use := use_of(tmp_path))

    def lasts_s(number: int) -> float:
        kept = folder.segments()
        return (kept[number].end_at - kept[number].start_at).total_seconds() if len(kept) > number else 0.0

    with (
        FaultyCamera("killed") as camera,
        Recording(use) as recording,
        PacketTap(camera.url, RecordedRing(recording), loop=True),
    ):
        wait_for("four seconds are recorded", lambda: lasts_s(0) >= 4)
        camera.break_down()
        camera.repair()
        wait_for("the second file grows", lambda: lasts_s(1) >= 2)
    first, second = folder.segments()[:2]
    assert first.end_at <= second.start_at
    for at in (first.start_at + timedelta(seconds=2), second.start_at + timedelta(seconds=1)):
        clip = folder.cut(at, 1, 1)
        packets, pictures = unpacked(clip.mp4)
        assert 10 <= pictures == len(packets) == clip.frames
        assert clip.first_at <= at <= clip.last_at
