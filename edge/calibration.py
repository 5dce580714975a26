"""Which calibration is in force, told to the centre: once for every change, so that raw values can be had back.

A reading holds the calibrated value only. The event ``box_status`` of kind ``calibration`` in the same signed journal
says which offset and certificate applied from then on; a certificate that has run out is told as a warning.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime

from edge.config_sensors import Sensor
from telemetry.messages import Event

STATE_PREFIX = "calibration/"


def calibration_events(
    sensors: Iterable[Sensor], saved: Mapping[str, str], now: datetime
) -> tuple[list[Event], dict[str, str | None]]:
    """Events for what changed since *saved*, and the states to commit with them; *now* is UTC."""
    events: list[Event] = []
    state: dict[str, str | None] = {}
    for sensor in sensors:
        data = _data(sensor, now)
        text = json.dumps(data, ensure_ascii=False, sort_keys=True)
        if saved.get(STATE_PREFIX + sensor.id) == text:
            continue
        state[STATE_PREFIX + sensor.id] = text
        name = uuid.uuid4().hex
        events.append(
            Event(
                event_id=name,
                incident_id=name,
                type="box_status",
                severity="warning" if data["certificate_expired"] else "info",
                source_id=sensor.id,
                at=now,
                data=data,
            )
        )
    return events, state


def _data(sensor: Sensor, now: datetime) -> dict[str, str | int | bool | float | list[str] | None]:
    expires_on = sensor.certificate_expires_on
    return {
        "kind": "calibration",
        "sensor_name": sensor.name,
        "place": sensor.place,
        "serial_number": sensor.serial_number,
        "unit": sensor.unit_of_measure,
        "scale": sensor.scale,
        "calibration_offset": sensor.calibration_offset,
        "calibrated_on": sensor.calibrated_on.isoformat() if sensor.calibrated_on else None,
        "certificate": sensor.certificate,
        "certificate_expires_on": expires_on.isoformat() if expires_on else None,
        "certificate_expired": expires_on is not None and now.date() > expires_on,
    }
