"""What every sensor driver promises, asked of each of them with its simulated device or the real broker."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic

import pytest

from edge.drivers.port import Driver
from edge.sensing import DRIVERS, SensingService
from edge.supervisor import supervise
from telemetry.messages import Reading
from tests.contract.driver_rigs import RIGS, Rig, rig

DEADLINE_S = 30.0


@pytest.fixture(params=RIGS)
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with rig(request.param, tmp_path) as found:
        yield found


@contextlib.asynccontextmanager
async def ticking(device: Rig):
    async def tick() -> None:
        while True:
            await asyncio.to_thread(device.tick)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(tick())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def read_until(driver: Driver, until: Callable[[Reading], bool]) -> list[Reading]:
    found: list[Reading] = []
    async with contextlib.aclosing(driver.deliveries()) as deliveries:
        async for delivery in deliveries:
            found += delivery.readings
            delivery.confirm()
            if any(until(reading) for reading in delivery.readings):
                return found
    raise AssertionError("deliveries() ended by itself")


def test_every_driver_of_the_table_has_a_rig() -> None:
    assert {name.split()[0] for name in RIGS} == set(DRIVERS)


def test_values_are_calibrated_and_follow_the_device(device: Rig) -> None:
    async def run() -> None:
        async with asyncio.timeout(DEADLINE_S), ticking(device), device.make() as driver:
            for value in (3.5, -18.5, 40.0):
                device.value = value
                found = await read_until(driver, lambda reading, value=value: reading.value == value + 0.5)
                assert found[-1].quality == "good"
                assert found[-1].reason is None
                assert found[-1].sensor_id == "s"

    asyncio.run(run())


def test_an_implausible_value_is_suspect_with_the_reason_and_not_dropped(device: Rig) -> None:
    async def run() -> None:
        device.value = 80.0
        async with asyncio.timeout(DEADLINE_S), ticking(device), device.make() as driver:
            found = await read_until(driver, lambda reading: reading.value == 80.5)
            assert (found[-1].quality, found[-1].reason) == ("suspect", "outside plausible range")

    asyncio.run(run())


def test_damaged_messages_give_no_value_and_the_next_whole_one_is_taken(device: Rig) -> None:
    async def run() -> None:
        async with asyncio.timeout(DEADLINE_S), ticking(device), device.make() as driver:
            await read_until(driver, lambda reading: reading.value == 4.0)
            assert getattr(device.counts, device.damage) == 0
            device.damaged = True
            found = await read_until(driver, lambda reading: reading.quality == "bad")
            assert {reading.value for reading in found} <= {4.0, None}
            assert found[-1].reason
            assert getattr(device.counts, device.damage) > 0
            device.damaged, device.value = False, 7.5
            found = await read_until(driver, lambda reading: reading.value == 8.0)
            assert {reading.value for reading in found} <= {4.0, None, 8.0}

    asyncio.run(run())


def test_a_lost_device_is_told_and_read_again_when_it_is_back(device: Rig) -> None:
    async def run() -> None:
        async with asyncio.timeout(2 * DEADLINE_S), ticking(device):
            async with device.make() as driver:
                await read_until(driver, lambda reading: reading.value == 4.0)
                await asyncio.to_thread(device.lose)
                with contextlib.suppress(OSError):
                    found = await read_until(driver, lambda reading: reading.quality == "bad")
                    assert found[-1].reason
            await asyncio.to_thread(device.restore)
            device.value = -1.0
            while True:
                try:
                    async with device.make() as driver:
                        await read_until(driver, lambda reading: reading.value == -0.5)
                        return
                except OSError:
                    await asyncio.sleep(0.1)

    asyncio.run(run())


def test_a_device_that_is_not_there_is_told_when_it_is_entered_or_read(device: Rig) -> None:
    async def run() -> str:
        async with asyncio.timeout(DEADLINE_S):
            try:
                async with device.make() as driver:
                    found = await read_until(driver, lambda reading: reading.quality == "bad")
                    return str(found[-1].reason)
            except OSError as error:
                return str(error)

    device.lose()
    assert len(asyncio.run(run())) > 5


def test_a_loss_is_logged_once_however_long_it_lasts(device: Rig, caplog: pytest.LogCaptureFixture) -> None:
    found: list[Reading] = []

    async def record(readings: Sequence[Reading], state: Mapping[str, str | None]) -> None:
        found.extend(readings)

    async def wait_for(quality: str, count: int) -> None:
        start = len(found)
        while len([reading for reading in found[start:] if reading.quality == quality]) < count:
            await asyncio.sleep(0.02)

    async def run() -> None:
        async with asyncio.timeout(2 * DEADLINE_S), ticking(device):
            task = asyncio.create_task(supervise(service.source.name, service.run, backoff_s_first=0.05))
            await wait_for("good", 1)
            await asyncio.to_thread(device.lose)
            await wait_for("bad", 3)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    service = SensingService(device.source(), lambda: True, record, dict)
    asyncio.run(run())
    told = [record.getMessage() for record in caplog.records if record.name.startswith("edge") and record.levelno >= 30]
    assert len(told) <= 1, told
    for quality in ("good", "bad"):
        assert service.counts.readings[quality] >= len([item for item in found if item.quality == quality]) > 0


def test_leaving_is_quick_and_leaves_nothing_behind(device: Rig) -> None:
    async def run() -> float:
        async with asyncio.timeout(DEADLINE_S), device.make() as driver:
            task = asyncio.create_task(read_until(driver, lambda _: False))
            await asyncio.sleep(0.3)
            started_s = monotonic()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return monotonic() - started_s

    before = threading.active_count()
    assert asyncio.run(run()) < 5
    gc.collect()  # an unclosed file or socket would be a ResourceWarning, which is an error here
    deadline_s = monotonic() + 5
    while threading.active_count() > before and monotonic() < deadline_s:
        threading.Event().wait(0.05)
    assert threading.active_count() <= before
