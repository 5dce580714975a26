"""The Modbus driver on a real pseudo-terminal and a real socket, against simulated units."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest

from edge.config_ports import ModbusTcpPort, SerialPort
from edge.config_sensors import ModbusSensor
from edge.drivers.modbus import ModbusDriver
from edge.drivers.port import Delivery
from firmware_sim.modbus_slave import Line, Slave, crc16
from firmware_sim.modbus_tcp import TcpServer
from telemetry.messages import Reading
from tests.edge.drivers.serial_device import SerialDevice, serial_device

DEADLINE_S = 30.0


def sensor(name: str, **options: Any) -> ModbusSensor:
    values = {"type": "modbus", "id": name, "name": name, "port": "p", "unit": 1, "register": 0, "poll_interval_s": 0.1}
    return ModbusSensor.model_validate(values | options)


def line_port(device: SerialDevice, **options: Any) -> SerialPort:
    return SerialPort.model_validate({"id": "p", "device": device.path, "timeout_s": 0.3} | options)


async def collect(driver: ModbusDriver, until: Callable[[list[Delivery]], bool]) -> list[Delivery]:
    found: list[Delivery] = []
    async with asyncio.timeout(DEADLINE_S), driver:
        async for delivery in driver.deliveries():
            found.append(delivery)
            if until(found):
                return found
    raise AssertionError("unreachable")


def readings_of(found: list[Delivery], name: str) -> list[Reading]:
    return [reading for delivery in found for reading in delivery.readings if reading.sensor_id == name]


def gather(driver: ModbusDriver, until: Callable[[list[Delivery]], bool]) -> list[Delivery]:
    return asyncio.run(collect(driver, until))


UNIT = Slave(
    coils={3: lambda: 1},
    discrete_inputs={0: lambda: 0, 9: lambda: 1},
    holding_registers={0: lambda: 0x2064, 1: lambda: 0x47F1, 7: lambda: 0b1010_0000},
    input_registers={0: lambda: -36 & 0xFFFF, 1: lambda: 1, 2: lambda: 250},
)


def test_all_four_tables_are_read_and_neighbours_share_a_request() -> None:
    line = Line({1: UNIT})
    requests: list[bytes] = []

    def answer(data: bytes) -> list[tuple[float, bytes]]:
        requests.append(data)
        return [(0.0, line.feed(data))]

    sensors = [
        sensor("air", scale=0.1, calibration_offset=-0.25, plausible={"min": -45, "max": 60}),
        sensor("core", register=2, scale=0.1, plausible={"min": -45, "max": 20}),
        sensor("door", register=9, table="discrete", quantity="door", unit_of_measure=""),
        sensor("mains", register=3, table="coil", quantity="power", unit_of_measure=""),
        sensor("big", table="holding", data_type="float32", word_order="little"),
        sensor("flag", table="holding", register=7, data_type="uint16", bits={"first_bit": 5, "bit_count": 3}),
    ]
    with serial_device(answer) as device:
        found = gather(
            ModbusDriver(line_port(device, gap_registers_max=0), sensors, lambda: True),
            lambda all_: len({reading.sensor_id for item in all_ for reading in item.readings}) == 6,
        )
    first = {reading.sensor_id: reading for item in reversed(found) for reading in item.readings}
    assert (first["air"].value, first["air"].quality) == (-3.85, "good")
    assert (first["core"].value, first["core"].quality, first["core"].reason) == (
        25.0,
        "suspect",
        "outside plausible range",
    )
    assert [first[name].value for name in ("door", "mains", "flag")] == [1.0, 1.0, 5.0]
    assert first["big"].value == pytest.approx(123456.78, rel=1e-6)
    assert {data[1] for data in requests} == {1, 2, 3, 4}
    assert all(delivery.latency_s is not None and delivery.latency_s < 0.3 for delivery in found)


def test_a_unit_that_refuses_a_gap_is_read_register_by_register() -> None:
    line = Line({1: Slave(input_registers={0: lambda: 1, 4: lambda: 5})})
    with serial_device(lambda data: [(0.0, line.feed(data))]) as device:
        found = gather(
            ModbusDriver(line_port(device), [sensor("a"), sensor("b", register=4)], lambda: True),
            lambda all_: len({reading.sensor_id for item in all_ for reading in item.readings}) == 2,
        )
    assert {reading.sensor_id: reading.value for item in found for reading in item.readings} == {"a": 1.0, "b": 5.0}
    assert all(reading.quality == "good" for item in found for reading in item.readings)


def test_a_dead_unit_among_sixteen_costs_its_neighbours_nothing_but_single_time_outs() -> None:
    line = Line({unit: Slave(input_registers={0: lambda: 7}) for unit in range(1, 16)})
    sensors = [sensor(f"s{unit}", unit=unit, poll_interval_s=0.5) for unit in range(1, 17)]
    started_s = monotonic()
    with serial_device(lambda data: [(0.0, line.feed(data))]) as device:
        found = gather(
            ModbusDriver(line_port(device), sensors, lambda: True), lambda all_: len(readings_of(all_, "s1")) == 12
        )
    elapsed_s = monotonic() - started_s
    dead = readings_of(found, "s16")
    assert 2 <= len(dead) <= 4  # at 0 s, 1.3 s and 3.6 s, then ever rarer
    assert all((reading.quality, reading.value, reading.reason) == ("bad", None, "no answer") for reading in dead)
    for unit in range(1, 16):
        assert len(readings_of(found, f"s{unit}")) >= 11
        assert {reading.quality for reading in readings_of(found, f"s{unit}")} == {"good"}
    assert elapsed_s < 5.5 + len(dead) * 0.3 + 4


@pytest.mark.parametrize("seed", [0])
def test_an_answer_after_its_time_out_is_never_taken_for_another_request(seed: int) -> None:
    """Registers hold their own address; a quarter of the answers comes after its time-out, some after the back-off."""
    line = Line({1: Slave(input_registers={address: (lambda a=address: a) for address in range(0, 400)})})
    late = random.Random(seed)

    def answer(data: bytes) -> list[tuple[float, bytes]]:
        return [(late.choice([0.0] * 9 + [0.12, 1.14, 1.17]), line.feed(data))]

    sensors = [sensor(f"s{address}", register=address, poll_interval_s=0.05) for address in (0, 100, 200, 300)]
    with serial_device(answer) as device:
        found = gather(
            ModbusDriver(line_port(device, timeout_s=0.1), sensors, lambda: True),
            lambda all_: len([1 for item in all_ for reading in item.readings if reading.value is not None]) >= 20,
        )
    values = [reading for item in found for reading in item.readings if reading.value is not None]
    assert all(reading.sensor_id == f"s{reading.value:.0f}" for reading in values)


def test_stale_values_are_not_taken_for_new_ones_when_an_answer_comes_late() -> None:
    """The register counts requests; the second answer comes long after its time-out, while the unit is left alone."""
    count = 0

    def value() -> int:
        nonlocal count
        count += 1
        return count

    line = Line({1: Slave(input_registers={0: value})})
    asked = 0
    device: SerialDevice

    def answer(data: bytes) -> list[tuple[float, bytes]]:
        nonlocal asked
        asked += 1
        # time-out and back-off are 1.3 s: it arrives while the next request waits for its answer
        return [(1.45 if asked == 2 else 0.0, line.feed(data))]

    with serial_device(answer) as device:
        found = gather(
            ModbusDriver(line_port(device, timeout_s=0.3), [sensor("s")], lambda: True),
            lambda all_: len([1 for item in all_ for reading in item.readings if reading.value is not None]) >= 4,
        )
    values = [reading.value for reading in readings_of(found, "s") if reading.value is not None]
    assert 2.0 not in values  # the late one
    assert values == sorted(values)
    assert {reading.reason for reading in readings_of(found, "s") if reading.value is None} <= {
        "no answer",
        "no answer in step with the requests",
        "an answer to another request came and was rejected",
    }


@pytest.mark.parametrize(
    "damage",
    [
        lambda frame: frame[:-1] + bytes([frame[-1] ^ 1]),
        lambda frame: frame[:-2],
        lambda frame: b"\xff\x00\xfe" * 5,
        lambda frame: bytes([2]) + frame[1:],
        lambda frame: (body := bytes([1, 4, 3, 0, 1, 2])) + crc16(body),
        lambda frame: (body := bytes([1, 3, 2, 0, 1])) + crc16(body),
        lambda frame: (body := bytes([1, 0x2B, 2, 0, 1])) + crc16(body),
    ],
    ids=["crc", "short", "noise", "other unit", "odd length", "other function", "unknown function"],
)
def test_a_damaged_frame_gives_a_bad_reading_and_the_next_good_one_is_taken(damage: Callable[[bytes], bytes]) -> None:
    line = Line({1: Slave(input_registers={0: lambda: 77, 1: lambda: 78})})
    frames = 0

    def answer(data: bytes) -> list[tuple[float, bytes]]:
        nonlocal frames
        frames += 1
        good = line.feed(data)
        return [(0.0, damage(good) if frames == 1 else good)]

    with serial_device(answer) as device:
        found = gather(
            ModbusDriver(line_port(device, timeout_s=0.2), [sensor("s")], lambda: True), lambda all_: len(all_) >= 2
        )
    assert [reading.value for reading in readings_of(found, "s")] == [None, 77.0]


def test_an_exception_answer_is_told_and_costs_no_back_off() -> None:
    line = Line({1: Slave()})
    with serial_device(lambda data: [(0.0, line.feed(data))]) as device:
        started_s = monotonic()
        found = gather(ModbusDriver(line_port(device), [sensor("s")], lambda: True), lambda all_: len(all_) >= 3)
    assert {reading.reason for reading in readings_of(found, "s")} == {"the unit answered with exception 2"}
    assert monotonic() - started_s < 5


def test_a_line_that_goes_away_raises_and_a_missing_one_says_which() -> None:
    line = Line({1: Slave(input_registers={0: lambda: 1})})
    with serial_device(lambda data: [(0.0, line.feed(data))]) as device:
        driver = ModbusDriver(line_port(device), [sensor("s")], lambda: True)

        def unplug(found: list[Delivery]) -> bool:
            if len(found) == 1:
                device.unplug()
            return False

        with pytest.raises(OSError, match="was lost"):
            gather(driver, unplug)
        with pytest.raises(OSError, match=r"is not there|cannot be opened"):
            gather(driver, lambda _: True)


def test_tcp_units_are_read_and_only_read_functions_are_ever_sent() -> None:
    with TcpServer({1: UNIT, 2: UNIT}) as server:
        port = ModbusTcpPort(id="p", host="127.0.0.1", port=server.port, timeout_s=1.0)
        sensors = [sensor("a"), sensor("b", unit=2, register=2), sensor("c", unit=9)]
        found = gather(
            ModbusDriver(port, sensors, lambda: False),
            lambda all_: min(len(readings_of(all_, name)) for name in "abc") >= 3,
        )
    assert readings_of(found, "a")[0].value == -36.0
    assert readings_of(found, "b")[0].value == 250.0
    assert readings_of(found, "c")[0].reason == "the unit answered with exception 11"
    assert not readings_of(found, "a")[0].clock_synced
    assert set(server.functions) == {4}


def test_a_tcp_server_that_hangs_or_hangs_up_is_told_as_lost() -> None:
    with TcpServer({1: UNIT}) as server:
        port = ModbusTcpPort(id="p", host="127.0.0.1", port=server.port, timeout_s=0.2)
        driver = ModbusDriver(port, [sensor("a"), sensor("b", unit=2)], lambda: True)
        server.mute.set()
        with pytest.raises(OSError, match="answers none"):
            gather(driver, lambda _: False)
        server.mute.clear()

        def cut(found: list[Delivery]) -> bool:
            server.cut()
            return False

        with pytest.raises(OSError, match="was lost"):
            gather(driver, cut)
        assert gather(driver, lambda all_: bool(readings_of(all_, "a")))[-1].readings[0].value == -36.0
