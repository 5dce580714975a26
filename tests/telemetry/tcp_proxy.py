"""A TCP proxy that misbehaves on purpose: it delays, cuts, resets or swallows connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

Fault = Literal["none", "delay", "cut_answer", "reset_request", "swallow"]
DELAY_S = 0.02
PIECE_BYTES = 512


class TcpProxy:
    """``fault`` holds for connections made from now on; ``fault_after_bytes`` pass first in the direction meant."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.fault: Fault = "none"
        self.fault_after_bytes = 2000
        self.connections = 0
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[TcpProxy]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            self.hang_up()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def hang_up(self) -> None:
        """Reset all connections that are open now."""
        for writer in list(self._open):
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        self.connections += 1
        fault = self.fault
        upstream: asyncio.StreamWriter | None = None
        try:
            far, upstream = await asyncio.open_connection("127.0.0.1", self._port)
            await asyncio.gather(
                self._pump(reader, upstream, writer, fault if fault != "cut_answer" else "none"),
                self._pump(far, writer, writer, fault if fault in ("cut_answer", "delay") else "none"),
            )
        except (OSError, asyncio.CancelledError):
            return
        finally:
            self._open.discard(writer)
            for side in (writer, upstream):
                if side is not None:
                    side.close()
            self._tasks.discard(task)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: asyncio.StreamWriter, fault: Fault
    ) -> None:
        passed = 0
        while data := await reader.read(PIECE_BYTES):
            passed += len(data)
            if passed > self.fault_after_bytes:
                if fault == "swallow":
                    continue  # the peer still acknowledges, but nobody is there: half-open
                if fault == "cut_answer":
                    client.close()
                    return
                if fault == "reset_request":
                    _reset(client)
                    return
            if fault == "delay":
                await asyncio.sleep(DELAY_S)
            writer.write(data)
            await writer.drain()
        writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    raw: socket.socket = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):  # it may be closed already
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
