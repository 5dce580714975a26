"""Cameras that send one JPEG after the other over HTTP: nothing in their stream says when a picture was taken."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av
import cv2
import pytest

from tests.vision import views
from tests.vision.test_source import first
from tests.waiting import wait_for
from vision.frame import Frame
from vision.packet_ring import PacketRing
from vision.source import VideoSource


class MjpegHandler(BaseHTTPRequestHandler):
    """A camera that sends one JPEG after the other, as web cameras do."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        pause = threading.Event()
        with suppress(OSError):  # the viewer went away
            while not pause.wait(0.1):
                data = cv2.imencode(".jpg", views.wall(160, 96))[1].tobytes()
                self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data))
                self.wfile.write(data + b"\r\n")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def jpeg_camera() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), MjpegHandler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/video"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def test_a_camera_that_sends_jpegs_over_http_is_read() -> None:
    with jpeg_camera() as url, VideoSource(url, rate_fps=10) as source:
        frame = first(source, Frame, 30)
    assert isinstance(frame, Frame)
    assert frame.image.shape == (96, 160, 3)
    assert abs(float(frame.image.mean()) - float(views.wall(160, 96).mean())) < 5


def test_the_film_of_a_camera_that_sends_jpegs_lasts_as_long_as_its_pictures_took_to_come() -> None:
    ring = PacketRing()
    with jpeg_camera() as url, VideoSource(url, rate_fps=10, ring=ring):
        film = wait_for(
            "1.5 s of packets", lambda: (cut := ring.clip(0, 1e12)) and cut.last_s - cut.first_s >= 1.5 and cut, 30
        )
    with av.open(io.BytesIO(film.mp4)) as container:
        times_s = [picture.time for picture in container.decode(video=0)]
    assert len(times_s) == film.frames >= 3
    assert times_s[-1] - times_s[0] == pytest.approx(film.last_s - film.first_s, abs=0.01)
    assert all(before < after for before, after in itertools.pairwise(times_s))
