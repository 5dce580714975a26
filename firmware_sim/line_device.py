"""Devices that send readings over a serial line without being asked, in the formats that makers document. Bytes only.

The checksums are computed here anew, from their definitions: XOR and sum modulo 256 over the covered bytes;
CRC-16/MODBUS by division with the polynomial x^16 + x^15 + x^2 + 1.
"""

from __future__ import annotations

STX, ETX = b"\x02", b"\x03"


def text_line(temperature_c: float) -> bytes:
    """`T=+003.25 C` and a line end."""
    return f"T={temperature_c:+07.2f} C\r\n".encode()


def csv_line(address: str, temperature_c: float, humidity_pct: float) -> bytes:
    """Address, temperature, relative humidity."""
    return f"{address},{temperature_c:.2f},{humidity_pct:.1f}\r\n".encode()


def json_line(temperature_c: float) -> bytes:
    """One JSON object a line."""
    return b'{"probe":{"t":%.2f},"door":"open"}\n' % temperature_c


def stx_frame(content: bytes, check: str = "none", *, as_hex: bool = False) -> bytes:
    """STX content ETX and the check over content and ETX."""
    value = check_value(check, content + ETX)
    return STX + content + ETX + (value.hex().upper().encode() if as_hex else value)


def nmea_line(content: bytes) -> bytes:
    """`$content*HH`, the exclusive or of the content as two hexadecimal digits (NMEA 0183)."""
    return b"$" + content + b"*" + check_value("xor", content).hex().upper().encode() + b"\r\n"


def check_value(check: str, covered: bytes) -> bytes:
    """The check bytes over *covered*."""
    if check == "none":
        return b""
    if check == "crc16":
        return _crc(covered)
    result = 0
    for byte in covered:
        result = result ^ byte if check == "xor" else (result + byte) % 256
    return bytes([result])


def _crc(data: bytes) -> bytes:
    """Bit by bit: registers start full, the lowest bit goes first, low byte first on the wire."""
    register = 0xFFFF
    for byte in data:
        for position in range(8):
            carry = (register ^ (byte >> position)) & 1
            register >>= 1
            if carry:
                register ^= 0xA001
    return bytes([register & 0xFF, register >> 8])
