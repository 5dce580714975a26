"""The Sparkplug nodes of one broker: births, deaths and holes in the sequence, turned into readings. No network."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from edge.config_sensors import MqttSensor
from edge.drivers.assessment import bad
from edge.drivers.decoders.payload import Sample
from edge.drivers.decoders.sparkplug import Metric, SparkplugNode, decode_payload, node_filter, split_topic
from edge.drivers.mqtt_inbox import Message
from telemetry.messages import Reading

Assess = Callable[[MqttSensor, Sample, float, bool], Reading]
DATA_KINDS = ("NBIRTH", "DBIRTH", "NDATA", "DDATA")


class SparkplugDesk:
    """A sensor's ``topic`` is group/node or group/node/device, its ``field`` the metric's name."""

    def __init__(
        self, sensors: Sequence[MqttSensor], prefix: str, saved: Mapping[str, str], make_reading: Assess
    ) -> None:
        self._prefix = f"{prefix}sparkplug/"
        self._make_reading = make_reading
        self._sensors: dict[tuple[str, str, str], list[MqttSensor]] = defaultdict(list)
        wanted: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for sensor in sensors:
            group, name, *device = sensor.topic.split("/")
            node = f"{group}/{name}"
            key = (device[0] if device else "", sensor.field)
            wanted[node].add(key)
            self._sensors[(node, *key)].append(sensor)
        self._nodes = {node: SparkplugNode(frozenset(keys)) for node, keys in wanted.items()}
        self._saved = {node: saved[self._prefix + node] for node in self._nodes if self._prefix + node in saved}
        for node, text in self._saved.items():
            self._nodes[node].load(text)
        self.unborn = set(self._nodes)  # nodes to ask for a birth

    def filters(self) -> list[str]:
        return [node_filter(node) for node in self._nodes]

    def take(self, message: Message, clock_synced: bool) -> list[Reading]:
        """The readings of one message; raises PayloadError. Topics of foreign nodes and commands give none."""
        place = split_topic(message.topic)
        if place is None or place[0] not in self._nodes:
            return []
        name, kind, device = place
        if kind not in (*DATA_KINDS, "NDEATH", "DDEATH"):
            return []
        node, payload = self._nodes[name], decode_payload(message.payload)
        if kind == "NDEATH":
            return self._dead(name, None, message, clock_synced) if node.dies(payload) else []
        metrics = node.take(kind, device, payload)
        if node.in_step:
            self.unborn.discard(name)
        else:
            self.unborn.add(name)
        if kind == "DDEATH":
            return self._dead(name, device, message, clock_synced)
        return [
            self._reading(sensor, metric, payload.at_ms, message, clock_synced, node.in_step)
            for key, metric in metrics.items()
            for sensor in self._sensors[(name, *key)]
        ]

    def _reading(
        self, sensor: MqttSensor, metric: Metric, at_ms: int | None, message: Message, synced: bool, in_step: bool
    ) -> Reading:
        if metric.value is None:
            reason = "the device says null" if metric.is_null else "the metric is no number"
            return bad(sensor, reason, datetime.fromtimestamp(message.at_s, UTC), synced)
        at_ms = metric.at_ms or at_ms
        sample = Sample(float(metric.value), None if at_ms is None else at_ms / 1000)
        reading = self._make_reading(sensor, sample, message.at_s, synced)
        if in_step or metric.name or reading.quality != "good":
            return reading
        return reading.model_copy(update={"quality": "suspect", "reason": "a message or birth of the node was missed"})

    def _dead(self, node: str, device: str | None, message: Message, synced: bool) -> list[Reading]:
        at = datetime.fromtimestamp(message.at_s, UTC)
        return [
            bad(sensor, "offline (death certificate)", at, synced)
            for key, sensors in self._sensors.items()
            if key[0] == node and device in (None, key[1])
            for sensor in sensors
        ]

    def changes(self) -> dict[str, str | None]:
        """What to commit: the nodes' aliases where they changed."""
        state: dict[str, str | None] = {}
        for name, node in self._nodes.items():
            text = node.save()
            if text != self._saved.get(name):
                self._saved[name] = text
                state[self._prefix + name] = text
        return state
