"""DS18B20 files as the kernel shows them: checksum, power-on value, a shorted bus, a read that hangs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config_ports import OneWireBus
from edge.config_sensors import OneWireSensor
from edge.drivers.onewire import OneWireDriver
from edge.drivers.scratchpad import ScratchpadError, crc8, decode_scratchpad
from firmware_sim.ds18b20 import POWER_ON, OneWireFolder, kernel_text, scratchpad
from telemetry.messages import Reading

DEADLINE_S = 30.0
A, B = "28-0316a2794fff", "28-0000075b7c1a"
# from Documentation/w1 style listings: 23.125 °C
LISTING = b"72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=23125\n"


def sensor(device: str, **options: Any) -> OneWireSensor:
    values = {"type": "onewire", "id": device, "name": "n", "device": device, "poll_interval_s": 0.05}
    return OneWireSensor.model_validate(values | options)


def read(folder: Path, sensors: list[OneWireSensor], until: Callable[[list[Reading]], bool]) -> list[Reading]:
    async def run() -> list[Reading]:
        found: list[Reading] = []
        bus = OneWireBus(folder=folder, timeout_s=0.5)
        async with asyncio.timeout(DEADLINE_S), OneWireDriver(bus, sensors, lambda: True) as driver:
            async for reading in driver.readings():
                found.append(reading)
                if until(found):
                    break
        return found

    return asyncio.run(run())


def test_the_data_sheets_values_are_read() -> None:
    """Table 1 of the data sheet, without the power-on value."""
    table = {"07d0": 125.0, "0191": 25.0625, "00a2": 10.125, "0008": 0.5, "0000": 0.0, "fff8": -0.5, "fc90": -55.0}
    for register, celsius in table.items():
        raw = bytes.fromhex(register)[::-1]
        body = raw + bytes.fromhex("4b467fff0c10")
        assert decode_scratchpad(kernel_text(body + bytes([crc8(body)]))) == celsius
    assert decode_scratchpad(LISTING) == 23.125
    assert crc8(bytes.fromhex("021cb80100 0000")) == 0xA2  # Maxim application note 27, the ROM of its example


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (kernel_text(POWER_ON), "power-on"),
        (kernel_text(bytes(9)), "shorted"),
        (kernel_text(scratchpad(3.5)[:8] + b"\x00"), "checksum"),
        (kernel_text(scratchpad(3.5)).replace(b"38 00", b"39 00"), "checksum"),
        (kernel_text(scratchpad(127)), "range"),
        (b"", "does not answer"),
        (b"\xff" * 5000, "does not answer"),
    ],
)
def test_what_is_no_measurement_is_refused_with_the_reason(text: bytes, reason: str) -> None:
    with pytest.raises(ScratchpadError, match=reason):
        decode_scratchpad(text)


@given(st.binary(max_size=200) | st.binary(min_size=9, max_size=9).map(kernel_text))
def test_any_text_is_a_temperature_in_range_or_refused(text: bytes) -> None:
    try:
        assert -55 <= decode_scratchpad(text) <= 125
    except ScratchpadError:
        return


def test_a_sensor_that_comes_goes_and_comes_back(tmp_path: Path) -> None:
    bus = OneWireFolder(tmp_path)
    bus.show(A, kernel_text(scratchpad(-18.5)))

    def until(found: list[Reading]) -> bool:
        if len(found) == 2:
            bus.remove(A)
        if found[-1].quality == "bad":
            bus.show(A, kernel_text(scratchpad(4.0)))
        return found[-1].value == 4.1

    found = read(tmp_path, [sensor(A, calibration_offset=0.1)], until)
    assert [reading.value for reading in found[:2]] == [-18.4, -18.4]
    assert "not on the bus" in str(next(reading.reason for reading in found if reading.quality == "bad"))


def test_a_read_that_hangs_does_not_stall_the_others(tmp_path: Path) -> None:
    bus = OneWireFolder(tmp_path)
    bus.show(B, kernel_text(scratchpad(2.0)))
    (tmp_path / A).mkdir()
    os.mkfifo(tmp_path / A / "w1_slave")  # opening it blocks until somebody writes
    found = read(tmp_path, [sensor(A), sensor(B)], lambda all_: len([r for r in all_ if r.value == 2.0]) >= 20)
    hung = [reading for reading in found if reading.sensor_id == A]
    assert {reading.reason for reading in hung} == {"no answer in 0.5 s"}
    took_s = (found[-1].observed_at - found[0].observed_at).total_seconds()
    assert took_s < 10, "one time-out, not twenty"
    with (tmp_path / A / "w1_slave").open("wb"):
        pass  # lets the thread go


def test_a_missing_bus_says_what_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="w1 driver"):
        read(tmp_path / "none", [sensor(A)], lambda _: True)
