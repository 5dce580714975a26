"""Everything that reads bytes from outside, each as a function of the bytes: it returns, or a promise is broken.

The same functions are driven by hypothesis, by atheris and by the largest inputs that the limits let in. What a decoder
may raise is caught here; anything else is a finding.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter
from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU

from edge.config_ports import LineFormat, SerialPort
from edge.config_sensors import AnySensor, ModbusSensor, MqttSensor, SerialLineSensor
from edge.drivers.decoders.payload import PayloadError
from edge.drivers.framing import FrameReader
from edge.drivers.modbus import _drop_undecodable
from edge.drivers.modbus_registers import Shape, decode_registers, plan_blocks
from edge.drivers.mqtt_inbox import Message
from edge.drivers.mqtt_router import MqttRouter
from edge.drivers.port_counts import PortCounts
from edge.drivers.scratchpad import MAX_C, MIN_C, ScratchpadError, decode_scratchpad
from edge.drivers.serial_line import make_extractor
from firmware_sim.line_device import check_value
from firmware_sim.modbus_slave import crc16
from telemetry.batch import BatchError, open_batch, split_batches
from telemetry.evidence import EvidenceError, open_evidence

Target = Callable[[bytes], None]
ARRIVED_S = 1_767_323_045.0
FRAME_BYTES_MAX = 256


def _sensor(**values: Any) -> Any:
    return TypeAdapter(AnySensor).validate_python({"id": "s", "name": "s", **values})


def mqtt_target(decoder: str, topic: str, field: str) -> Target:
    """A broker's messages: the first byte chooses topic and flags, the rest is the payload."""
    sensor: MqttSensor = _sensor(type="mqtt", broker="b", decoder=decoder, topic=topic, field=field, time_field="at")
    topics = [topic, f"{topic}/availability", "tele/x/LWT"]
    if decoder == "sparkplug":
        group, node, device = topic.split("/")
        kinds = ("NBIRTH", "NDATA", "NDEATH", "STATE")
        topics = [f"spBv1.0/{group}/{kind}/{node}" for kind in kinds]
        topics += [f"spBv1.0/{group}/{kind}/{node}/{device}" for kind in ("DBIRTH", "DDATA", "DDEATH")]

    def run(data: bytes) -> None:
        router = MqttRouter([sensor], "p/", {})
        for part in data.split(b"\n\xff\n", 3):  # several messages, as what a birth says lives on
            choice, payload = (part[0], part[1:]) if part else (0, b"")
            name, retain = topics[choice % len(topics)], bool(choice & 0x80)
            readings = router.take(Message(name, payload, 1, 1, False, retain, 1, ARRIVED_S), True)
            assert all(reading.sensor_id == "s" for reading in readings)
            assert all((reading.value is None) == (reading.quality == "bad") for reading in readings)
        restored = MqttRouter([sensor], "p/", {k: v for k, v in router.sparkplug.changes().items() if v is not None})
        assert restored.subscriptions() == router.subscriptions()

    return run


def line_target(line: dict[str, Any], field: str, key: str | None = None) -> Target:
    """A talking serial line: any bytes, and the same bytes framed with a right checksum, so that content is reached."""
    shape = LineFormat.model_validate({"frame_bytes_max": FRAME_BYTES_MAX, **line})
    sensor: SerialLineSensor = _sensor(type="serial_line", port="p", field=field, key=key)
    extract = make_extractor(sensor, shape.content, shape.delimiter)

    def framed(data: bytes) -> bytes:
        if shape.framing == "line":
            check = check_value(shape.checksum, data).hex().encode()
            return data + (b"*" + check if shape.checksum != "none" else b"") + b"\n"
        check = check_value(shape.checksum, data + b"\x03")
        return b"\x02" + data + b"\x03" + (check if shape.checksum_encoding == "raw" else check.hex().encode())

    def run(data: bytes) -> None:
        for stream in (data, framed(data)):
            reader = FrameReader(shape)
            for frame in reader.feed(stream):
                assert len(frame.content) <= FRAME_BYTES_MAX
                if frame.damaged is None:
                    with contextlib.suppress(PayloadError):
                        value = extract(frame.content)
                        assert value is None or isinstance(value, float)
            assert len(reader._buffer) <= FRAME_BYTES_MAX + 8

    return run


