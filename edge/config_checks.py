"""What one section alone cannot know: references between sections, ids used twice, one owner for each port."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from edge.config_coldchain import cold_chain_problems
from edge.config_ports import LineFormat
from edge.config_sensors import TCP_DEVICE, ModbusSensor, SerialLineSensor

if TYPE_CHECKING:
    from edge.config import EdgeConfig

Place = tuple[str | int, ...]
Problem = tuple[Place, str]
PORT_SECTIONS = ("serial_ports", "modbus_tcp", "brokers", "onewire", "replays")
# sensor type → the key that names its port, and the sections where that port may stand
REFERENCES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "modbus": ("port", ("serial_ports", "modbus_tcp")),
    "serial_line": ("port", ("serial_ports",)),
    "mqtt": ("broker", ("brokers",)),
    "onewire": ("bus", ("onewire",)),
    "replay": ("file", ("replays",)),
}


def cross_check(config: EdgeConfig) -> Iterator[Problem]:
    """Everything wrong between the sections of *config*."""
    yield from _references(config)
    yield from _owners(config)
    yield from _line_fields(config)
    if config.server.ca_file is not None and not config.server.ca_file.is_file():
        yield ("server", "ca_file"), "is no file"
    tls = config.status_mqtt.tls if config.status_mqtt else None
    for name, file in tls or ():
        if file is not None and not file.is_file():
            yield ("status_mqtt", "tls", name), "is no file"
    sensors = {sensor.id for sensor in config.sensors}
    for index, limit in enumerate(config.limits):
        if limit.sensor not in sensors:
            yield ("limits", index, "sensor"), "is no id in sensors"
    yield from cold_chain_problems(config)
    yield from _doubles(config, PORT_SECTIONS)
    for section in ("sensors", "cameras"):
        yield from _doubles(config, (section,))


def bare_secrets(data: Any, place: Place = ()) -> Iterator[Problem]:
    """Passwords that stand in the file itself; *data* is what YAML gave, before references are resolved."""
    if isinstance(data, dict):
        for key, value in data.items():
            if key == "password" and not isinstance(value, dict):
                yield (*place, "password"), "must not stand in this file; write {env: NAME} or {file: PATH}"
            yield from bare_secrets(value, (*place, str(key)))
    elif isinstance(data, list):
        for index, item in enumerate(data):
            yield from bare_secrets(item, (*place, index))


def _references(config: EdgeConfig) -> Iterator[Problem]:
    for index, sensor in enumerate(config.sensors):
        key, sections = REFERENCES[sensor.type]
        if not any(sensor.source == port.id for section in sections for port in getattr(config, section)):
            yield ("sensors", index, key), f"is no id in {' or '.join(sections)}"

    lines = {port.id for port in config.serial_ports}
    for index, sensor in enumerate(config.sensors):
        if isinstance(sensor, ModbusSensor) and sensor.unit == TCP_DEVICE and sensor.port in lines:
            yield ("sensors", index, "unit"), "is for Modbus TCP only; units on a line are 1 to 247"


def _owners(config: EdgeConfig) -> Iterator[Problem]:
    devices: dict[str, str] = {}
    for index, port in enumerate(config.serial_ports):
        first = devices.setdefault(str(port.device), port.id)
        if first != port.id:
            yield ("serial_ports", index, "device"), f"is the device of {first} already; a line has one owner"
    kinds: dict[str, str] = {}
    for index, sensor in enumerate(config.sensors):
        if "serial_ports" in REFERENCES[sensor.type][1]:
            kind = kinds.setdefault(sensor.source, sensor.type)
            if kind != sensor.type:
                yield ("sensors", index, "port"), f"is a {kind} line already; a line has one owner"
    clients: dict[tuple[str, int, str | None], str] = {}
    for index, broker in enumerate(config.brokers):
        session = clients.setdefault((broker.host, broker.port, broker.client_id), broker.id)
        if session != broker.id:
            yield (
                ("brokers", index, "client_id"),
                f"is the session of {session} already; the two would cut each other off",
            )
    status = config.status_mqtt
    if status is not None and (status.host, status.port, status.client_id) in clients:
        yield ("status_mqtt", "client_id"), "is the session of a broker already; the two would cut each other off"


def _line_fields(config: EdgeConfig) -> Iterator[Problem]:
    lines = {port.id: port.line for port in config.serial_ports}
    for index, sensor in enumerate(config.sensors):
        if isinstance(sensor, SerialLineSensor) and sensor.source in lines:
            problem = _field_problem(sensor, lines[sensor.source])
            if problem:
                yield ("sensors", index, "field"), problem


def _field_problem(sensor: SerialLineSensor, line: LineFormat) -> str | None:
    if line.content == "csv":
        return None if sensor.field.isdecimal() and len(sensor.field) < 4 else "must be a column number from 0"
    if sensor.key is not None:
        return "key is for csv lines only"
    if line.content == "text":
        try:
            groups = re.compile(sensor.field).groups
        except re.error as error:
            return f"is no regular expression ({error})"
        return None if groups == 1 else "must have exactly one group, which holds the number"
    return None


def _doubles(config: EdgeConfig, sections: tuple[str, ...]) -> Iterator[Problem]:
    seen: set[str] = set()
    for section in sections:
        for index, item in enumerate(getattr(config, section)):
            if item.id in seen:
                yield (section, index, "id"), "is used twice"
            seen.add(item.id)
