"""A line between box and centre that misbehaves by a seeded plan: it delays, cuts, resets, swallows what it carries."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading

from tests.telemetry.tcp_proxy import Fault, TcpProxy

FAULTS: tuple[Fault, ...] = ("none", "delay", "cut_answer", "reset_request")
AFTER_BYTES_MAX = 6_000
CHANGE_S = (0.1, 0.6)


class BadLine:
    """The proxy on an event loop in a thread of its own. Each change hangs up all that is open."""

    def __init__(self, target_port: int, chance: random.Random) -> None:
        self._target_port = target_port
        self._chance = chance
        self._ready = threading.Event()
        self._stop: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self._proxy: TcpProxy
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.port = 0
        self.changes = 0
        self._restless = False

    def set(self, fault: Fault) -> None:
        """One fault for all connections from now on, until further notice."""
        self._restless = False
        self._loop.call_soon_threadsafe(self._change, fault, 0)

    def misbehave(self) -> None:
        """Change by chance from now on."""
        self._restless = True

    @property
    def connections(self) -> int:
        return self._proxy.connections

    def _change(self, fault: Fault, after_bytes: int) -> None:
        self._proxy.fault, self._proxy.fault_after_bytes = fault, after_bytes
        self._proxy.hang_up()
        self.changes += 1

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with TcpProxy(self._target_port).listening() as proxy:
            self._proxy = proxy
            self.port = int(proxy.url.rpartition(":")[2])
            self._ready.set()
            while not self._stop.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._chance.uniform(*CHANGE_S)):
                        await self._stop.wait()
                if self._restless:
                    self._change(self._chance.choice(FAULTS), self._chance.randrange(AFTER_BYTES_MAX))

    def __enter__(self) -> BadLine:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
