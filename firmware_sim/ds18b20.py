"""A DS18B20 as the kernel shows it: a folder with a ``w1_slave`` file. Written from the sensor's data sheet.

The CRC is computed as the data sheet draws it: a shift register with taps for x^8 + x^5 + x^4 + 1.
"""

from __future__ import annotations

from pathlib import Path

POWER_ON = bytes.fromhex("5005 4b46 7fff 0c10 1c")  # the data sheet's scratchpad after power-on: +85 °C


def scratchpad(temperature_c: float) -> bytes:
    """Nine bytes: temperature in sixteenths, alarm limits, 12 bits, reserved bytes, CRC."""
    raw = round(temperature_c * 16) & 0xFFFF
    body = bytes([raw & 0xFF, raw >> 8, 0x4B, 0x46, 0x7F, 0xFF, 0x0C, 0x10])
    return body + bytes([_crc(body)])


def kernel_text(data: bytes) -> bytes:
    """The two lines of ``w1_slave``, as the kernel prints them."""
    row = " ".join(f"{byte:02x}" for byte in data)
    good = "YES" if _crc(data[:8]) == data[8] else "NO"
    milli_c = int.from_bytes(data[:2], "little", signed=True) * 1000 // 16
    return f"{row} : crc={data[8]:02x} {good}\n{row} t={milli_c}\n".encode()


class OneWireFolder:
    """The bus: devices appear, change and vanish."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def show(self, device: str, text: bytes) -> None:
        """Make *device* say *text* from now on."""
        place = self.folder / device
        place.mkdir(parents=True, exist_ok=True)
        part = place / "part"
        part.write_bytes(text)
        part.replace(place / "w1_slave")

    def remove(self, device: str) -> None:
        """Unplug *device*."""
        (self.folder / device / "w1_slave").unlink()
        (self.folder / device).rmdir()


def _crc(data: bytes) -> int:
    register = 0
    for byte in data:
        for position in range(8):
            feedback = (register & 1) ^ ((byte >> position) & 1)
            register >>= 1
            if feedback:
                register ^= 0b1000_1100  # x^5 and x^4, and x^8 as the bit that comes back in
    return register
