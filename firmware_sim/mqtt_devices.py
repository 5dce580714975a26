"""What MQTT devices publish, written from their makers' documentation: topic and payload, nothing sent in here.

zigbee2mqtt "MQTT Topics and Messages" and "Device availability"; ChirpStack v4 "Event types", uplink event;
Tasmota "MQTT" and "Periodic status".
"""

from __future__ import annotations

import base64
import json
import struct
from datetime import UTC, datetime


def zigbee2mqtt_state(name: str, temperature_c: float, *, last_seen: datetime | None = None) -> tuple[str, bytes]:
    """A climate sensor's state, as after a report of all attributes."""
    state: dict[str, object] = {"battery": 91, "humidity": 61.2, "linkquality": 120, "temperature": temperature_c}
    if last_seen is not None:
        state["last_seen"] = last_seen.isoformat()
    return f"zigbee2mqtt/{name}", json.dumps(state).encode()


def zigbee2mqtt_contact(name: str, *, closed: bool) -> tuple[str, bytes]:
    """A door contact: ``contact`` is true while the door is closed."""
    return f"zigbee2mqtt/{name}", json.dumps({"contact": closed, "battery": 100}).encode()


def zigbee2mqtt_availability(name: str, *, online: bool) -> tuple[str, bytes]:
    """The availability topic, in its JSON form."""
    return f"zigbee2mqtt/{name}/availability", json.dumps({"state": "online" if online else "offline"}).encode()


def chirpstack_uplink(
    application: str, dev_eui: str, name: str, temperature_c: float, at: datetime
) -> tuple[str, bytes]:
    """An uplink event: the device's bytes, and the object that the codec made of them."""
    event = {
        "deduplicationId": name,
        "time": at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "242+00:00"),
        "deviceInfo": {"tenantName": "canteen", "applicationId": application, "devEui": dev_eui},
        "devAddr": "00189440",
        "adr": True,
        "dr": 5,
        "fCnt": 4,
        "fPort": 2,
        "confirmed": False,
        "data": base64.b64encode(struct.pack(">h", round(temperature_c * 100))).decode(),
        "object": {"TempC_SHT": temperature_c, "BatV": 3.01},
        "rxInfo": [{"gatewayId": "0016c001f153a14c", "uplinkId": 4217106255, "rssi": -36, "snr": 10.5}],
        "txInfo": {"frequency": 868_100_000},
    }
    return f"application/{application}/device/{dev_eui}/event/up", json.dumps(event).encode()


def tasmota_sensor(name: str, temperature: float, *, unit: str = "C") -> tuple[str, bytes]:
    """The periodic report of a DS18B20 at a Tasmota switch."""
    report = {
        "Time": "2026-01-02T03:04:05",
        "DS18B20": {"Id": "01131B123456", "Temperature": temperature},
        "TempUnit": unit,
    }
    return f"tele/{name}/SENSOR", json.dumps(report).encode()


def tasmota_will(name: str, *, online: bool) -> tuple[str, bytes]:
    """The retained last will of a Tasmota device."""
    return f"tele/{name}/LWT", b"Online" if online else b"Offline"
