"""A line that died without a word costs one time-out, not one for each connection that was kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from telemetry.uplink import HttpsUplink, UplinkSettings, UplinkUnavailable

KEPT = 3
TIMEOUT_S = 1.0
ANSWER = b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n"


class HalfOpenCentre:
    """Answers the first KEPT requests together, so that each has its connection; then those connections are dead."""

    def __init__(self) -> None:
        self.connections = 0
        self._together = asyncio.Barrier(KEPT)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        dying = self.connections <= KEPT
        try:
            await reader.readuntil(b"\r\n\r\n")
            if dying:
                await self._together.wait()
            writer.write(ANSWER)
            while await reader.read(4096):
                if not dying:
                    writer.write(ANSWER)
        finally:
            writer.close()


def test_one_time_out_closes_all_kept_connections() -> None:
    async def scenario() -> None:
        centre = HalfOpenCentre()
        async with centre.listening() as url, HttpsUplink(UplinkSettings(url, timeout_s=TIMEOUT_S)) as uplink:
            await asyncio.gather(*(uplink.send_evidence("a", b"") for _ in range(KEPT)))
            with pytest.raises(UplinkUnavailable, match="ReadTimeout"):
                await uplink.send_evidence("a", b"")
            await uplink.send_evidence("a", b"")
        assert centre.connections == KEPT + 1

    asyncio.run(scenario())


def test_time_out_of_one_request_does_not_cut_another_that_is_under_way() -> None:
    async def scenario() -> None:
        waiting, answer = asyncio.Event(), asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            line = await reader.readline()
            try:
                if b"slow" in line:
                    waiting.set()
                    await answer.wait()
                    writer.write(ANSWER)
                await reader.read()
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with HttpsUplink(
            UplinkSettings(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout_s=TIMEOUT_S)
        ) as uplink:
            dead = asyncio.create_task(uplink.send_evidence("dead", b""))
            await asyncio.sleep(TIMEOUT_S / 2)  # the other begins later and so may wait longer
            slow = asyncio.create_task(uplink.send_evidence("slow", b""))
            await waiting.wait()
            with pytest.raises(UplinkUnavailable, match="ReadTimeout"):
                await dead
            answer.set()
            await slow
        server.close()

    asyncio.run(scenario())
