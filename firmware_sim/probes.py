"""A cold room's probe pair on a real pseudo-terminal, with a scripted day in fast motion.

Unit 1 is the air probe, unit 2 the product probe. The registers are listed in README.md.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

from firmware_sim.modbus_slave import Line, Slave
from firmware_sim.thermal import ColdRoom

# scenario → (second of the demo, door open, compressor failed)
SCENARIOS: dict[str, tuple[tuple[float, bool, bool], ...]] = {
    "steady": ((0, False, False),),
    "demo": ((0, False, False), (20, True, True), (75, False, False)),
}
SPEED_DEMO = 12.0
SILENCE_S = 0.02
DEVICE_ID = 0x4C42  # "LB"


class ProbePair:
    """The room behind the registers, advanced by the wall clock times *speed*."""

    def __init__(self, scenario: str, *, seed: int = 1, speed: float = SPEED_DEMO) -> None:
        self._script = SCENARIOS[scenario]
        self._speed = speed
        self._start_s = self._now_s = time.monotonic()
        self.room = ColdRoom(seed=seed)
        self.reads = {1: 0, 2: 0}

    def advance(self) -> None:
        """Bring the room to the present."""
        now_s = time.monotonic()
        for at_s, door_open, compressor_failed in self._script:
            if now_s - self._start_s >= at_s:
                self.room.door_open, self.room.compressor_failed = door_open, compressor_failed
        self.room.step((now_s - self._now_s) * self._speed)
        self._now_s = now_s

    def slave(self, unit: int) -> Slave:
        """The register map of one unit."""

        def temperature() -> int:
            self.advance()
            self.reads[unit] += 1
            true_c = self.room.air_c if unit == 1 else self.room.product_c
            return round(self.room.measured_c(true_c) * 10)

        return Slave(
            input_registers={0: temperature, 1: lambda: 850 if self.room.door_open else 720},
            discrete_inputs={0: lambda: self.room.door_open, 1: lambda: not self.room.compressor_failed},
            holding_registers={0: lambda: DEVICE_ID + unit, 1: lambda: self.reads[unit]},
        )


@contextlib.contextmanager
def pseudo_terminal(link: Path) -> Iterator[int]:
    """A raw pty whose far end is found at *link*; yields the near end's descriptor."""
    near, far = os.openpty()
    tty.setraw(far)
    with contextlib.suppress(FileNotFoundError):
        if link.is_symlink():
            link.unlink()
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.ttyname(far))
    try:
        yield near
    finally:
        link.unlink(missing_ok=True)
        os.close(near)
        os.close(far)


def serve(link: Path, pair: ProbePair, stop: threading.Event) -> None:
    """Answer on the line until *stop*."""
    line = Line({unit: pair.slave(unit) for unit in (1, 2)})
    with pseudo_terminal(link) as near:
        while not stop.is_set():
            ready, _, _ = select.select([near], [], [], SILENCE_S)
            if not ready:
                line.silence()
                continue
            answer = line.feed(os.read(near, 1024))
            if answer:
                os.write(near, answer)
