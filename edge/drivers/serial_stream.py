"""A serial line as a stream of bytes on the event loop, through pyserial. One owner: the port is opened exclusively."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

from edge.config_ports import SerialPort

READ_BYTES_MAX = 4096


class SerialStream:
    """Open it with ``async with``; `read` raises OSError when the line is gone."""

    def __init__(self, port: SerialPort) -> None:
        self._port = port
        self._serial: Any = None

    async def __aenter__(self) -> SerialStream:
        self._serial = await asyncio.to_thread(self._open)
        return self

    def _open(self) -> Any:
        import serial

        port = self._port
        if not port.device.exists():
            raise OSError(f"serial port {port.id}: {port.device} is not there; check the cable and the device name")
        return serial.Serial(
            str(port.device), port.baud, parity=port.parity, stopbits=port.stop_bits, timeout=0, exclusive=True
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._serial is not None:
            self._serial.close()
            self._serial = None

    async def read(self, timeout_s: float) -> bytes:
        """What has arrived, at least one byte; empty after *timeout_s*."""
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        descriptor = self._serial.fileno()
        loop.add_reader(descriptor, readable.set)
        try:
            async with asyncio.timeout(timeout_s):
                await readable.wait()
        except TimeoutError:
            return b""
        finally:
            loop.remove_reader(descriptor)
        try:
            return bytes(self._serial.read(READ_BYTES_MAX))
        except OSError as error:
            raise OSError(f"serial port {self._port.id}: {self._port.device} was lost") from error