def modbus_target(framer_of: Callable[[DecodePDU], Any], transaction: int) -> Target:
    """What a unit answers: through the framer, the driver's check of its shape, to every data type's number."""
    sensors: list[ModbusSensor] = [
        _sensor(type="modbus", port="p", unit=1, register=number * 2, data_type=kind, word_order="little", scale=0.1)
        for number, kind in enumerate(("int16", "uint16", "int32", "uint32", "float32"))
    ]
    [block] = plan_blocks(sensors, SerialPort(id="p", device="/dev/null"))

    def run(data: bytes) -> None:
        for stream in (data, data + crc16(data)):
            framer = framer_of(DecodePDU(False))
            _drop_undecodable(framer, PortCounts(), lambda: True)
            used, answer = framer.handleFrame(stream, 1, transaction)
            assert 0 <= used <= len(stream) + 1
            if answer is None or answer.function_code != 4:
                continue
            if Shape(4, 2 * len(answer.registers)) != block.request.shape:
                continue
            for sensor in sensors:
                assert isinstance(decode_registers(block.raw(sensor, answer.registers), sensor), float)

    return run


def read_scratchpad(data: bytes) -> None:
    """The text of ``w1_slave``."""
    with contextlib.suppress(ScratchpadError):
        celsius = decode_scratchpad(data)
        assert math.isfinite(celsius)
        assert MIN_C <= celsius <= MAX_C


def read_batches(data: bytes) -> None:
    """A request's body at the centre, from a stranger."""
    with contextlib.suppress(BatchError):
        for frame in split_batches(data):
            open_batch(frame, lambda _: None)


def read_evidence(data: bytes) -> None:
    """A picture's body at the centre, from a stranger."""
    with contextlib.suppress(EvidenceError):
        open_evidence(data, lambda _: None)


TARGETS: dict[str, Target] = {
    "mqtt json": mqtt_target("json", "plant/line", "a.0.t"),
    "mqtt zigbee2mqtt": mqtt_target("zigbee2mqtt", "zigbee2mqtt/x", "temperature"),
    "mqtt chirpstack": mqtt_target("chirpstack", "application/a/device/0102030405060708/event/up", "t"),
    "mqtt tasmota": mqtt_target("tasmota", "tele/x/SENSOR", "DS18B20.Temperature"),
    "mqtt sparkplug": mqtt_target("sparkplug", "g/n/d", "t"),
    "line text": line_target({}, r"T=([-+]?\d+\.\d+)"),
    "line csv": line_target({"content": "csv", "checksum": "xor"}, "1", "P1"),
    "line json": line_target({"content": "json", "checksum": "crc16"}, "a.0.t"),
    "stx csv": line_target({"framing": "stx_etx", "content": "csv", "checksum": "sum8"}, "1"),
    "stx raw": line_target(
        {"framing": "stx_etx", "content": "text", "checksum": "crc16", "checksum_encoding": "raw"}, r"(\d+)"
    ),
    "modbus rtu": modbus_target(FramerRTU, 0),
    "modbus tcp": modbus_target(FramerSocket, 1),
    "onewire": read_scratchpad,
    "batches": read_batches,
    "evidence": read_evidence,
}
# what each reader understands, to begin from
SEEDS: dict[str, list[bytes]] = {
    "mqtt json": [b"\x00" + json.dumps({"a": [{"t": 3.5}], "at": 1_767_323_045_000}).encode(), b"\x01offline"],
    "mqtt zigbee2mqtt": [b'\x00{"temperature": 3.4, "last_seen": "2026-01-02T03:04:05Z"}', b'\x01{"state": "offline"}'],
    "mqtt chirpstack": [
        b'\x00{"deduplicationId": "i", "time": "2026-01-02T03:04:05.123456789+00:00", "object": {"t": 1}}'
    ],
    "mqtt tasmota": [b'\x00{"DS18B20": {"Temperature": 70.1}, "TempUnit": "F"}', b"\x02Offline"],
    "mqtt sparkplug": [
        b"\x00\x08\x01\x12\x0b\x0a\x05bdSeq \x08X\x01\x18\x00\n\xff\n"  # NBIRTH, then DBIRTH with a float "t"
        b"\x04\x08\x01\x12\x0c\x0a\x01t\x10\x01 \x09e\x00\x00\x80?\x18\x01"
    ],
    "line text": [b"T=+003.25 C\r\n"],
    "line csv": [b"P1,3.25,60.1"],
    "line json": [b'{"a": [{"t": 1}]}'],
    "stx csv": [b"P1,3.25"],
    "stx raw": [b"17"],
    "modbus rtu": [b"\x01\x04\x14" + bytes(20), b"\x01\x84\x02"],
    "modbus tcp": [b"\x00\x01\x00\x00\x00\x17\x01\x04\x14" + bytes(20)],
    "onewire": [b"50 05 4b 46 7f ff 0c 10 1c : crc=1c YES\n50 05 4b 46 7f ff 0c 10 1c t=85000\n"],
    "batches": [b"BLB1\x00\x00\x00\x02\x00\x00\x00\x01{}x" + bytes(64)],
    "evidence": [b"BLE1\x00\x00\x00\x02\x00\x00\x00\x01{}" + bytes(64) + b"x"],
}
