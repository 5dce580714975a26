"""The cameras' process aborts in native code: readings keep their rhythm, what was open stays, sight comes back."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from edge.config import EdgeConfig
from edge.gateway import Gateway
from firmware_sim.camera import Schedule, write_file
from firmware_sim.modbus_slave import Slave
from telemetry.messages import Event, Reading
from tests.edge.serial_line import NoisyLine, serial_line

DEADLINE_S = 60
POLL_S = 0.1
GAP_S_MAX = 1.0  # a machine with two cores starts Python, numpy and a model meanwhile


def config(folder: Path, device: Path, film: Path) -> EdgeConfig:
    sensor = {
        "type": "modbus",
        "id": "air",
        "name": "空气",
        "port": "p",
        "unit": 1,
        "register": 0,
        "poll_interval_s": POLL_S,
    }
    cameras = [
        {"id": name, "name": name, "source": str(film), "dwell_s": 1.5, "hardware": "none"} for name in ("one", "two")
    ]
    return EdgeConfig.model_validate(
        {
            "box": {"name": "b", "data_dir": folder},
            "server": {"url": "http://127.0.0.1:9"},
            "serial_ports": [{"id": "p", "device": device}],
            "sensors": [sensor],
            "cameras": cameras,
        }
    )


class WitnessedGateway(Gateway):
    """Notes when each reading was on disk, and every event."""

    def __init__(self, config: EdgeConfig) -> None:
        super().__init__(config)
        self.kept_s: list[float] = []
        self.events: list[Event] = []

    async def _record_readings(self, readings: Sequence[Reading], state: Mapping[str, str | None]) -> None:
        await super()._record_readings(readings, state)
        self.kept_s.append(time.monotonic())

    async def _record_events(self, events: Sequence[Event], state: dict[str, str | None]) -> None:
        await super()._record_events(events, state)
        self.events += events

    def count(self, kind: str) -> int:
        return sum(event.type == kind for event in self.events)


def camera_processes() -> list[int]:
    """The children of this process that watch cameras."""
    children = (Path(f"/proc/self/task/{task.name}/children") for task in Path("/proc/self/task").iterdir())
    pids = [int(pid) for path in children if path.exists() for pid in path.read_text().split()]
    return [pid for pid in pids if b"edge.camera" in Path(f"/proc/{pid}/cmdline").read_bytes()]


async def until(what: str, condition: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < ends_s, f"not within {DEADLINE_S} s: {what}"
        await asyncio.sleep(0.02)


async def crash_once(gateway: WitnessedGateway) -> tuple[float, float]:
    """When the process was aborted, and when both cameras saw again."""
    task = asyncio.create_task(gateway.run())
    try:
        await until("both cameras have an incident", lambda: gateway.count("violation_opened") == 2)
        (pid,) = camera_processes()
        aborted_s = time.monotonic()
        os.kill(pid, signal.SIGABRT)
        await until("both cameras see again", lambda: gateway.count("camera_recovered") == 2)
        return aborted_s, time.monotonic()
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, DEADLINE_S)


def test_an_abort_of_the_cameras_process_delays_no_reading_and_both_cameras_come_back(
    tmp_path: Path, enrolled: Path
) -> None:
    film = tmp_path / "film.mp4"
    write_file(Schedule("no_mask:60"), film, 30, fps=5, width=640, height=360)

    async def scenario(device: Path) -> WitnessedGateway:
        gateway = WitnessedGateway(config(enrolled, device, film))
        times = await crash_once(gateway)
        gaps_s = [b - a for a, b in itertools.pairwise(gateway.kept_s) if b >= times[0] and a <= times[1]]
        assert max(gaps_s) <= GAP_S_MAX, gaps_s
        assert len(gaps_s) >= 0.5 * (times[1] - times[0]) / (2 * POLL_S)
        return gateway

    with serial_line(tmp_path, NoisyLine({1: Slave(input_registers={0: lambda: 4})})) as (device, _):
        gateway = asyncio.run(scenario(device))
    assert camera_processes() == []
    told = [event for event in gateway.events if event.type == "camera_blind"]
    assert [(event.source_id, str(event.data["reason"])) for event in told] == [
        (name, f"camera process: its process ended with status {-signal.SIGABRT}") for name in ("one", "two")
    ]
    assert gateway.count("violation_opened") == 2, "what was open is not opened again"
