"""The box as a whole in one process: judging follows the disk, restarts keep every timer, each stop has a bound."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.clock import boot_id
from edge.config import EdgeConfig
from edge.gateway import Gateway, _end
from firmware_sim.modbus_slave import Slave
from telemetry.batch import Batch, open_batch
from telemetry.messages import LANES, Event, Lane, Reading
from telemetry.outbox import Outbox, OutboxError
from telemetry.signing import Signer
from tests.edge.serial_line import NoisyLine, serial_line

START = datetime(2026, 1, 2, tzinfo=UTC)
DEADLINE_S = 25


def config(folder: Path, device: Path = Path("/dev/ttyUSB9"), delay_s: float = 0) -> EdgeConfig:
    sensor = {
        "type": "modbus",
        "id": "air",
        "name": "空气",
        "port": "p",
        "unit": 1,
        "register": 0,
        "poll_interval_s": 0.1,
    }
    return EdgeConfig.model_validate(
        {
            "box": {"name": "b", "data_dir": folder},
            "server": {"url": "http://127.0.0.1:9"},
            "serial_ports": [{"id": "p", "device": device}],
            "sensors": [sensor],
            "limits": [{"sensor": "air", "high_c": 8, "delay_s": delay_s}],
        }
    )


def reading(at_s: float, value: float | None) -> Reading:
    at = START + timedelta(seconds=at_s)
    quality = "good" if value is not None else "bad"
    return Reading.model_validate(
        {"sensor_id": "air", "quantity": "t", "value": value, "unit": "°C", "observed_at": at, "quality": quality}
    )


@dataclass
class ScriptedRecorder:
    """Fails while *failing*; keeps the rest."""

    failing: bool = False
    events: list[Event] = field(default_factory=list)
    state: dict[str, str | None] = field(default_factory=dict)

    async def record(
        self, readings: Sequence[Reading], events: Sequence[Event], state: Mapping[str, str | None]
    ) -> None:
        if self.failing:
            raise OutboxError("disk full")
        self.events += events
        self.state |= state


def test_only_changed_states_are_saved_and_a_restart_goes_on_from_them(enrolled: Path) -> None:
    async def life(at_s: float, value: float | None) -> ScriptedRecorder:
        """A box that starts, takes one reading and ends."""
        gateway = Gateway(config(enrolled, delay_s=60))
        gateway._recorder.close()
        gateway._recorder = recorder = ScriptedRecorder()  # type: ignore[assignment]
        await gateway._record_readings([reading(at_s, value)], {})
        gateway._outbox.commit([], [], recorder.state)
        gateway._outbox.close()
        return recorder

    opened = []
    for at_s, value in ((0, 5.0), (10, 9.0), (20, 9.0), (70, 9.0), (80, None)):
        recorder = asyncio.run(life(at_s, value))
        opened += [(at_s, event.type) for event in recorder.events]
        assert set(recorder.state) == {0: set(), 20: set(), 80: {"health/air"}}.get(at_s, {"rule/air/0"})
    assert opened == [(70, "excursion_opened")]


def test_alarm_whose_commit_failed_is_raised_again_with_the_next_reading(enrolled: Path) -> None:
    async def scenario() -> ScriptedRecorder:
        gateway = Gateway(config(enrolled))
        recorder = ScriptedRecorder(failing=True)
        gateway._recorder.close()
        gateway._recorder = recorder  # type: ignore[assignment]
        with pytest.raises(OutboxError):
            await gateway._record_readings([reading(0, 9.0)], {})
        recorder.failing = False
        await gateway._record_readings([reading(10, 9.5)], {})
        gateway._outbox.close()
        return recorder

    recorder = asyncio.run(scenario())
    assert [(event.type, event.data["value_c"]) for event in recorder.events] == [("excursion_opened", 9.5)]
    assert json.loads(str(recorder.state["rule/air/0"]))["incident_id"] == recorder.events[0].incident_id


def opened_batches(outbox: Outbox, lane: Lane, signer: Signer) -> list[Batch]:
    waiting = outbox.pending(lane, records_max=10_000, bytes_max=10**8)
    return [open_batch(batch.raw, lambda _: signer.public_key) for batch in waiting]


def test_readings_from_the_line_and_their_excursion_are_in_the_outbox_after_the_stop(
    tmp_path: Path, enrolled: Path
) -> None:
    async def scenario(device: Path) -> None:
        gateway = Gateway(config(enrolled, device))
        ready = asyncio.Event()
        task = asyncio.create_task(gateway.run(ready.set))
        await asyncio.wait_for(ready.wait(), DEADLINE_S)
        async with asyncio.timeout(DEADLINE_S):
            while gateway._outbox.status().lanes["readings"].records < 5:
                await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, DEADLINE_S)

    warm = Slave(input_registers={0: lambda: 9})
    for _ in range(2):  # the second run finds the excursion open and does not open it again
        with serial_line(tmp_path, NoisyLine({1: warm})) as (device, _):
            asyncio.run(scenario(device))
    signer = Signer.load(enrolled / "box.key")
    with Outbox.open(enrolled / "outbox.sqlite", "box-1", signer, boot_id=boot_id()) as outbox:
        found = {
            lane: [record for b in opened_batches(outbox, lane, signer) for _, record in b.records] for lane in LANES
        }
    assert len(found["readings"]) >= 5
    assert {item.value for item in found["readings"] if isinstance(item, Reading)} == {9.0}
    assert [item.type for item in found["events"] if isinstance(item, Event)] == ["box_status", "excursion_opened"]


def test_task_that_swallows_its_cancellation_is_told_twice_and_then_left_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    orders = {"deaf": 0, "hard of hearing": 0}

    async def service(name: str, ignored: int) -> None:
        while orders[name] <= ignored:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                orders[name] += 1

    async def scenario() -> float:
        tasks = [
            asyncio.create_task(service("deaf", 10), name="deaf"),
            asyncio.create_task(service("hard of hearing", 1), name="hard of hearing"),
        ]
        await asyncio.sleep(0)
        start_s = time.monotonic()
        await _end(tasks, 1.5)
        took_s = time.monotonic() - start_s
        assert [task.done() for task in tasks] == [False, True]
        while not tasks[0].done():
            tasks[0].cancel()
            await asyncio.sleep(0)
        return took_s

    caplog.set_level(logging.ERROR)
    with suppress(asyncio.CancelledError):
        assert asyncio.run(scenario()) < 5
    assert [record.getMessage() for record in caplog.records] == ["deaf did not stop in 2 s and is left behind"]
