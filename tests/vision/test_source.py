"""Video sources against real files and servers: time, loss, return, secrets, and slow consumers."""

from __future__ import annotations

import itertools
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import pytest

from firmware_sim.camera import HttpCamera, RtspCamera, Schedule, stream, write_file
from tests.waiting import wait_for
from vision.address import CameraAddress
from vision.frame import Frame
from vision.packet_ring import PacketRing
from vision.packet_tap import PacketTap
from vision.reader import Reader, next_due
from vision.source import SourceLost, VideoSource

SMALL = {"width": 160, "height": 96}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds, 20 pictures."""
    path = tmp_path_factory.mktemp("film") / "kitchen.mp4"
    write_file(Schedule("no_mask:60"), path, 2, fps=10, **SMALL)
    return path


@contextmanager
def streaming(camera: HttpCamera | RtspCamera) -> Iterator[str]:
    stop = threading.Event()
    with camera:
        feeder = threading.Thread(
            target=stream, args=(Schedule("no_mask:60"), camera, stop), kwargs={"fps": 10, **SMALL}
        )
        feeder.start()
        try:
            yield camera.url
        finally:
            stop.set()
            feeder.join(20)


@contextmanager
def silent_server() -> Iterator[int]:
    """Accepts connections (the kernel does) and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        yield server.getsockname()[1]


def first(source: VideoSource, kind: type[Frame | SourceLost], within_s: float) -> Frame | SourceLost:
    deadline_s = time.monotonic() + within_s
    for item in source:
        if isinstance(item, kind):
            return item
        assert time.monotonic() < deadline_s, f"no {kind.__name__} within {within_s} s, but {item}"
    raise AssertionError(f"the source ended without a {kind.__name__}")


def test_a_file_plays_in_real_time_and_ends(film: Path) -> None:
    started_s = time.monotonic()
    with VideoSource(str(film), rate_fps=10, loop=False) as source:
        frames = list(source)
    assert 1.7 <= time.monotonic() - started_s <= 20
    assert all(isinstance(frame, Frame) for frame in frames)
    assert len(frames) + source.dropped == 20
    assert all(frame.image.shape == (96, 160, 3) for frame in frames if isinstance(frame, Frame))


def test_pictures_carry_rising_times_and_numbers(film: Path) -> None:
    with VideoSource(str(film), rate_fps=10, loop=False) as source:
        frames = [frame for frame in source if isinstance(frame, Frame)]
    assert all(a.index < b.index and a.monotonic_s < b.monotonic_s for a, b in itertools.pairwise(frames))
    assert frames[0].captured_at.utcoffset() is not None


def test_a_lower_rate_takes_fewer_pictures_of_the_same_time(film: Path) -> None:
    with VideoSource(str(film), rate_fps=2, loop=False) as source:
        frames = list(source)
    assert 3 <= len(frames) + source.dropped <= 5


def test_a_looping_file_starts_again(film: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), VideoSource(str(film), rate_fps=10) as source:
        deadline_s = time.monotonic() + 30
        for item in source:
            assert time.monotonic() < deadline_s
            if isinstance(item, Frame) and item.index > 25:
                break
    assert caplog.records == []  # the end of a round is no loss


def test_a_file_that_is_no_film_played_once_is_told_as_lost(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("not a film " * 1000)
    with VideoSource(str(path), loop=False) as source:
        (item,) = list(source)
    assert isinstance(item, SourceLost)
    assert "InvalidDataError" in item.reason


def test_a_film_of_one_picture_does_not_spin(tmp_path: Path) -> None:
    path = tmp_path / "one.mp4"
    write_file(Schedule("mask:1"), path, 0.1, fps=10, **SMALL)
    with VideoSource(str(path), rate_fps=5) as source:
        started_s = time.monotonic()
        for item in source:
            if isinstance(item, Frame) and item.index >= 3:
                break
        assert time.monotonic() - started_s >= 0.5


def test_a_server_that_never_answers_is_told_within_five_seconds_and_stop_is_bounded() -> None:
    with silent_server() as port:
        source = VideoSource(f"rtsp://admin:secret@127.0.0.1:{port}/ch1")
        started_s = time.monotonic()
        with source:
            lost = next(iter(source))
            assert time.monotonic() - started_s <= 5.0
            assert isinstance(lost, SourceLost)
            assert "secret" not in lost.reason
            stopping_s = time.monotonic()
        assert time.monotonic() - stopping_s <= 9.5


def test_stop_from_another_thread_ends_the_iteration_at_once() -> None:
    with silent_server() as port, VideoSource(f"http://127.0.0.1:{port}/x") as source:
        threading.Timer(0.2, source.stop).start()
        started_s = time.monotonic()
        assert list(source) == []
        assert time.monotonic() - started_s < 4


def test_credentials_are_neither_in_reasons_nor_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]  # bound, not listening: refused at once
        url = f"http://admin:secret@127.0.0.1:{port}/v?password=secret"
        with caplog.at_level(logging.DEBUG), VideoSource(url, lost_s=1) as source:
            lost = first(source, SourceLost, 10)
    assert isinstance(lost, SourceLost)
    assert "refused" in lost.reason.lower()
    assert "secret" not in lost.reason + caplog.text
    assert caplog.text.count("reconnecting") == 1  # once, however often it tries


