"""`brightline-edge read`: one sensor read once, through the very driver that the box runs, with nothing recorded.

For the person on the ladder: the value beside what the device really said, its quality and how long it took. Works on
a box that is not enrolled. An MQTT sensor is read over a session of its own, so the running box loses no message.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import dataclass
from time import monotonic

from edge.clock import clock_synced
from edge.config import ConfigurationError, EdgeConfig, Sensor
from edge.config_ports import Broker
from edge.drivers.port import Delivery
from edge.sensing import Source, list_sources, make_driver
from telemetry.messages import Reading

RAW_CHARS_MAX = 300


class NoReading(Exception):
    """Nothing came; the message says why and what to look at."""


@dataclass(frozen=True)
class Commissioned:
    """One reading and what the device said; ``latency_s`` is from request to answer, or waited if it is not asked."""

    sensor: Sensor
    reading: Reading
    raw: str
    latency_s: float
    asked: bool

    def as_text(self) -> str:
        reading = self.reading
        value = "none" if reading.value is None else f"{reading.value:g} {reading.unit}".rstrip()
        reason = f" ({reading.reason})" if reading.reason else ""
        latency = f"{self.latency_s * 1000:.0f} ms {'from request to answer' if self.asked else 'waited'}"
        return (
            f"sensor   {self.sensor.id}  {self.sensor.name}  {self.sensor.place}".rstrip() + "\n"
            f"value    {value}\n"
            f"raw      {self.raw}\n"
            f"quality  {reading.quality}{reason}\n"
            f"latency  {latency}\n"
        )

    def as_json(self) -> str:
        found = self.reading.model_dump(mode="json") | {
            "raw": self.raw,
            "latency_s": round(self.latency_s, 4),
            "asked": self.asked,
            "serial_number": self.sensor.serial_number,
            "calibration_offset": self.sensor.calibration_offset,
        }
        return json.dumps(found, ensure_ascii=False) + "\n"


async def read_sensor(config: EdgeConfig, sensor_id: str, timeout_s: float) -> Commissioned:
    """Read *sensor_id* once; raises NoReading, or ConfigurationError for an unknown sensor."""
    source = _source_of(config, sensor_id)
    started_s = monotonic()
    try:
        async with asyncio.timeout(timeout_s), make_driver(source, clock_synced, {}) as driver:
            async for delivery in driver.deliveries():
                if delivery.readings:
                    return _commissioned(source.sensors[0], delivery, monotonic() - started_s)
    except TimeoutError as error:
        raise NoReading(f"{source.name}: nothing came from {sensor_id} in {timeout_s:g} s") from error
    except OSError as error:
        raise NoReading(str(error)) from error
    raise NoReading(f"{source.name}: the driver ended without a reading")


def _source_of(config: EdgeConfig, sensor_id: str) -> Source:
    for source in list_sources(config):
        for sensor in source.sensors:
            if sensor.id == sensor_id:
                port = source.port
                if isinstance(port, Broker):
                    name = f"{port.client_id[:50]}-read-{secrets.token_hex(4)}"
                    port = port.model_copy(update={"client_id": name, "session_expiry_s": 0})
                return Source(source.kind, port, (sensor,))
    known = ", ".join(sensor.id for sensor in config.sensors) or "none"
    raise ConfigurationError(f"no sensor {sensor_id!r} in sensors; there are: {known}")


def _commissioned(sensor: Sensor, delivery: Delivery, waited_s: float) -> Commissioned:
    raw = _describe(delivery.raws[0]) if delivery.raws else "none"
    latency_s = delivery.latency_s
    return Commissioned(
        sensor, delivery.readings[0], raw, waited_s if latency_s is None else latency_s, latency_s is not None
    )


def _describe(raw: object) -> str:
    """Registers as hexadecimal words, bytes as printable text, whatever else as it is."""
    if raw is None:
        return "none"
    if isinstance(raw, list):
        return " ".join(f"0x{value:04X}" for value in raw)
    if isinstance(raw, bytes):
        raw = raw.decode("utf-8", "backslashreplace")
    text = str(raw)
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text[:RAW_CHARS_MAX])
