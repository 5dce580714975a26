"""Talking devices on a real pseudo-terminal: text, CSV, JSON, checksums, silence, a line that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from edge.config_ports import SerialPort
from edge.config_sensors import SerialLineSensor
from edge.drivers.serial_line import SerialLineDriver, make_extractor
from firmware_sim import line_device
from telemetry.messages import Reading
from tests.edge.drivers.serial_device import SerialDevice, serial_device

DEADLINE_S = 30.0


def sensor(name: str, field: str, **options: Any) -> SerialLineSensor:
    values = {"type": "serial_line", "id": name, "name": name, "port": "p", "field": field}
    return SerialLineSensor.model_validate(values | options)


def read(
    device: SerialDevice, sensors: list[SerialLineSensor], line: dict[str, Any], stream: bytes,
    until: Callable[[list[Reading]], bool],
) -> list[Reading]:  # fmt: skip
    async def run() -> list[Reading]:
        port = SerialPort.model_validate({"id": "p", "device": device.path, "line": line})
        found: list[Reading] = []
        async with asyncio.timeout(DEADLINE_S), SerialLineDriver(port, sensors, lambda: True) as driver:
            device.say(stream)
            async for reading in driver.readings():
                found.append(reading)
                if until(found):
                    break
        return found

    return asyncio.run(run())


def test_text_lines_give_the_number_of_the_pattern() -> None:
    with serial_device(lambda _: []) as device:
        stream = b"garbage\xff\xfe" + line_device.text_line(3.0) + b"boot v1.2\r\n" + line_device.text_line(-18.25)
        item = sensor("t", r"T=([-+]\d+\.\d+)", calibration_offset=0.5, plausible={"min": -20, "max": 3})
        found = read(device, [item], {}, stream, lambda all_: len(all_) == 2)
    assert [(reading.value, reading.quality) for reading in found] == [(3.5, "suspect"), (-17.75, "good")]


def test_csv_lines_are_told_apart_by_their_first_column() -> None:
    sensors = [
        sensor("a", "1", key="P1"),
        sensor("b", "1", key="P2"),
        sensor("h", "2", key="P2", quantity="humidity", unit_of_measure="%"),
    ]
    with serial_device(lambda _: []) as device:
        stream = line_device.csv_line("P1", 3.25, 60) + line_device.csv_line("P2", -18.5, 71.5) + b"P2,--\r\nP9,1,2\r\n"
        found = read(device, sensors, {"content": "csv"}, stream, lambda all_: len(all_) == 5)
    assert [(reading.sensor_id, reading.value) for reading in found] == [
        ("a", 3.25),
        ("b", -18.5),
        ("h", 71.5),
        ("b", None),
        ("h", None),
    ]
    assert [reading.reason for reading in found[3:]] == ["the field holds no number", "the line has only 2 columns"]


def test_json_lines_and_words_for_states() -> None:
    sensors = [sensor("t", "probe.t"), sensor("door", "door", quantity="door", unit_of_measure="", values={"open": 7})]
    with serial_device(lambda _: []) as device:
        stream = b'{"half":\n' + line_device.json_line(4.5)
        found = read(device, sensors, {"content": "json"}, stream, lambda all_: len(all_) == 4)
    assert [(reading.sensor_id, reading.value) for reading in found] == [
        ("t", None),
        ("door", None),
        ("t", 4.5),
        ("door", 7.0),
    ]


def test_a_wrong_checksum_gives_no_value_and_the_next_frame_is_taken() -> None:
    line = {"framing": "stx_etx", "checksum": "crc16", "checksum_encoding": "raw", "content": "csv"}
    good = line_device.stx_frame(b"P1,3.5", "crc16")
    broken = good.replace(b"3.5", b"9.5")
    with serial_device(lambda _: []) as device:
        found = read(device, [sensor("t", "1")], line, broken * 50 + good, lambda all_: all_[-1].value is not None)
    assert [(reading.value, reading.reason) for reading in found] == [
        (None, "a damaged frame came: wrong checksum"),
        (3.5, None),
    ]


def test_silence_is_told_and_a_line_that_goes_away_raises() -> None:
    with serial_device(lambda _: []) as device:
        found = read(device, [sensor("t", "(.)", silence_s=0.2)], {}, b"", lambda all_: len(all_) == 2)
        assert {reading.reason for reading in found} == {"nothing came for 0.2 s"}

        def unplug(found: list[Reading]) -> bool:
            device.unplug()
            return False

        with pytest.raises(OSError, match="was lost"):
            read(device, [sensor("t", "(.)")], {}, b"1\n", unplug)
        with pytest.raises(OSError, match=r"is not there|could not open"):
            read(device, [sensor("t", "(.)")], {}, b"", lambda _: True)


def test_a_pattern_whose_group_is_empty_is_no_number() -> None:
    from edge.drivers.decoders.payload import PayloadError

    extract = make_extractor(sensor("t", "T=(x)?"), "text", ",")
    with pytest.raises(PayloadError):
        extract(b"T=")
