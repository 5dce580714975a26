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
from collections.abc import Callable, Iterator
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

    def __init__(
        self,
        scenario: str,
        *,
        seed: int = 1,
        speed: float = SPEED_DEMO,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._script = SCENARIOS[scenario]
        self._speed = speed
        self._start_s = self._now_s = clock()
        self.room = ColdRoom(seed=seed)
        self.reads = {1: 0, 2: 0}

    def advance(self) -> None:
        """Bring the room to the present."""
        now_s = self._clock()
        for at_s, door_open, compressor_failed in self._script:
            turn_s = self._start_s + at_s
            if now_s < turn_s:
                break
            self._step_to(turn_s)  # what was before it had its effect until then, however rarely anybody reads
            self.room.door_open, self.room.compressor_failed = door_open, compressor_failed
        self._step_to(now_s)

    def _step_to(self, at_s: float) -> None:
        self.room.step(max(0.0, at_s - self._now_s) * self._speed)
        self._now_s = max(at_s, self._now_s)

    def air_c(self) -> float:
        """What a probe in the room's air measures now, noise included."""
        self.advance()
        return self.room.measured_c(self.room.air_c)

    def slave(self, unit: int) -> Slave:
        """The register map of one unit."""

        def temperature() -> int:
            self.advance()
            self.reads[unit] += 1
            true_c = self.room.air_c if unit == 1 else self.room.product_c
            return round(self.room.measured_c(true_c) * 10)

        return Slave(
            # 1: relative humidity in 0.1 %
            input_registers={0: temperature, 1: lambda: 850 if self.room.door_open else 720},
            discrete_inputs={0: lambda: self.room.door_open, 1: lambda: not self.room.compressor_failed},
            holding_registers={0: lambda: DEVICE_ID + unit, 1: lambda: self.reads[unit]},
        )


@contextlib.contextmanager
def pseudo_terminal(link: Path) -> Iterator[int]:
    """A raw pty whose far end is found at *link*; yields the near end's descriptor."""
    if link.is_symlink():
        link.unlink()
    link.parent.mkdir(parents=True, exist_ok=True)
    near, far = os.openpty()
    try:
        tty.setraw(far)
        link.symlink_to(os.ttyname(far))  # raises rather than replace a file that is no link
        try:
            yield near
        finally:
            link.unlink(missing_ok=True)
    finally:
        os.close(near)
        os.close(far)


def serve(link: Path, pair: ProbePair, stop: threading.Event, ready: Callable[[], None] = lambda: None) -> None:
    """Answer on the line until *stop*; *ready* is called once the device is there."""
    serve_line(link, Line({unit: pair.slave(unit) for unit in (1, 2)}), stop, ready)


def serve_line(link: Path, line: Line, stop: threading.Event, ready: Callable[[], None] = lambda: None) -> None:
    """Carry bytes between the device at *link* and *line* until *stop*."""
    with pseudo_terminal(link) as near:
        ready()
        while not stop.is_set():
            arrived, _, _ = select.select([near], [], [], SILENCE_S)
            answer = line.feed(os.read(near, 1024)) if arrived else line.silence()
            if answer:
                os.write(near, answer)
