"""The simulated camera: its schedule, and H.264 that decodes at each of its doors."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest

from firmware_sim.camera import VIEWER_QUEUE_PARTS_MAX, HttpCamera, RtspCamera, Schedule, Sink, stream, write_file
from firmware_sim.scene import Kitchen

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 30
SIZE = {"fps": 10, "width": 320, "height": 240}


@pytest.mark.parametrize(
    "text", ["", "mask", "mask:", "hat:5", "mask:-1", "mask:1.2.3", "mask:²", "mask:0", "mask:5,", "mask:5;no_mask:5"]
)
def test_schedule_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Schedule(text)


def test_schedule_says_who_is_seen_and_repeats() -> None:
    schedule = Schedule("mask:2,no_mask:1.5,empty:1")
    looks = [schedule.look(at_s) for at_s in (0, 1.9, 2, 3.4, 3.5, 4.4, 4.5, 6.5)]
    assert looks == ["mask", "mask", "no_mask", "no_mask", "empty", "empty", "mask", "no_mask"]


def test_file_holds_all_its_frames(tmp_path: Path) -> None:
    write_file(Schedule("no_mask:1"), tmp_path / "k.mp4", 2.0, **SIZE)
    with av.open(str(tmp_path / "k.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        frames = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    assert len(frames) == 20
    drawn = Kitchen(320, 240).frame(0, "no_mask")
    assert np.abs(frames[0].astype(int) - drawn.astype(int)).mean() < 8


@contextmanager
def streaming(camera: Sink) -> Iterator[None]:
    """The encoder running into *camera*."""
    stop = threading.Event()
    thread = threading.Thread(target=stream, args=(Schedule("no_mask:60"), camera, stop), kwargs=SIZE)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(DEADLINE_S)


def watch(url: str, count: int, **options: str) -> list[tuple[int, int]]:
    """The sizes of the first *count* decoded pictures."""
    sizes: list[tuple[int, int]] = []
    with av.open(
        url, options={"probesize": "65536", "analyzeduration": "500000", **options}, timeout=(20, 20)
    ) as video:
        assert video.streams.video[0].codec_context.name == "h264"
        for frame in video.decode(video=0):
            sizes.append((frame.width, frame.height))
            if len(sizes) == count:
                break
    return sizes


def test_http_camera_delivers_h264_to_every_viewer() -> None:
    with HttpCamera() as camera, streaming(camera):
        assert watch(camera.url, 12) == [(320, 240)] * 12
        assert watch(camera.url, 3) == [(320, 240)] * 3, "who comes later starts at a keyframe"


def test_http_camera_has_nothing_at_another_path() -> None:
    with HttpCamera() as camera, connect(camera) as viewer:
        viewer.sendall(b"GET /etc/passwd HTTP/1.0\r\n\r\n")
        assert viewer.recv(4096).startswith(b"HTTP/1.0 404")


def connect(camera: HttpCamera) -> socket.socket:
    port = int(camera.url.rpartition(":")[2].partition("/")[0])
    viewer = socket.socket()
    viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    viewer.settimeout(DEADLINE_S)
    viewer.connect(("127.0.0.1", port))
    return viewer


def test_slow_viewer_is_cut_off_and_never_waited_for() -> None:
    part = b"x" * 50_000
    others = set(threading.enumerate())
    with HttpCamera() as camera, connect(camera) as slow:
        slow.sendall(b"GET /kitchen.ts HTTP/1.0\r\n\r\n")
        assert slow.recv(4) == b"HTTP"
        until_s = time.monotonic() + DEADLINE_S
        while not camera._viewers and time.monotonic() < until_s:
            threading.Event().wait(0.005)
        start_s = time.monotonic()
        for _ in range(VIEWER_QUEUE_PARTS_MAX * 3):
            camera.write(part, keyframe=True)
        assert time.monotonic() - start_s < 5, "600 parts are taken without waiting for anybody"
        assert not camera._viewers, "the viewer that takes nothing is no viewer any more"
        served = set(threading.enumerate()) - others
        stalled = [thread for thread in served if "process_request_thread" in thread.name]
        for thread in stalled:
            thread.join(DEADLINE_S)
        assert stalled
        assert not any(thread.is_alive() for thread in stalled), "its connection is ended too"


def test_leaving_the_http_camera_ends_its_viewers() -> None:
    with HttpCamera() as camera:
        viewer = connect(camera)
        viewer.sendall(b"GET /kitchen.ts HTTP/1.0\r\n\r\n")
        assert viewer.recv(4) == b"HTTP"
    with viewer:
        while viewer.recv(4096):
            pass


def need_rtsp() -> None:
    if not RtspCamera.available():
        reason = "the system's Python has no GStreamer RTSP server (gir1.2-gst-rtsp-server-1.0, python3-gi)"
        if os.environ.get("BRIGHTLINE_REQUIRE_SERVICES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


def test_rtsp_camera_delivers_h264() -> None:
    need_rtsp()
    with RtspCamera() as camera, streaming(camera):
        assert camera.url.startswith("rtsp://127.0.0.1:")
        assert watch(camera.url, 5, rtsp_transport="tcp") == [(320, 240)] * 5


def test_rtsp_camera_that_nobody_watches_never_holds_up_the_encoder() -> None:
    need_rtsp()
    with RtspCamera() as camera:
        start_s = time.monotonic()
        for _ in range(200):
            camera.write(b"\x47" + b"\xff" * 18_799, keyframe=True)
        assert time.monotonic() - start_s < DEADLINE_S


def test_rtsp_server_that_cannot_start_is_an_oserror_and_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware_sim.camera.SYSTEM_PYTHON", "/bin/false")
    camera = RtspCamera()
    with pytest.raises(OSError, match="did not start"):
        camera.__enter__()
    assert camera._child.returncode is not None
    assert not RtspCamera.available()


def test_console_camera_announces_its_address_and_stops_on_sigterm() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "firmware_sim.cli", "camera", "--door", "http", "--width", "320", "--height", "240"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert watch(json.loads(process.stdout.readline())["source"], 3) == [(320, 240)] * 3
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--schedule", "hat:1"], "say mask, no_mask or empty"),
        (["--door", "file"], "needs --out"),
        (["--fps", "0"], "--fps"),
        (["--width", "321"], "even"),
        (["--door", "http", "--width", "100"], "too narrow"),
    ],
)
def test_console_refuses_wrong_arguments_with_status_2(arguments: list[str], problem: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "firmware_sim.cli", "camera", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, problem in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr
