"""A Sparkplug B edge node, written from the Sparkplug 3.0.0 specification: births, data, deaths as bytes.

An independent reading: the protobuf fields are put together here by hand from the schema in chapter 6.4.1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

INT8, INT16, INT32, INT64, FLOAT, DOUBLE, BOOLEAN, STRING = 1, 2, 3, 4, 9, 10, 11, 12
Value = int | float | bool | str | None


def _varint(value: int) -> bytes:
    out = b""
    while True:
        low, value = value & 0x7F, value >> 7
        if not value:
            return out + bytes([low])
        out += bytes([low | 0x80])


def _number(fieldnumber: int, value: int) -> bytes:
    return _varint(fieldnumber << 3) + _varint(value)


def _bytes(fieldnumber: int, value: bytes) -> bytes:
    return _varint(fieldnumber << 3 | 2) + _varint(len(value)) + value


@dataclass(frozen=True)
class MetricType:
    """A metric as the birth declares it."""

    name: str
    alias: int
    datatype: int


@dataclass
class SparkplugEdgeNode:
    """`birth`, `device_birth`, `data`, `death` give (topic, payload); ``seq`` counts as 6.4.1 says."""

    group: str
    name: str
    metrics: list[MetricType]
    devices: dict[str, list[MetricType]] = field(default_factory=dict)
    birth_seq: int = 0
    seq: int = 255

    def birth(self, values: dict[str, Value], at_ms: int) -> tuple[str, bytes]:
        """NBIRTH: every metric by name, with its alias and type; starts the sequence at 0."""
        self.seq = 255
        own = [self._metric(item, values[item.name], named=True) for item in self.metrics]
        bd = _bytes(2, _bytes(1, b"bdSeq") + _number(4, 8) + _number(11, self.birth_seq))
        return f"spBv1.0/{self.group}/NBIRTH/{self.name}", self._payload(bd + b"".join(own), at_ms)

    def device_birth(self, device: str, values: dict[str, Value], at_ms: int) -> tuple[str, bytes]:
        """DBIRTH of one device."""
        own = [self._metric(item, values[item.name], named=True) for item in self.devices[device]]
        return f"spBv1.0/{self.group}/DBIRTH/{self.name}/{device}", self._payload(b"".join(own), at_ms)

    def data(self, device: str, values: dict[str, Value], at_ms: int) -> tuple[str, bytes]:
        """NDATA (device "") or DDATA: the metrics that changed, by alias alone."""
        types = {item.name: item for item in (self.devices[device] if device else self.metrics)}
        body = b"".join(self._metric(types[name], value, named=False) for name, value in values.items())
        kind, tail = ("DDATA", f"/{device}") if device else ("NDATA", "")
        return f"spBv1.0/{self.group}/{kind}/{self.name}{tail}", self._payload(body, at_ms)

    def death(self) -> tuple[str, bytes]:
        """NDEATH, the node's last will: only bdSeq, no seq."""
        bd = _bytes(2, _bytes(1, b"bdSeq") + _number(4, 8) + _number(11, self.birth_seq))
        return f"spBv1.0/{self.group}/NDEATH/{self.name}", bd

    def device_death(self, device: str, at_ms: int) -> tuple[str, bytes]:
        """DDEATH of one device."""
        return f"spBv1.0/{self.group}/DDEATH/{self.name}/{device}", self._payload(b"", at_ms)

    def _payload(self, metrics: bytes, at_ms: int) -> bytes:
        self.seq = (self.seq + 1) % 256
        return _number(1, at_ms) + metrics + _number(3, self.seq)

    def _metric(self, kind: MetricType, value: Value, *, named: bool) -> bytes:
        body = (_bytes(1, kind.name.encode()) if named else b"") + _number(2, kind.alias)
        if named:
            body += _number(4, kind.datatype)
        return _bytes(2, body + self._value(kind.datatype, value))

    @staticmethod
    def _value(datatype: int, value: Value) -> bytes:
        if value is None:
            return _number(7, 1)
        if isinstance(value, str):
            return _bytes(15, value.encode())
        if datatype == FLOAT:
            return _varint(12 << 3 | 5) + struct.pack("<f", value)
        if datatype == DOUBLE:
            return _varint(13 << 3 | 1) + struct.pack("<d", value)
        if datatype == INT64:
            return _number(11, int(value) & 0xFFFF_FFFF_FFFF_FFFF)
        return _number(14 if datatype == BOOLEAN else 10, int(value) & 0xFFFF_FFFF)
