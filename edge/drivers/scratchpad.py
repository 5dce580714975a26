"""What the kernel says of a DS18B20 (``w1_slave``): two lines with the scratchpad's nine bytes. Pure.

Source: DS18B20 data sheet (scratchpad, CRC x^8+x^5+x^4+1, temperature register, power-on value) and the kernel's
Documentation/w1/slaves/w1_therm.rst. The kernel checks the CRC too, but calls nine zero bytes right: that is what a
shorted bus gives.
"""

from __future__ import annotations

import re

POWER_ON_C = 85.0
MIN_C, MAX_C = -55.0, 125.0
_LINE = re.compile(rb"^((?:[0-9a-f]{2} ){9}): crc=([0-9a-f]{2}) (YES|NO)$", re.MULTILINE)


class ScratchpadError(Exception):
    """The sensor has no temperature to give, and why."""


class ChecksumError(ScratchpadError):
    """The bytes were spoiled on the way."""


def crc8(data: bytes) -> int:
    """Dallas/Maxim CRC (polynomial 0x8C reflected, start 0)."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x8C if crc & 1 else crc >> 1
    return crc


def decode_scratchpad(text: bytes) -> float:
    """°C from the text of ``w1_slave``; raises ScratchpadError."""
    found = _LINE.search(text[:1024])
    if found is None:
        raise ScratchpadError("the sensor does not answer")
    data = bytes.fromhex(found[1].decode())
    if found[3] != b"YES" or crc8(data[:8]) != data[8]:
        raise ChecksumError("wrong checksum")
    if not any(data):
        raise ScratchpadError("the bus is shorted")
    celsius = int.from_bytes(data[:2], "little", signed=True) / 16
    if celsius == POWER_ON_C:
        raise ScratchpadError("power-on value 85 °C: the sensor was reset before it measured")
    if not MIN_C <= celsius <= MAX_C:
        raise ScratchpadError("outside the sensor's range")
    return celsius
