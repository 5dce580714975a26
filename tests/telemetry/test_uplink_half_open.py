"""A line that died without a word costs one time-out, not one for each connection that was kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

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
        begun, answer = asyncio.Event(), asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                if b"slow" in await reader.readline():
                    begun.set()
                    await _answer_in_drops(writer, answer)
                await reader.read()
            finally:
                writer.close()

        async with (
            await asyncio.start_server(serve, "127.0.0.1", 0) as server,
            HttpsUplink(
                UplinkSettings(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout_s=TIMEOUT_S)
            ) as uplink,
        ):
            slow = asyncio.create_task(uplink.send_evidence("slow", b""))
            await begun.wait()
            with pytest.raises(UplinkUnavailable, match="ReadTimeout"):
                await uplink.send_evidence("dead", b"")
            assert not slow.done()
            answer.set()
            await slow

    asyncio.run(scenario())


async def _answer_in_drops(writer: asyncio.StreamWriter, answer: asyncio.Event) -> None:
    """Something comes all the time, so that no wait for it is a long one."""
    line, _, rest = ANSWER.partition(b"\r\n")
    writer.write(line + b"\r\n")
    while not answer.is_set():
        writer.write(b"x-still: here\r\n")
        with suppress(TimeoutError):
            await asyncio.wait_for(answer.wait(), TIMEOUT_S / 10)
    writer.write(rest)
