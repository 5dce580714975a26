"""Sparkplug B payloads and the state of one edge node. Pure: bytes in, samples out; no clock, no network.

Source: Eclipse Sparkplug 3.0.0, chapters 4 (topics) and 6 (payloads; the protobuf schema is 6.4.1). What always holds:
a metric is taken by its name, or by an alias that the node's last birth defined; after a hole in ``seq`` a birth may
have been missed, so aliases are only as good as ``suspect`` until the next one.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field

from edge.drivers.decoders.payload import PAYLOAD_BYTES_MAX, PayloadError
from edge.drivers.decoders.protobuf import WireError, read_fields, write_varint

NAMESPACE = "spBv1.0"
METRICS_MAX = 5_000
NAME_BYTES_MAX = 512
SIGNED_BITS = {1: 8, 2: 16, 3: 32, 4: 64}  # datatypes Int8, Int16, Int32, Int64
BOOLEAN = 11
REBIRTH = "Node Control/Rebirth"


@dataclass(slots=True)
class Metric:
    """One metric as sent, integers unsigned; ``value`` is None for null and for what is no number (texts)."""

    name: str | None = None
    alias: int | None = None
    at_ms: int | None = None
    datatype: int | None = None
    is_null: bool = False
    value: int | float | None = None


@dataclass(slots=True)
class SparkplugPayload:
    """A payload with its metrics; ``at_ms`` is its time, ``seq`` 0–255."""

    at_ms: int | None = None
    seq: int | None = None
    metrics: list[Metric] = field(default_factory=list)


def decode_payload(payload: bytes) -> SparkplugPayload:
    """Read a payload; raises PayloadError."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise PayloadError(f"more than {PAYLOAD_BYTES_MAX} bytes")
    result = SparkplugPayload()
    try:
        for number, value in read_fields(payload):
            if number == 1 and isinstance(value, int):
                result.at_ms = value
            elif number == 2 and isinstance(value, bytes):
                if len(result.metrics) >= METRICS_MAX:
                    raise PayloadError(f"more than {METRICS_MAX} metrics")
                result.metrics.append(_metric(value))
            elif number == 3 and isinstance(value, int):
                result.seq = value
    except (WireError, UnicodeDecodeError) as error:
        raise PayloadError(f"no Sparkplug payload: {error}"[:100]) from error
    return result


def _metric(data: bytes) -> Metric:
    metric = Metric()
    for number, value in read_fields(data):
        if isinstance(value, int):
            _number_field(metric, number, value)
        elif number == 1:
            metric.name = value[:NAME_BYTES_MAX].decode()
        elif number == 12 and len(value) == 4:
            metric.value = struct.unpack("<f", value)[0]
        elif number == 13 and len(value) == 8:
            metric.value = struct.unpack("<d", value)[0]
    return metric


def _number_field(metric: Metric, number: int, value: int) -> None:
    if number == 2:
        metric.alias = value
    elif number == 3:
        metric.at_ms = value
    elif number == 4:
        metric.datatype = value
    elif number == 7:
        metric.is_null = bool(value)
    elif number in (10, 11, 14):
        metric.value = value


def _signed(value: int | float, datatype: int | None) -> float:
    """Int8 to Int64 travel as unsigned two's complement (6.4.16)."""
    bits = SIGNED_BITS.get(datatype or 0)
    if bits is None or not isinstance(value, int):
        return float(value)
    value &= (1 << bits) - 1
    return float(value - (1 << bits) if value >> (bits - 1) else value)


Key = tuple[str, str]  # device ("" is the node itself) and metric name


