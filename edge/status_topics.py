"""Where and how the box's present state stands at the site's broker, and how Home Assistant learns of it. Pure.

What always holds: every topic begins with ``PREFIX/BOX_ID``, is known from the configuration alone, and is retained;
an alarm is ON or OFF, a value a JSON object. Discovery: Home Assistant's documentation, "MQTT", "MQTT discovery";
its object ids take letters, digits, ``_`` and ``-`` only.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any, Literal

from edge.config import EdgeConfig
from edge.config_sensors import Sensor
from edge.config_status import StatusMqttSection
from telemetry.messages import Reading

Flag = Literal["alarm", "fault", "blind", "violation"]
OpenFlags = set[tuple[str, Flag]]  # (sensor or camera, what is open there)
SENSOR_FLAGS: tuple[Flag, ...] = ("alarm", "fault")
CAMERA_FLAGS: tuple[Flag, ...] = ("blind", "violation")
FLAG_NAMES = {"alarm": "超限 alarm", "fault": "故障 fault", "blind": "失明 blind", "violation": "违规 violation"}
# quantities that Home Assistant has a class for, with the units that it takes there ("" and 0-1: a binary sensor)
NUMBERS = {
    "temperature": ("temperature", ("°C", "°F", "K")),
    "humidity": ("humidity", ("%",)),
    "battery_pct": ("battery", ("%",)),
    "pressure": ("pressure", ("Pa", "hPa", "kPa", "bar", "mbar", "psi")),
}
CONTACTS = {"door": "door", "power": "power", "defrost": "heat"}
ON_IF_NOT_ZERO = "{{ 'None' if value_json.value is none else ('ON' if value_json.value else 'OFF') }}"


class StatusTopics:
    """The topics of one box."""

    def __init__(self, section: StatusMqttSection, box_id: str) -> None:
        self._root = f"{section.topic_prefix}/{box_id}"
        self._discovery = section.discovery_prefix
        self._box_id = box_id
        self.available = f"{self._root}/available"
        self.events = f"{self._root}/events"

    def value(self, sensor_id: str) -> str:
        return f"{self._root}/sensor/{sensor_id}/state"

    def flag(self, source_id: str, flag: Flag) -> str:
        kind = "camera" if flag in CAMERA_FLAGS else "sensor"
        return f"{self._root}/{kind}/{source_id}/{flag}"

    def discovery(self, config: EdgeConfig) -> Iterator[tuple[str, str]]:
        """(topic, payload) for every sensor, its alarms and the cameras' alarms."""
        for sensor in config.sensors:
            component, entity = self._value_entity(sensor)
            yield self._announce(component, f"{sensor.id}", entity, config)
            for flag in SENSOR_FLAGS:
                yield self._flag_entity(sensor.id, f"{sensor.name} {FLAG_NAMES[flag]}", flag, config)
        for camera in config.cameras:
            for flag in CAMERA_FLAGS:
                yield self._flag_entity(camera.id, f"{camera.name} {FLAG_NAMES[flag]}", flag, config)

    def _value_entity(self, sensor: Sensor) -> tuple[str, dict[str, Any]]:
        entity: dict[str, Any] = {
            "name": sensor.name,
            "state_topic": self.value(sensor.id),
            "json_attributes_topic": self.value(sensor.id),
        }
        if sensor.quantity in CONTACTS:
            return "binary_sensor", entity | {
                "device_class": CONTACTS[sensor.quantity],
                "value_template": ON_IF_NOT_ZERO,
            }
        device_class, units = NUMBERS.get(sensor.quantity, (None, ()))
        entity |= {"value_template": "{{ value_json.value }}", "state_class": "measurement"}
        if sensor.unit_of_measure:
            entity["unit_of_measurement"] = sensor.unit_of_measure
        if sensor.unit_of_measure in units:
            entity["device_class"] = device_class
        return "sensor", entity

    def _flag_entity(self, source_id: str, name: str, flag: Flag, config: EdgeConfig) -> tuple[str, str]:
        entity = {"name": name, "state_topic": self.flag(source_id, flag), "device_class": "problem"}
        kind = "camera" if flag in CAMERA_FLAGS else "sensor"
        return self._announce("binary_sensor", f"{kind}/{source_id}/{flag}", entity, config)

    def _announce(self, component: str, name: str, entity: dict[str, Any], config: EdgeConfig) -> tuple[str, str]:
        node, thing = _object_id(self._box_id), _object_id(name)
        whole = entity | {
            "unique_id": f"brightline_{node}_{thing}",
            "availability_topic": self.available,
            "device": {
                "identifiers": [f"brightline_{self._box_id}"],
                "name": config.box.name,
                "manufacturer": "Brightline",
                "model": "brightline-edge",
            },
            "origin": {"name": "brightline-edge"},
        }
        return f"{self._discovery}/{component}/{node}/{thing}/config", json.dumps(whole, ensure_ascii=False)


def describe_reading(reading: Reading) -> str:
    """The state of a sensor: value (null when there is none), unit, quality, reason and the time of measurement."""
    state = reading.model_dump(mode="json", exclude={"sensor_id"})
    return json.dumps(state, ensure_ascii=False)


def _object_id(name: str) -> str:
    """*name* if its characters are allowed, else with the others replaced and a digest, so that no two are the same."""
    clean = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    return clean if clean == name else f"{clean}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
