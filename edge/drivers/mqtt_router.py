"""From messages to readings: which sensor a topic belongs to, which decoder reads it, what a last will means.

No network in here. What always holds: any message gives readings, possibly none, and never an exception; what cannot
be understood is a ``bad`` reading of the sensors it was for, counted, and logged once until it is understood again.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from edge.config_sensors import MqttSensor
from edge.drivers.assessment import assess, bad
from edge.drivers.decoders.documents import DECODERS, deduplication_id, default_availability_topic, is_offline
from edge.drivers.decoders.payload import PayloadError, Sample, parse_json, split_path
from edge.drivers.mqtt_inbox import Message
from edge.drivers.mqtt_sparkplug import SparkplugDesk
from telemetry.messages import Reading

logger = logging.getLogger(__name__)
DEDUPLICATION_IDS_MAX = 2_000
AHEAD_S_MAX = 300.0
AGE_S_MAX = 366 * 86_400.0


@dataclass(frozen=True)
class _Route:
    sensor: MqttSensor
    path: tuple[str, ...]
    time_path: tuple[str, ...] | None


class MqttRouter:
    """All sensors of one broker."""

    def __init__(self, sensors: Sequence[MqttSensor], prefix: str, saved: Mapping[str, str]) -> None:
        self._routes: dict[str, list[_Route]] = defaultdict(list)
        self._offline: dict[str, list[MqttSensor]] = defaultdict(list)
        self._uplinks: OrderedDict[str, None] = OrderedDict()
        self._last_ms: dict[str, int] = {}
        self._told: set[str] = set()
        self.poison = 0
        self.retained = 0
        self.repeated = 0
        self.sparkplug = SparkplugDesk(
            [sensor for sensor in sensors if sensor.decoder == "sparkplug"], prefix, saved, self._assess
        )
        for sensor in sensors:
            if sensor.decoder == "sparkplug":
                continue
            time_path = None if sensor.time_field is None else split_path(sensor.time_field)
            self._routes[sensor.topic].append(_Route(sensor, split_path(sensor.field), time_path))
            will = sensor.availability_topic or default_availability_topic(sensor.decoder, sensor.topic)
            if will is not None:
                self._offline[will].append(sensor)

    def subscriptions(self) -> list[tuple[str, int]]:
        """(filter, QoS) of everything that the sensors need."""
        found: dict[str, int] = {
            topic: max(route.sensor.qos for route in routes) for topic, routes in self._routes.items()
        }
        found |= {topic: 1 for topic in self._offline if topic not in found}
        return list(found.items()) + [(item, 1) for item in self.sparkplug.filters()]

    def take(self, message: Message, clock_synced: bool) -> list[Reading]:
        """The readings that *message* gives."""
        will = self._offline.get(message.topic, ())
        dead = [sensor for sensor in will if is_offline(message.payload, sensor.offline_payload)]
        if dead:
            return self._bad(dead, message, "offline (last will)", clock_synced)
        routes = self._routes.get(message.topic)
        if routes is None:
            return self._guard(message, clock_synced, lambda: self.sparkplug.take(message, clock_synced))
        return self._guard(message, clock_synced, lambda: self._decode(routes, message, clock_synced))

    def _guard(self, message: Message, clock_synced: bool, decode: Callable[[], list[Reading]]) -> list[Reading]:
        """Poison is told once for a topic, counted, and costs nothing but the message."""
        try:
            readings = decode()
        except PayloadError as error:
            self.poison += 1
            if message.topic not in self._told and len(self._told) < 1000:
                self._told.add(message.topic)
                logger.warning("a message on %s is not understood: %s", message.topic, error)
            sensors = [route.sensor for route in self._routes.get(message.topic, ())]
            return self._bad(sensors, message, f"the message is not understood: {error}", clock_synced)
        if self._told and readings:
            self._told.discard(message.topic)
        return readings

    def _decode(self, routes: Sequence[_Route], message: Message, clock_synced: bool) -> list[Reading]:
        document = parse_json(message.payload)
        if routes[0].sensor.decoder == "chirpstack" and self._is_repeated(document):
            return []
        readings: list[Reading] = []
        for route in routes:
            sensor = route.sensor
            sample = DECODERS[sensor.decoder](document, route.path, route.time_path, sensor.values)
            if sample is None:
                continue
            if message.retain and sample.at_s is None:
                self.retained += 1  # the broker's memory: when it was measured is not known
                continue
            readings.append(self._assess(sensor, sample, message.at_s, clock_synced))
        return readings

    def _is_repeated(self, document: object) -> bool:
        name = deduplication_id(document)
        if name is None:
            return False
        if name in self._uplinks:
            self.repeated += 1
            return True
        self._uplinks[name] = None
        if len(self._uplinks) > DEDUPLICATION_IDS_MAX:
            self._uplinks.popitem(last=False)
        return False

    def _bad(self, sensors: Sequence[MqttSensor], message: Message, reason: str, synced: bool) -> list[Reading]:
        return [bad(sensor, reason, self._arrival(sensor, message.at_s), synced) for sensor in sensors]

    def _assess(self, sensor: MqttSensor, sample: Sample, arrived_s: float, clock_synced: bool) -> Reading:
        """A device's own time is believed unless it is far from the box's, whose clock is right."""
        value = sample.value * sensor.scale
        if sample.at_s is None:
            return assess(sensor, value, self._arrival(sensor, arrived_s), clock_synced)
        far = not -AGE_S_MAX < sample.at_s - arrived_s < AHEAD_S_MAX
        if (clock_synced and far) or not 0 < sample.at_s < 1e11:
            reading = assess(sensor, value, self._arrival(sensor, arrived_s), clock_synced)
            if reading.quality != "good":
                return reading
            return reading.model_copy(update={"quality": "suspect", "reason": "the device's clock is wrong"})
        return assess(sensor, value, datetime.fromtimestamp(sample.at_s, UTC), True)

    def _arrival(self, sensor: MqttSensor, at_s: float) -> datetime:
        """The time of arrival; readings of one sensor are at least 1 ms apart, the resolution of stored series."""
        at_ms = max(int(at_s * 1000), self._last_ms.get(sensor.id, 0) + 1)
        if at_ms > at_s * 1000 + 60_000:  # the clock was set back
            at_ms = int(at_s * 1000)
        self._last_ms[sensor.id] = at_ms
        return datetime.fromtimestamp(at_ms / 1000, UTC)
