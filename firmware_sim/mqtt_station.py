"""MQTT devices that run: what each publishes when it connects, in its rhythm, and as its last will.

The payloads are those of `mqtt_devices` and `sparkplug_node`; here stands when they are sent, and how a box is told of
the device: ``sensor`` is an entry of its file, so that the two can be tried together.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from firmware_sim import mqtt_devices
from firmware_sim.mqtt_session import BrokerLost, MqttSession, publish_packet
from firmware_sim.sparkplug_node import FLOAT, MetricType, SparkplugEdgeNode

RETRY_S = 1.0
ACK_TIMEOUT_S = 10.0
REPORTS_A_BIRTH = 10  # a node does not hear commands here, so it is born again by itself
Message = tuple[str, bytes, bool]  # topic, payload, retained


class Station(ABC):
    """One device; ``name`` is its id at the box and part of its topics."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    @abstractmethod
    def sensor(self) -> dict[str, Any]:
        """Topic, decoder and field, as the box's file says them."""

    @abstractmethod
    def report(self, temperature_c: float) -> list[Message]:
        """What it says in its rhythm."""

    def will(self) -> Message | None:
        """What the broker says when it is gone."""
        return None

    def birth(self, temperature_c: float) -> list[Message]:
        """What it says when it has connected; most say no value yet."""
        return []


class JsonStation(Station):
    """A device of no particular make, with a clock and an availability topic."""

    @property
    def sensor(self) -> dict[str, Any]:
        return {
            "decoder": "json", "topic": f"plant/{self.name}", "field": "probe.t", "time_field": "at",
            "availability_topic": f"plant/{self.name}/status",
        }  # fmt: skip

    def report(self, temperature_c: float) -> list[Message]:
        payload = {"at": time.time_ns() // 1_000_000, "probe": {"t": round(temperature_c, 2)}}
        return [(f"plant/{self.name}", json.dumps(payload).encode(), False)]

    def will(self) -> Message:
        return f"plant/{self.name}/status", b"offline", True

    def birth(self, temperature_c: float) -> list[Message]:
        return [(f"plant/{self.name}/status", b"online", True)]


class Zigbee2mqttStation(Station):
    """A climate sensor behind zigbee2mqtt, which keeps its state at the broker."""

    @property
    def sensor(self) -> dict[str, Any]:
        return {"decoder": "zigbee2mqtt", "topic": f"zigbee2mqtt/{self.name}", "field": "temperature"}

    def report(self, temperature_c: float) -> list[Message]:
        now = datetime.now(UTC)
        return [(*mqtt_devices.zigbee2mqtt_state(self.name, round(temperature_c, 2), last_seen=now), True)]

    def will(self) -> Message:
        return (*mqtt_devices.zigbee2mqtt_availability(self.name, online=False), True)

    def birth(self, temperature_c: float) -> list[Message]:
        return [(*mqtt_devices.zigbee2mqtt_availability(self.name, online=True), True)]


class TasmotaStation(Station):
    """A switch with a DS18B20."""

    @property
    def sensor(self) -> dict[str, Any]:
        return {"decoder": "tasmota", "topic": f"tele/{self.name}/SENSOR", "field": "DS18B20.Temperature"}

    def report(self, temperature_c: float) -> list[Message]:
        return [(*mqtt_devices.tasmota_sensor(self.name, round(temperature_c, 1)), False)]

    def will(self) -> Message:
        return (*mqtt_devices.tasmota_will(self.name, online=False), True)

    def birth(self, temperature_c: float) -> list[Message]:
        return [(*mqtt_devices.tasmota_will(self.name, online=True), True)]


class ChirpstackStation(Station):
    """A LoRaWAN probe, as its network server passes it on; each uplink has an id of its own."""

    APPLICATION, DEV_EUI = "canteen", "0102030405060708"

    @property
    def sensor(self) -> dict[str, Any]:
        topic = f"application/{self.APPLICATION}/device/{self.DEV_EUI}/event/up"
        return {"decoder": "chirpstack", "topic": topic, "field": "TempC_SHT"}

    def report(self, temperature_c: float) -> list[Message]:
        uplink, now = f"{self.name}-{time.time_ns()}", datetime.now(UTC)
        found = mqtt_devices.chirpstack_uplink(self.APPLICATION, self.DEV_EUI, uplink, round(temperature_c, 2), now)
        return [(*found, False)]


class SparkplugStation(Station):
    """An edge node with one device, whose data carry aliases only."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._node = SparkplugEdgeNode("canteen", "gateway", [], {name: [MetricType("Temperature", 1, FLOAT)]})
        self._reports = 0

    @property
    def sensor(self) -> dict[str, Any]:
        return {"decoder": "sparkplug", "topic": f"canteen/gateway/{self.name}", "field": "Temperature"}

    def report(self, temperature_c: float) -> list[Message]:
        self._reports += 1
        if self._reports % REPORTS_A_BIRTH == 0:
            return self.birth(temperature_c)
        at_ms = time.time_ns() // 1_000_000
        return [(*self._node.data(self.name, {"Temperature": temperature_c}, at_ms), False)]

    def will(self) -> Message:
        self._node.birth_seq += 1
        return (*self._node.death(), False)

    def birth(self, temperature_c: float) -> list[Message]:
        at_ms = time.time_ns() // 1_000_000
        born = self._node.birth({}, at_ms)
        device = self._node.device_birth(self.name, {"Temperature": temperature_c}, at_ms)
        return [(*born, False), (*device, False)]


STATIONS: dict[str, Callable[[str], Station]] = {
    "json": JsonStation,
    "zigbee2mqtt": Zigbee2mqttStation,
    "tasmota": TasmotaStation,
    "chirpstack": ChirpstackStation,
    "sparkplug": SparkplugStation,
}


def serve_station(
    station: Station,
    port: int,
    measure_c: Callable[[], float],
    interval_s: float,
    stop: threading.Event,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Publish to the broker at 127.0.0.1:*port* until *stop*; a lost broker is tried again every second. *ready* is
    called after the first connection.
    """
    told = False
    while not stop.is_set():
        with contextlib.suppress(BrokerLost):
            will = station.will()
            session = MqttSession(port, f"sim-{station.name}", will=will)
            with contextlib.closing(session):
                _publish(session, station.birth(measure_c()))
                if not told:
                    told = True
                    ready()
                while not stop.is_set():
                    _publish(session, station.report(measure_c()))
                    stop.wait(interval_s)
        stop.wait(RETRY_S)


def _publish(session: MqttSession, messages: list[Message]) -> None:
    """Send and wait for the broker's word; raises BrokerLost."""
    waiting = set(range(1, len(messages) + 1))
    session.send(
        publish_packet(topic.encode(), payload, packet_id, retain=retained)
        for packet_id, (topic, payload, retained) in enumerate(messages, 1)
    )
    until_s = time.monotonic() + ACK_TIMEOUT_S
    while waiting:
        waiting -= set(session.acknowledged(0.2))
        if time.monotonic() > until_s:
            raise BrokerLost(f"no PUBACK for {ACK_TIMEOUT_S:.0f} s")
