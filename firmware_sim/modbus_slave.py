"""Modbus RTU slaves, read from "MODBUS over Serial Line V1.02" and "MODBUS Application Protocol V1.1b3".

This is on purpose not built on a Modbus library: the box's driver is tested against an independent reading of
the specification. Bytes in, bytes out; no I/O in here. Functions 1–4 are served, all others answer exception 1:
at once where the request has a known length, after the silence that ends every RTU frame otherwise.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
REQUEST_BYTES = 8  # functions 1-6: unit, function, address, count, CRC
WRITE_MANY_BYTES = 9  # functions 15 and 16: the same, a byte count, and that many bytes
FRAME_BYTES_MIN, FRAME_BYTES_MAX = 4, 256
BITS_MAX, REGISTERS_MAX = 2000, 125
Table = Mapping[int, Callable[[], int]]


def crc16(data: bytes) -> bytes:
    """CRC-16/MODBUS (polynomial 0xA001 reflected, start 0xFFFF), low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return struct.pack("<H", crc)


@dataclass(frozen=True)
class Slave:
    """One unit: address → function that gives the current value (registers 0–65535, bits 0 or 1)."""

    coils: Table = field(default_factory=dict)
    discrete_inputs: Table = field(default_factory=dict)
    holding_registers: Table = field(default_factory=dict)
    input_registers: Table = field(default_factory=dict)

    def answer(self, function: int, address: int, count: int) -> bytes:
        """The PDU that answers a read."""
        tables = {1: self.coils, 2: self.discrete_inputs, 3: self.holding_registers, 4: self.input_registers}
        table = tables.get(function)
        if table is None:
            return bytes([function | 0x80, ILLEGAL_FUNCTION])
        if not 1 <= count <= (BITS_MAX if function <= 2 else REGISTERS_MAX):
            return bytes([function | 0x80, ILLEGAL_VALUE])
        if any(place not in table for place in range(address, address + count)):
            return bytes([function | 0x80, ILLEGAL_ADDRESS])
        values = [table[place]() & 0xFFFF for place in range(address, address + count)]
        if function <= 2:
            packed = sum(bool(value) << index for index, value in enumerate(values))
            data = packed.to_bytes((count + 7) // 8, "little")
        else:
            data = struct.pack(f">{count}H", *values)
        return bytes([function, len(data)]) + data


class Line:
    """A serial line with several units; feed it what arrives, send what it returns."""

    def __init__(self, slaves: Mapping[int, Slave]) -> None:
        self._slaves = slaves
        self._buffer = b""

    def feed(self, data: bytes) -> bytes:
        """Answers to the complete frames in the stream so far; silence for a bad CRC, another unit or a broadcast."""
        self._buffer += data
        answers = b""
        while len(self._buffer) >= (size := self._request_bytes()):
            frame = self._buffer[:size]
            if crc16(frame[:-2]) != frame[-2:]:
                self._buffer = self._buffer[1:]
                continue
            self._buffer = self._buffer[size:]
            answers += self._answer(frame)
        return answers

    def _request_bytes(self) -> int:
        """The length of the request that starts the buffer, as far as its bytes tell."""
        if len(self._buffer) >= REQUEST_BYTES and self._buffer[1] in (15, 16):
            return min(WRITE_MANY_BYTES + self._buffer[6], FRAME_BYTES_MAX)
        return REQUEST_BYTES

    def _answer(self, frame: bytes) -> bytes:
        unit, function = frame[:2]
        slave = self._slaves.get(unit)
        if slave is None:
            return b""
        pdu = bytes([function | 0x80, ILLEGAL_FUNCTION])
        if len(frame) == REQUEST_BYTES:
            pdu = slave.answer(function, *struct.unpack(">HH", frame[2:6]))
        body = bytes([unit]) + pdu
        return body + crc16(body)

    def silence(self) -> bytes:
        """3.5 characters of silence end a frame (V1.02, 2.5.1.1): its answer if it is one, else it is dropped."""
        frame, self._buffer = self._buffer, b""
        if not FRAME_BYTES_MIN <= len(frame) <= FRAME_BYTES_MAX or crc16(frame[:-2]) != frame[-2:]:
            return b""
        return self._answer(frame)
