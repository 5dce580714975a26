"""A line whose open connections die without a word: nothing passes any more, and nobody is told that it ended.

As when a router loses its table or a cable is cut behind the switch: both ends still believe in the connection. New
connections pass. It runs on an event loop in a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading


class HalfOpenLine:
    """Connects to ``port`` on 127.0.0.1; `freeze` strikes what is open now."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._frozen = 0  # connections up to this number pass nothing on
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.port = 0
        self.connections = 0

    def freeze(self) -> int:
        """Strike what is open now; gives how many connections there have been."""
        self._frozen = self.connections
        return self._frozen

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            with contextlib.suppress(asyncio.CancelledError):
                await self._carry(reader, writer)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.port = int(server.sockets[0].getsockname()[1])
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.close()
            return
        try:
            await asyncio.gather(self._pump(reader, far_writer, number), self._pump(far_reader, writer, number))
        finally:
            for side in (writer, far_writer):
                side.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if number > self._frozen:
                    writer.write(data)
                    await writer.drain()
        if number <= self._frozen:
            await asyncio.Event().wait()  # the other end is not told that this one closed
        writer.close()

    def __enter__(self) -> HalfOpenLine:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