def test_a_slow_consumer_gets_the_latest_picture_and_the_others_are_counted(film: Path) -> None:
    with VideoSource(str(film), rate_fps=10, loop=False) as source:
        frames = iter(source)
        early = next(frames)
        source._thread.join(30)  # the consumer is busy for the rest of the film
        late = next(frames)
        assert list(frames) == []
    assert isinstance(early, Frame)
    assert isinstance(late, Frame)
    assert late.index == 19
    assert early.index + 1 + source.dropped == 19


def test_a_camera_that_dies_and_comes_back_is_read_again(caplog: pytest.LogCaptureFixture) -> None:
    camera = HttpCamera()
    port = int(camera.url.split(":")[2].split("/")[0])
    with caplog.at_level(logging.INFO), VideoSource(camera.url, rate_fps=10, lost_s=1.5) as source:
        with streaming(camera):
            assert first(source, Frame, 20)
        assert first(source, SourceLost, 20)
        with streaming(HttpCamera(port)):
            back = first(source, Frame, 30)
            told = [record.message for record in caplog.records if record.name == "vision.reader"]
    assert isinstance(back, Frame)
    assert len(told) == 2
    assert "reconnecting" in told[0]
    assert "pictures again" in told[1]


def test_a_camera_that_falls_silent_is_lost_with_a_reason_of_its_own() -> None:
    camera = HttpCamera()
    stop = threading.Event()
    with camera, VideoSource(camera.url, rate_fps=10, lost_s=1) as source:
        feeder = threading.Thread(target=stream, args=(Schedule("mask:9"), camera, stop), kwargs={"fps": 10, **SMALL})
        feeder.start()
        try:
            assert first(source, Frame, 20)
        finally:
            stop.set()  # the connection stays open, nothing more comes
            feeder.join(20)
        lost = first(source, SourceLost, 10)
    assert isinstance(lost, SourceLost)
    assert lost.reason == "no picture came"


