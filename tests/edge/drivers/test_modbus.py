"""The Modbus driver against the simulator's independent slaves on a real pseudo-terminal."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edge.config import ModbusSensor, SerialPort
from edge.drivers.modbus import ModbusDriver
from firmware_sim.modbus_slave import Slave, crc16
from telemetry.messages import Reading
from tests.edge.serial_line import NoisyLine, serial_line

DEADLINE_S = 25


def words(format: str, value: float) -> list[int]:
    """The registers of a 32-bit value, high word first."""
    return list(struct.unpack(">2H", struct.pack(format, value)))


FLOAT, NEGATIVE, LARGE = words(">f", -18.25), words(">i", -123_456), words(">I", 4_000_000_000)
REGISTERS = [65535, 215, 32768, *FLOAT, *reversed(FLOAT), *NEGATIVE, *LARGE, *words(">f", float("nan"))]
BITS = [1, 0, 1]


def slave() -> Slave:
    registers = {address: (lambda value=value: value) for address, value in enumerate(REGISTERS)}
    bits = {address: (lambda value=value: value) for address, value in enumerate(BITS)}
    return Slave(
        coils=bits, discrete_inputs={9: lambda: 1}, holding_registers={7: lambda: 77}, input_registers=registers
    )


def sensor(name: str = "s", **values: Any) -> ModbusSensor:
    given = {"type": "modbus", "id": name, "name": name, "port": "p", "unit": 1, "register": 0, "poll_interval_s": 0.05}
    return ModbusSensor.model_validate(given | values)


async def collect(driver: ModbusDriver, enough: Callable[[list[Reading]], bool]) -> list[Reading]:
    found: list[Reading] = []
    async with asyncio.timeout(DEADLINE_S):
        async for reading in driver.readings():
            found.append(reading)
            if enough(found):
                return found
    raise AssertionError("readings() ended by itself")


def poll(
    device: Path, sensors: list[ModbusSensor], enough: Callable[[list[Reading]], bool], timeout_s: float = 0.3
) -> list[Reading]:
    async def scenario() -> list[Reading]:
        port = SerialPort(id="p", device=device, timeout_s=timeout_s)
        async with ModbusDriver(port, sensors, lambda: True) as driver:
            return await collect(driver, enough)

    return asyncio.run(scenario())


VALUES: list[tuple[dict[str, Any], float]] = [
    ({"register": 0}, -1.0),
    ({"register": 0, "data_type": "uint16"}, 65535.0),
    ({"register": 1, "scale": 0.1}, 21.5),
    ({"register": 1, "scale": 0.1, "calibration_offset": -0.3}, 21.2),
    ({"register": 2}, -32768.0),
    ({"register": 3, "data_type": "float32"}, -18.25),
    ({"register": 5, "data_type": "float32", "word_order": "little"}, -18.25),
    ({"register": 7, "data_type": "int32"}, -123_456.0),
    ({"register": 9, "data_type": "uint32"}, 4_000_000_000.0),
    ({"register": 7, "table": "holding"}, 77.0),
    ({"register": 0, "table": "coil"}, 1.0),
    ({"register": 1, "table": "coil"}, 0.0),
    ({"register": 9, "table": "discrete"}, 1.0),
]


def test_values_have_their_sign_word_order_and_scale(tmp_path: Path) -> None:
    sensors = [sensor(f"s{number}", **values, poll_interval_s=60) for number, (values, _) in enumerate(VALUES)]
    with serial_line(tmp_path, NoisyLine({1: slave()})) as (device, _):
        found = poll(device, sensors, lambda readings: len(readings) == len(sensors), timeout_s=5)
    assert {item.sensor_id: item.value for item in found} == {f"s{n}": value for n, (_, value) in enumerate(VALUES)}
    assert {item.quality for item in found} == {"good"}
    assert all(item.clock_synced for item in found)


def test_implausible_value_is_suspect_and_nan_is_bad(tmp_path: Path) -> None:
    sensors = [
        sensor("suspect", register=1, plausible={"min": 0, "max": 100}),
        sensor("edge", register=1, plausible={"min": 0, "max": 215}),
        sensor("nan", register=11, data_type="float32"),
    ]
    with serial_line(tmp_path, NoisyLine({1: slave()})) as (device, _):
        found = {item.sensor_id: item for item in poll(device, sensors, lambda readings: len(readings) == 3, 5)}
    assert (found["suspect"].quality, found["suspect"].value) == ("suspect", 215.0)
    assert found["edge"].quality == "good"
    assert (found["nan"].quality, found["nan"].value, found["nan"].reason) == ("bad", None, "not a finite number")


def test_exception_answer_is_a_bad_reading_without_back_off(tmp_path: Path) -> None:
    line = NoisyLine({1: slave()})
    with serial_line(tmp_path, line) as (device, _):
        found = poll(device, [sensor(register=500)], lambda readings: len(readings) == 5, 5)
    assert {(item.quality, item.value) for item in found} == {("bad", None)}
    assert "exception" in str(found[0].reason)
    assert len(line.requests) == 5


def test_dead_unit_is_asked_less_and_less_while_its_neighbour_keeps_its_rhythm(tmp_path: Path) -> None:
    line = NoisyLine({1: slave()})
    sensors = [sensor("dead", unit=2), sensor("dead-too", unit=2, register=1), sensor("alive", poll_interval_s=0.1)]

    def enough(readings: list[Reading]) -> bool:
        return sum(item.sensor_id == "alive" for item in readings) >= 30

    with serial_line(tmp_path, line) as (device, _):
        found = poll(device, sensors, enough, 0.2)
    alive = [item for item in found if item.sensor_id == "alive"]
    dead = [item for item in found if item.sensor_id == "dead"]
    assert {item.quality for item in alive} == {"good"}
    assert {(item.quality, item.reason) for item in dead} == {("bad", "no answer")}
    gaps_s = sorted((b.observed_at - a.observed_at).total_seconds() for a, b in pairwise(alive))
    assert gaps_s[len(gaps_s) // 2] < 0.2, "one in ten polls waits for the dead unit, not every one"
    tries = line.requests.count(2)
    assert 2 <= tries <= 5, "3 s hold tries after 0, 1 and 3 s, not 60"
    assert len(dead) == sum(item.sensor_id == "dead-too" for item in found), "every sensor of the unit is told"


def test_unit_that_comes_back_is_read_again_at_once_and_in_its_rhythm(tmp_path: Path) -> None:
    line = NoisyLine({1: slave()})
    line.spoil = {1: [b"", b""]}
    with serial_line(tmp_path, line) as (device, _):
        found = poll(device, [sensor()], lambda readings: len(readings) == 12, 0.2)
    assert [item.quality for item in found] == ["bad"] * 2 + ["good"] * 10
    took_s = (found[-1].observed_at - found[2].observed_at).total_seconds()
    assert took_s < 3, "ten polls of 0.05 s without any back-off"


def answer(unit: int, pdu: bytes) -> bytes:
    body = bytes([unit]) + pdu
    return body + crc16(body)


GOOD = answer(1, b"\x04\x02\xff\xff")


@pytest.mark.parametrize(
    "noise",
    [GOOD[:-1] + bytes([GOOD[-1] ^ 1]), GOOD[:4], b"\x00\xff\x55", answer(2, b"\x04\x02\x00\x07")],
    ids=["bad-crc", "torn", "noise", "other-unit"],
)
def test_spoilt_answer_gives_no_value_and_the_next_one_is_right(tmp_path: Path, noise: bytes) -> None:
    line = NoisyLine({1: slave()})
    line.spoil = {1: [noise]}
    with serial_line(tmp_path, line) as (device, _):
        found = poll(device, [sensor()], lambda readings: len(readings) == 3, 0.4)
    assert [(item.quality, item.value) for item in found] == [("bad", None), ("good", -1.0), ("good", -1.0)]


@pytest.mark.parametrize("pdu", [b"\x04\x04\x00\x01\x00\x02", b"\x04\x00"], ids=["too-many", "none"])
def test_answer_with_the_wrong_number_of_registers_is_bad(tmp_path: Path, pdu: bytes) -> None:
    line = NoisyLine({1: slave()})
    line.spoil = {1: [answer(1, pdu)]}
    with serial_line(tmp_path, line) as (device, _):
        found = poll(device, [sensor()], lambda readings: len(readings) == 2, 0.4)
    assert [(item.quality, item.value) for item in found] == [("bad", None), ("good", -1.0)]


def test_lost_line_raises_oserror(tmp_path: Path) -> None:
    async def scenario() -> None:
        with serial_line(tmp_path, NoisyLine({1: slave()})) as (device, unplug):
            async with ModbusDriver(
                SerialPort(id="p", device=device, timeout_s=0.3), [sensor()], lambda: True
            ) as driver:
                await collect(driver, lambda readings: len(readings) == 2)
                unplug.set()
                with pytest.raises(OSError, match="was lost"):
                    await collect(driver, lambda readings: False)

    asyncio.run(scenario())


def test_missing_and_unusable_devices_raise_oserror_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def scenario() -> None:
        for name, problem in (("gone", "check the cable"), ("file", "cannot be opened")):
            with pytest.raises(OSError, match=problem):
                await ModbusDriver(SerialPort(id="p", device=tmp_path / name), [sensor()], lambda: True).__aenter__()

    asyncio.run(scenario())


def test_cancellation_ends_a_wait_for_an_answer_at_once(tmp_path: Path) -> None:
    async def scenario(device: Path, asked: Callable[[], Awaitable[None]]) -> None:
        port = SerialPort(id="p", device=device, timeout_s=10)
        async with ModbusDriver(port, [sensor(unit=2)], lambda: True) as driver:
            task = asyncio.create_task(collect(driver, lambda readings: True))
            await asyncio.wait_for(asked(), DEADLINE_S)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 5)

    line = NoisyLine({1: slave()})

    async def asked() -> None:
        while not line.requests:
            await asyncio.sleep(0.01)

    with serial_line(tmp_path, line) as (device, _):
        asyncio.run(scenario(device, asked))
