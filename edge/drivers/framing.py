"""Frames out of a stream of bytes that may begin in the middle and hold noise. Pure.

What always holds: memory is bounded by ``frame_bytes_max``; whatever came before, the next whole frame is found; a
frame whose checksum is wrong is reported as damaged and never given out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import xor

from edge.config_ports import LineFormat

STX, ETX = 0x02, 0x03
CHECKSUM_BYTES = {"none": 0, "xor": 1, "sum8": 1, "crc16": 2}


@dataclass(frozen=True)
class Frame:
    """What stood between the marks; *damaged* says why it must not be used."""

    content: bytes
    damaged: str | None = None


def checksum(kind: str, data: bytes) -> bytes:
    """xor and sum8: one byte. crc16: CRC-16/MODBUS (polynomial 0xA001 reflected, start 0xFFFF), low byte first."""
    if kind == "xor":
        return bytes([reduce(xor, data, 0)])
    if kind == "sum8":
        return bytes([sum(data) & 0xFF])
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return crc.to_bytes(2, "little")


class FrameReader:
    """Feed it what arrives; it gives the frames that became whole."""

    def __init__(self, line: LineFormat) -> None:
        self._line = line
        self._buffer = bytearray()
        self._end: int | None = None  # where ETX stands, once it came
        self._skipping = False  # inside a line that grew too long
        size = CHECKSUM_BYTES[line.checksum]
        self._tail = size * 2 if line.checksum_encoding == "hex" else size

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that end in *data*."""
        step = self._step_line if self._line.framing == "line" else self._step_stx_etx
        for byte in data:
            frame = step(byte)
            if frame is not None:
                yield frame

    def _step_line(self, byte: int) -> Frame | None:
        if byte not in b"\r\n":
            return self._collect(byte)
        content, skipping = bytes(self._buffer).strip(), self._skipping
        self._clear()
        if skipping or not content:
            return None  # the too long frame was told when it became too long
        return self._check_line(content)

    def _step_stx_etx(self, byte: int) -> Frame | None:
        buffer = self._buffer
        if self._end is None and byte == STX:
            self._clear()
            buffer.append(STX)
            return None
        if not buffer:
            return None  # noise between frames
        too_long = self._collect(byte)
        if too_long is not None:
            self._clear()
            return too_long
        if self._end is None and byte == ETX:
            self._end = len(buffer) - 1
        if self._end is None or len(buffer) < self._end + 1 + self._tail:
            return None
        content, given = bytes(buffer[1 : self._end]), bytes(buffer[self._end + 1 :])
        self._clear()
        covered = content + bytes([ETX]) if self._line.checksum_covers_etx else content
        return Frame(content, self._damage(covered, given))

    def _collect(self, byte: int) -> Frame | None:
        """Add *byte*; a frame that becomes too long is told once and the rest of it skipped."""
        if self._skipping:
            return None
        if len(self._buffer) >= self._line.frame_bytes_max:
            self._skipping = True
            self._buffer.clear()
            return Frame(b"", f"longer than {self._line.frame_bytes_max} bytes")
        self._buffer.append(byte)
        return None

    def _clear(self) -> None:
        self._buffer.clear()
        self._end = None
        self._skipping = False

    def _check_line(self, content: bytes) -> Frame:
        """A line's checksum is its last digits, after a ``*`` if there is one; a leading ``$`` is not covered."""
        if self._line.checksum == "none":
            return Frame(content)
        if len(content) <= self._tail:
            return Frame(content, "too short for its checksum")
        body, given = content[: -self._tail], content[-self._tail :]
        body = body.removesuffix(b"*").removeprefix(b"$")
        return Frame(body, self._damage(body, given))

    def _damage(self, covered: bytes, given: bytes) -> str | None:
        if self._line.checksum == "none":
            return None
        expected = checksum(self._line.checksum, covered)
        if self._line.checksum_encoding == "hex":
            good = given.upper() == expected.hex().upper().encode()
        else:
            good = given == expected
        return None if good else "wrong checksum"
