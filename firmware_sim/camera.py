"""A kitchen camera that streams H.264: over HTTP (MPEG-TS), over RTSP where GStreamer's server is, or into a file.

One encoder feeds all who watch; a new viewer starts at the next keyframe. A slow viewer is cut off, never waited for.
"""

from __future__ import annotations

import io
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Protocol

from firmware_sim.scene import Kitchen, Look

VIEWER_QUEUE_PARTS_MAX = 200
VIEWER_STALL_S = 5.0  # a viewer that takes nothing for so long is cut off
RTSP_SCRIPT = Path(__file__).with_name("rtsp_server.py")
SYSTEM_PYTHON = "/usr/bin/python3"
LOOKS: dict[str, Look] = {"mask": "mask", "no_mask": "no_mask", "empty": "empty"}


class Sink(Protocol):
    """Where encoded bytes go; ``keyframe`` says whether a viewer may start here."""

    def write(self, data: bytes, *, keyframe: bool) -> None: ...


class Schedule:
    """Who is to be seen when; repeats for ever."""

    def __init__(self, text: str) -> None:
        """Read ``look:seconds,…`` such as ``mask:15,no_mask:45``; raises ValueError."""
        self._parts: list[tuple[Look, float]] = []
        for part in text.split(","):
            name, _, seconds = part.partition(":")
            look = LOOKS.get(name)
            if look is None or not seconds.replace(".", "", 1).isdecimal():
                raise ValueError(f"{part!r}: say mask, no_mask or empty, a colon and seconds, such as mask:15")
            self._parts.append((look, float(seconds)))
        self._total_s = sum(seconds for _, seconds in self._parts)
        if self._total_s <= 0:
            raise ValueError("the schedule has no length")

    def look(self, at_s: float) -> Look:
        rest_s = at_s % self._total_s
        for look, seconds in self._parts:
            if rest_s < seconds:
                return look
            rest_s -= seconds
        return self._parts[-1][0]


class _Collector(io.RawIOBase):
    """A file for the muxer that gives its bytes away after each packet."""

    def __init__(self) -> None:
        super().__init__()
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, part: object) -> int:
        piece = bytes(part)  # type: ignore[call-overload]
        self.data += piece
        return len(piece)

    def take(self) -> bytes:
        data, self.data = bytes(self.data), bytearray()
        return data


def stream(schedule: Schedule, sink: Sink, stop: threading.Event, *, fps: int, width: int, height: int) -> None:
    """Encode frames in real time into *sink* until *stop*; a keyframe every second."""
    import av

    kitchen = Kitchen(width, height)
    collector = _Collector()
    with av.open(collector, "w", format="mpegts", options={"flush_packets": "1"}) as container:
        video = container.add_stream("libx264", rate=fps)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.gop_size = fps
        video.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": "repeat-headers=1", "crf": "21"}
        start_s = time.monotonic()
        index = 0
        while not stop.is_set():
            at_s = index / fps
            frame = av.VideoFrame.from_ndarray(kitchen.frame(at_s, schedule.look(at_s)), format="bgr24")
            frame.pts = index
            for packet in video.encode(frame):
                keyframe = bool(packet.is_keyframe)
                container.mux(packet)
                sink.write(collector.take(), keyframe=keyframe)
            index += 1
            stop.wait(max(0.0, start_s + index / fps - time.monotonic()))


def write_file(
    schedule: Schedule,
    path: Path,
    seconds: float,
    *,
    fps: int,
    width: int,
    height: int,
    keyframe_every: int | None = None,
) -> None:
    """Write the same pictures to a video file, as fast as they encode; a keyframe in so many (0: each second)."""
    import av

    kitchen = Kitchen(width, height)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=fps)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.gop_size = keyframe_every or fps
        video.options = {"preset": "ultrafast", "crf": "21"}
        for index in range(round(seconds * fps)):
            at_s = index / fps
            frame = av.VideoFrame.from_ndarray(kitchen.frame(at_s, schedule.look(at_s)), format="bgr24")
            frame.pts = index
            container.mux(video.encode(frame))
        container.mux(video.encode(None))


class HttpCamera:
    """Serves the stream at ``/kitchen.ts`` on loopback; a context manager."""

    def __init__(self, port: int = 0) -> None:
        self._viewers: set[queue.Queue[bytes | None]] = set()
        self._lock = threading.Lock()
        camera = self

        class Handler(BaseHTTPRequestHandler):
            timeout = VIEWER_STALL_S

            def do_GET(self) -> None:
                if self.path != "/kitchen.ts":
                    self.send_error(404, "the stream is at /kitchen.ts")
                    return
                self.send_response(200)
                self.send_header("content-type", "video/mp2t")
                self.end_headers()
                try:
                    for part in camera._watch():
                        self.wfile.write(part)
                except OSError:
                    return  # the viewer went away

            def log_message(self, format: str, *args: object) -> None:
                """The camera's log is its status line only."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="camera-http", daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/kitchen.ts"

    def __enter__(self) -> HttpCamera:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        with self._lock:
            for viewer in self._viewers:
                viewer.put_nowait(None)
            self._viewers.clear()
        self._thread.join()

    def _watch(self) -> Iterator[bytes]:
        mine: queue.Queue[bytes | None] = queue.Queue(VIEWER_QUEUE_PARTS_MAX + 1)
        started = False
        with self._lock:
            self._viewers.add(mine)
        try:
            while (item := mine.get()) is not None:
                if not started and item[:1] != b"K":
                    continue
                started = True
                yield item[1:]
        finally:
            with self._lock:
                self._viewers.discard(mine)

    def write(self, data: bytes, *, keyframe: bool) -> None:
        item = (b"K" if keyframe else b"-") + data
        with self._lock:
            for viewer in list(self._viewers):
                if viewer.qsize() >= VIEWER_QUEUE_PARTS_MAX:
                    self._viewers.discard(viewer)
                    viewer.put_nowait(None)
                else:
                    viewer.put_nowait(item)


class RtspCamera:
    """Serves the stream through GStreamer's RTSP server in a child process of the system's Python."""

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self.url = ""

    @staticmethod
    def available() -> bool:
        """Whether the system's Python has GStreamer's RTSP server."""
        probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
        if not Path(SYSTEM_PYTHON).exists():
            return False
        try:
            done = subprocess.run([SYSTEM_PYTHON, "-c", probe], capture_output=True, check=False, timeout=20)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    @property
    def pid(self) -> int:
        """Of the server."""
        return self._child.pid

    def __enter__(self) -> RtspCamera:
        self._child = subprocess.Popen(
            [SYSTEM_PYTHON, str(RTSP_SCRIPT), str(self._port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            self.__exit__()
            raise OSError("the RTSP server did not start; use the http door instead")
        self.url = str(json.loads(line)["source"])
        return self

    def __exit__(self, *_: object) -> None:
        self._child.terminate()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    sys.stderr.write("the RTSP server ended before its pipe was closed\n")

    def write(self, data: bytes, *, keyframe: bool) -> None:
        del keyframe  # the server itself lets a client start at a keyframe
        assert self._child.stdin is not None
        self._child.stdin.write(data)
        self._child.stdin.flush()
