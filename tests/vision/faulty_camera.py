"""A real RTSP camera behind a line that can be cut, silenced or damaged, for tests."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from types import TracebackType
from urllib.parse import urlsplit

from firmware_sim.camera import RtspCamera, Schedule, stream

FLIP_EVERY_BYTES = 37


class Line:
    """Passes bytes between whoever connects to ``port`` and *upstream*, as ``mode`` says: pass, silent or corrupt."""

    def __init__(self, upstream: int) -> None:
        self.mode = "pass"
        self._upstream = upstream
        self._sockets: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                viewer = self._server.accept()[0]
                self._sockets.append(viewer)
                if self.mode == "silent":
                    continue  # taken, and never a word
                try:
                    camera = socket.create_connection(("127.0.0.1", self._upstream))
                except OSError:
                    viewer.close()  # the camera is dead
                    continue
                self._sockets.append(camera)
                for pair in ((viewer, camera, False), (camera, viewer, True)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, from_camera: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.mode == "silent":
                    continue
                if self.mode == "corrupt" and from_camera and not data.startswith(b"RTSP/"):
                    damaged = bytearray(data)
                    damaged[::FLIP_EVERY_BYTES] = bytes(byte ^ 0xFF for byte in damaged[::FLIP_EVERY_BYTES])
                    data = bytes(damaged)
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)  # one side hung up


class FaultyCamera:
    """A context manager; ``break_down`` and ``repair`` do what the fault's name says."""

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self._stop = threading.Event()

    def __enter__(self) -> FaultyCamera:
        self._start(0)
        address = urlsplit(self._camera.url)
        assert address.port is not None
        self._port = address.port
        self._line = Line(address.port)
        self.url = f"rtsp://127.0.0.1:{self._line.port}{address.path}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._signal(signal.SIGCONT)
        self._line.close()
        self._end()

    def break_down(self) -> None:
        if self.fault == "killed":
            self._signal(signal.SIGKILL)
        elif self.fault == "frozen":
            self._signal(signal.SIGSTOP)
        else:
            self._line.mode = self.fault

    def repair(self) -> None:
        if self.fault == "killed":
            self._end()
            self._start(self._port)
        elif self.fault == "frozen":
            self._signal(signal.SIGCONT)
        else:
            self._line.mode = "pass"

    def write(self, data: bytes, *, keyframe: bool) -> None:
        with contextlib.suppress(OSError):  # its server is dead
            self._camera.write(data, keyframe=keyframe)

    def _start(self, port: int) -> None:
        self._stop = threading.Event()
        self._camera = RtspCamera(port)
        self._camera.__enter__()
        options = {"fps": 10, "width": 160, "height": 96}
        self._feeder = threading.Thread(
            target=stream, args=(Schedule("mask:60"), self, self._stop), kwargs=options, daemon=True
        )
        self._feeder.start()

    def _end(self) -> None:
        self._stop.set()
        self._feeder.join(20)
        self._camera.__exit__()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._camera.pid, number)