@dataclass
class SparkplugNode:
    """What is known of one edge node, whose every message must pass through here: they share one ``seq``.

    ``wanted`` are the metrics of configured sensors. What `save` gives can be saved and given back as it is.
    """

    wanted: frozenset[Key]
    aliases: dict[int, Key] = field(default_factory=dict)
    datatypes: dict[Key, int] = field(default_factory=dict)
    seq: int | None = None
    birth_seq: float | None = None
    in_step: bool = False

    def take(self, kind: str, device: str, payload: SparkplugPayload) -> dict[Key, Metric]:
        """The wanted metrics of a message of *kind* NBIRTH, DBIRTH, NDATA or DDATA, their values signed."""
        self._count(kind, payload)
        if kind == "NBIRTH":
            self.aliases.clear()
            self.datatypes.clear()
            self.birth_seq = _birth_seq(payload)
        if kind in ("NBIRTH", "DBIRTH"):
            self._learn(device, payload)
        found: dict[Key, Metric] = {}
        for metric in payload.metrics:
            by_alias = None if metric.alias is None else self.aliases.get(metric.alias)
            key = (device, metric.name) if metric.name else by_alias
            if key is not None and key in self.wanted:
                if metric.value is not None:  # data messages may leave the datatype to the birth
                    metric.value = _signed(metric.value, metric.datatype or self.datatypes.get(key))
                found[key] = metric
        return found

    def dies(self, payload: SparkplugPayload) -> bool:
        """Whether an NDEATH is about the present birth: its bdSeq must be that of the NBIRTH (6.4.22)."""
        death = _birth_seq(payload)
        if death is not None and self.birth_seq is not None and death != self.birth_seq:
            return False
        self.in_step = False
        return True

    def _count(self, kind: str, payload: SparkplugPayload) -> None:
        expected = None if self.seq is None else (self.seq + 1) % 256
        if kind == "NBIRTH":
            self.in_step = True
        elif payload.seq is None or payload.seq != expected:
            self.in_step = False
        self.seq = payload.seq

    def _learn(self, device: str, payload: SparkplugPayload) -> None:
        for metric in payload.metrics:
            key = (device, metric.name or "")
            if key in self.wanted:
                if metric.alias is not None:
                    self.aliases[metric.alias] = key
                if metric.datatype is not None:
                    self.datatypes[key] = metric.datatype

    def save(self) -> str:
        """Aliases and data types as JSON, so that data queued over a restart still has its names."""
        rows = [[alias, *key] for alias, key in self.aliases.items()]
        types = [[*key, datatype] for key, datatype in self.datatypes.items()]
        return json.dumps({"aliases": rows, "datatypes": types, "birth_seq": self.birth_seq}, ensure_ascii=False)

    def load(self, text: str) -> None:
        """Take back what `save` gave; ``in_step`` stays False until the next birth."""
        saved = json.loads(text)
        self.aliases = {alias: (device, name) for alias, device, name in saved["aliases"]}
        self.datatypes = {(device, name): datatype for device, name, datatype in saved["datatypes"]}
        self.birth_seq = saved["birth_seq"]


def _birth_seq(payload: SparkplugPayload) -> float | None:
    return next((metric.value for metric in payload.metrics if metric.name == "bdSeq"), None)


def node_filter(node: str) -> str:
    """The subscription for everything of *node* (group/name) and its devices."""
    group, _, name = node.partition("/")
    return f"{NAMESPACE}/{group}/+/{name}/#"


def split_topic(topic: str) -> tuple[str, str, str] | None:
    """(node as group/name, kind, device or "") of a Sparkplug topic; None for any other."""
    parts = topic.split("/")
    if len(parts) not in (4, 5) or parts[0] != NAMESPACE:
        return None
    return f"{parts[1]}/{parts[3]}", parts[2], parts[4] if len(parts) == 5 else ""


def rebirth_topic(node: str) -> str:
    """Where *node* (group/name) takes commands."""
    group, _, name = node.partition("/")
    return f"{NAMESPACE}/{group}/NCMD/{name}"


def encode_rebirth(at_ms: int) -> bytes:
    """The command that asks a node for new births: the boolean metric "Node Control/Rebirth" (6.4.19)."""
    name = REBIRTH.encode()
    metric = b"\x0a" + write_varint(len(name)) + name + b"\x20" + write_varint(BOOLEAN) + b"\x70\x01"
    return b"\x08" + write_varint(at_ms) + b"\x12" + write_varint(len(metric)) + metric
