"""The simulator's slaves on a real pseudo-terminal, as a serial device for the box's driver."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from firmware_sim.modbus_slave import Line, Slave
from firmware_sim.probes import serve_line

START_S = 20


class NoisyLine(Line):
    """A line whose answers *spoil* may change; it counts the requests of each unit."""

    def __init__(self, slaves: dict[int, Slave]) -> None:
        super().__init__(slaves)
        self.requests: list[int] = []
        self.spoil: dict[int, list[bytes]] = {}  # unit → what to send instead, one entry a request; b"" is silence

    def feed(self, data: bytes) -> bytes:
        unit = data[0]
        self.requests.append(unit)
        answer = super().feed(data)
        if self.spoil.get(unit):
            return self.spoil[unit].pop(0)
        return answer


@contextmanager
def serial_line(folder: Path, line: Line) -> Iterator[tuple[Path, threading.Event]]:
    """The device of a running line, and the event that pulls its plug."""
    device = folder / "ttyTest"
    stop, ready = threading.Event(), threading.Event()
    thread = threading.Thread(target=serve_line, args=(device, line, stop, ready.set))
    thread.start()
    try:
        assert ready.wait(START_S)
        yield device, stop
    finally:
        stop.set()
        thread.join(START_S)
