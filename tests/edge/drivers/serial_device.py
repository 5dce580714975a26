"""A device at the far end of a real pseudo-terminal: a thread that answers what it is told to, when it is told to."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import tty
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import monotonic

Answer = Callable[[bytes], Iterable[tuple[float, bytes]]]  # bytes received → (delay_s, bytes to send), ...


class SerialDevice:
    """Start with `serial_device`; `say` makes it talk by itself."""

    def __init__(self, answer: Answer) -> None:
        self._near, far = os.openpty()
        tty.setraw(far)
        self.path = Path(os.ttyname(far))
        self._far = far
        self._answer = answer
        self._wake_read, self._wake_write = os.pipe()
        self._due: list[tuple[float, bytes]] = []  # in the order in which they are sent: a unit answers in turn
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def say(self, data: bytes, delay_s: float = 0.0) -> None:
        self._plan(data, delay_s)
        os.write(self._wake_write, b"w")

    def _plan(self, data: bytes, delay_s: float) -> None:
        with self._lock:
            last_s = self._due[-1][0] if self._due else 0.0
            self._due.append((max(last_s, monotonic()) + delay_s, data))

    def _serve(self) -> None:
        while True:
            with self._lock:
                wait_s = max(0.0, min((due for due, _ in self._due), default=monotonic() + 60) - monotonic())
            ready, _, _ = select.select([self._near, self._wake_read], [], [], wait_s)
            if self._wake_read in ready and b"q" in os.read(self._wake_read, 1024):
                return
            if self._near in ready:
                for delay_s, data in self._answer(os.read(self._near, 4096)):
                    self._plan(data, delay_s)
            self._send_due()

    def _send_due(self) -> None:
        with self._lock:
            now_s = monotonic()
            ready = [item for item in self._due if item[0] <= now_s]
            self._due = [item for item in self._due if item[0] > now_s]
        for _, data in ready:
            os.write(self._near, data)

    def unplug(self) -> None:
        """End the thread and close both ends: the reader at *path* sees the line go."""
        if self._thread.is_alive():
            os.write(self._wake_write, b"q")
            self._thread.join()
            for descriptor in (self._near, self._far, self._wake_read, self._wake_write):
                os.close(descriptor)


@contextlib.contextmanager
def serial_device(answer: Answer) -> Iterator[SerialDevice]:
    device = SerialDevice(answer)
    try:
        yield device
    finally:
        device.unplug()
