"""Just enough of the protocol buffers wire format to read Sparkplug, within bounds. Pure.

"Encoding", protobuf.dev: a message is a row of tags, (field number << 3 | wire type) as a varint, each with its value;
wire types 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes. Groups (3, 4) are obsolete and refused.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT_BYTES_MAX = 10


class WireError(Exception):
    """Bytes that are no protocol buffers message."""


def read_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) in order: an unsigned int for a varint, raw bytes for the rest; raises WireError."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise WireError("field number 0")
        if wire == 0:
            value, position = _varint(data, position)
            yield number, value
            continue
        if wire == 2:
            size, position = _varint(data, position)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise WireError(f"wire type {wire}")
        if size > len(data) - position:
            raise WireError("cut short")
        yield number, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    result = 0
    for index in range(VARINT_BYTES_MAX):
        if position + index >= len(data):
            raise WireError("cut short")
        byte = data[position + index]
        result |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return result & 0xFFFF_FFFF_FFFF_FFFF, position + index + 1
    raise WireError("a varint has at most 10 bytes")


def write_varint(value: int) -> bytes:
    """The varint of a number from 0 on."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