def test_an_rtsp_camera_is_read() -> None:
    if not RtspCamera.available():
        missing = "the system's Python has no GStreamer RTSP server"
        assert os.environ.get("BRIGHTLINE_REQUIRE_SERVICES") != "1", missing
        pytest.skip(missing)
    with streaming(RtspCamera()) as url, VideoSource(url, rate_fps=10) as source:
        frame = first(source, Frame, 30)
    assert isinstance(frame, Frame)
    assert frame.image.shape == (96, 160, 3)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_reader_thread_that_dies_is_told_and_replaced(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unforeseen(Exception):
        """None of the errors that a reader expects."""

    broken = iter([True])
    read_once = Reader.read_once

    def read_or_break(reader: Reader) -> bool:
        if next(broken, False):
            raise Unforeseen
        return read_once(reader)

    monkeypatch.setattr(Reader, "read_once", read_or_break)
    with VideoSource(str(film), rate_fps=10, lost_s=3) as source:
        lost = first(source, SourceLost, 10)
        assert isinstance(lost, SourceLost)
        assert "started again" in lost.reason
        assert first(source, Frame, 20)


@pytest.mark.parametrize("rate_fps", [0, 0.5, -1, 1000, float("nan")])
def test_a_rate_that_cannot_work_is_refused(rate_fps: float) -> None:
    with pytest.raises(ValueError, match="rate_fps"):
        VideoSource("kitchen.mp4", rate_fps=rate_fps)


def taken(arrivals_s: list[float], interval_s: float) -> list[float]:
    """What `VideoSource` takes of pictures that arrive at these times."""
    due_s, kept = arrivals_s[0], []
    for now_s in arrivals_s:
        if now_s + 0.25 * interval_s >= due_s:
            kept.append(now_s)
            due_s = next_due(due_s, now_s, interval_s)
    return kept


@pytest.mark.parametrize("camera_fps", [5, 6, 7, 10, 12, 15, 25, 30])
def test_the_average_rate_is_what_was_asked_for(camera_fps: int) -> None:
    kept = taken([i / camera_fps for i in range(camera_fps * 60)], 0.2)
    assert len(kept) / 60 == pytest.approx(5, rel=0.03)


def test_after_a_pause_pictures_do_not_come_in_a_burst() -> None:
    kept = taken([i / 25 for i in range(50)] + [5 + i / 25 for i in range(50)], 0.2)
    assert all(later - earlier >= 0.14 for earlier, later in itertools.pairwise(kept))


def test_only_keyframes_are_taken_where_that_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    write_file(Schedule("no_mask:60"), path, 4, fps=10, keyframe_every=10, **SMALL)
    with VideoSource(str(path), rate_fps=0.5, loop=False, keyframes_only=True) as source:
        assert len([item for item in source if isinstance(item, Frame)]) + source.dropped == 2
    with VideoSource(str(path), rate_fps=10, loop=False, keyframes_only=True) as source:
        assert len([item for item in source if isinstance(item, Frame)]) + source.dropped == 4


def test_between_keyframes_packets_are_a_sign_of_life_and_silence_is_a_loss() -> None:
    source = VideoSource("rtsp://camera/1", rate_fps=0.5, keyframes_only=True)
    source._heard_s = source._reader.packet_s = 100.0
    assert source.lost_at_s == 104.5
    source._reader.packet_s = 112.0
    assert source.lost_at_s == 115.0  # packets alone are not enough for ever


@pytest.mark.parametrize("hardware", ["vaapi", "v4l2m2m"])
def test_hardware_that_is_not_there_is_told_once_and_software_decodes(
    film: Path, hardware: str, caplog: pytest.LogCaptureFixture
) -> None:
    if Path("/dev/dri").exists() or Path("/dev/video10").exists():
        pytest.skip("this machine may really have it")
    with VideoSource(str(film), rate_fps=10, hardware=hardware) as source:
        deadline_s = time.monotonic() + 40
        for item in source:
            assert time.monotonic() < deadline_s, item
            if isinstance(item, Frame) and item.index > 22:  # a second round of the film: it is not tried again
                break
    told = [record.getMessage() for record in caplog.records if "software" in record.getMessage()]
    assert told == [f"camera {film}: decoding by {hardware} does not work here; software does it"]


def test_auto_without_hardware_is_software_and_says_nothing(film: Path, caplog: pytest.LogCaptureFixture) -> None:
    if Path("/dev/dri").exists() or Path("/dev/video10").exists():
        pytest.skip("this machine may really have it")
    with VideoSource(str(film), rate_fps=10, hardware="auto") as source:
        assert first(source, Frame, 20)
    assert caplog.records == []


def test_an_unknown_hardware_is_refused() -> None:
    with pytest.raises(ValueError, match="hardware is gpu, none of auto, none"):
        VideoSource("kitchen.mp4", hardware="gpu")


def test_a_damaged_picture_and_all_that_is_drawn_from_it_is_not_given_out(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole.ts", tmp_path / "broken.ts"
    write_file(Schedule("no_mask:60"), whole, 2, fps=10, keyframe_every=10, **SMALL)
    data = bytearray(whole.read_bytes())
    for place in range(len(data) // 4, len(data) // 4 + 2000, 7):  # within the first second
        data[place] ^= 0xFF
    broken.write_bytes(data)
    with VideoSource(str(broken), rate_fps=10, loop=False) as source:
        frames = [item for item in source if isinstance(item, Frame)]
    assert source.drops["decode_error"] >= 3
    assert 10 <= len(frames) < 18, "what was before the damage, and all from the next keyframe on"


def test_films_come_from_the_main_stream_while_the_sub_stream_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "main.mp4"
    write_file(Schedule("no_mask:60"), path, 2, fps=10, keyframe_every=10, width=320, height=192)
    ring = PacketRing()
    with PacketTap(str(path), ring, loop=True):
        wait_for("a second of packets", lambda: (film := ring.clip(0, 1e12)) is not None and len(film.mp4) > 5000)
    film = ring.clip(0, 1e12)
    assert film is not None
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(film.mp4)
    with CameraAddress(str(clip)).open() as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (320, 192)


def test_a_usb_camera_that_is_not_there_is_lost_with_the_reason() -> None:
    with VideoSource("/dev/video99", lost_s=1) as source:
        lost = first(source, SourceLost, 10)
    assert isinstance(lost, SourceLost)
    assert "No such file" in lost.reason


def test_a_camera_whose_pictures_no_film_can_hold_is_watched_without_films(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "usb.nut"
    with av.open(str(path), "w") as container:
        video = container.add_stream("rawvideo", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuyv422"
        for index in range(5):
            picture = av.VideoFrame(64, 48, "yuyv422")
            picture.pts = index
            container.mux(video.encode(picture))
    ring = PacketRing()
    with VideoSource(str(path), rate_fps=10, loop=False, ring=ring) as source:
        assert [type(item) for item in source][:1] == [Frame]
    assert ring.clip(0, 1e12) is None
    assert caplog.text.count("there will be no films") == 1
