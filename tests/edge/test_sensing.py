"""One service for each port: confirmed after the commit only, a lost port told for all its sensors and logged once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType

import pytest

from edge import sensing
from edge.config_ports import OneWireBus
from edge.config_sensors import OneWireSensor
from edge.drivers.port import Delivery, Driver
from edge.sensing import SensingService, Source
from edge.supervisor import supervise
from telemetry.messages import Reading
from telemetry.outbox import OutboxError, OutboxFull

SENSORS = tuple(
    OneWireSensor.model_validate({"type": "onewire", "id": name, "name": name, "device": "28-0316a2794fff"})
    for name in ("a", "b")
)


def reading(value: float) -> Reading:
    return Reading(sensor_id="a", quantity="t", value=value, unit="°C", observed_at=datetime.now(UTC))


class ScriptedDriver(Driver):
    """Gives the deliveries of `script`, then loses its port."""

    script: Sequence[Delivery] = ()
    entered = 0

    def __init__(
        self, port: object, sensors: object, clock_synced: object, saved: Mapping[str, str], counts: object
    ) -> None:
        self.saved = saved

    async def __aenter__(self) -> Driver:
        type(self).entered += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    async def deliveries(self) -> AsyncIterator[Delivery]:
        for delivery in self.script:
            yield delivery
        raise OSError("the cable is out")


def service(monkeypatch: pytest.MonkeyPatch, script: Sequence[Delivery], record: sensing.Record) -> SensingService:
    monkeypatch.setitem(sensing.DRIVERS, "onewire", f"{__name__}:ScriptedDriver")
    monkeypatch.setattr(
        sensing, "import_module", lambda _: __import__("types").SimpleNamespace(ScriptedDriver=ScriptedDriver)
    )
    ScriptedDriver.script, ScriptedDriver.entered = script, 0
    return SensingService(Source("onewire", OneWireBus(), SENSORS), lambda: True, record, dict)


def test_a_delivery_is_confirmed_after_it_was_recorded_with_its_state(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    async def record(readings: Sequence[Reading], state: Mapping[str, str | None]) -> None:
        order.append(f"{[item.value for item in readings]} {dict(state)}")

    script = [Delivery([reading(1.0)], state={"k": "1"}, confirm=lambda: order.append("confirmed"))]
    with pytest.raises(OSError, match="cable"):
        asyncio.run(service(monkeypatch, script, record).run())
    assert order == ["[1.0] {'k': '1'}", "confirmed", "[None, None] {}"]


def test_a_delivery_whose_commit_fails_is_never_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    confirmed: list[bool] = []

    async def record(readings: Sequence[Reading], state: Mapping[str, str | None]) -> None:
        raise OutboxError("the disk is full")

    script = [Delivery([reading(1.0)], confirm=lambda: confirmed.append(True))]
    with pytest.raises(OutboxError):
        asyncio.run(service(monkeypatch, script, record).run())
    assert not confirmed


@pytest.mark.parametrize("can_repeat", [True, False])
def test_with_the_disk_full_a_device_that_can_repeat_is_not_confirmed_and_others_go_on(
    monkeypatch: pytest.MonkeyPatch, can_repeat: bool
) -> None:
    told: list[object] = []

    async def record(readings: Sequence[Reading], state: Mapping[str, str | None]) -> None:
        told.append(dict(state))
        if any(item.value is not None for item in readings):
            raise OutboxFull(len(readings))

    refuse = (lambda: {"k": "0"}) if can_repeat else None
    script = [Delivery([reading(1.0)], state={"k": "1"}, confirm=lambda: told.append("confirmed"), refuse=refuse)]
    with pytest.raises(OutboxFull if can_repeat else OSError):
        asyncio.run(service(monkeypatch, script, record).run())
    assert told == ([{"k": "1"}, {"k": "0"}] if can_repeat else [{"k": "1"}, "confirmed", {}])


def test_a_lost_port_is_a_bad_reading_of_each_sensor_for_each_try_and_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found: list[Reading] = []
    enough = asyncio.Event()

    async def record(readings: Sequence[Reading], state: Mapping[str, str | None]) -> None:
        found.extend(readings)
        if len(found) >= 8:
            enough.set()

    async def run() -> None:
        task = asyncio.create_task(supervise(lost.source.name, lost.run, backoff_s_first=0.01))
        async with asyncio.timeout(20):
            await enough.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    lost = service(monkeypatch, [], record)
    asyncio.run(run())
    assert [item.sensor_id for item in found[:4]] == ["a", "b", "a", "b"]
    assert {(item.quality, item.reason) for item in found} == {("bad", "the cable is out")}
    assert ScriptedDriver.entered >= 4
    assert lost.counts.reconnects >= 3
    assert lost.counts.readings["bad"] >= len(found)
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert errors == ["onewire port onewire failed and is being restarted: OSError: the cable is out"]
