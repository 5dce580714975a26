"""Between the MQTT library's network thread and the event loop: a bounded queue that wakes the loop once for many.

What always holds: nothing put in is lost, and memory is bounded; when the queue is full the network thread waits, so
that TCP slows the broker down.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from dataclasses import dataclass

MESSAGES_MAX = 5_000
BYTES_MAX = 16 * 1024 * 1024


@dataclass(slots=True)
class Message:
    """A message as it came; ``connection`` counts the connects, ``at_s`` is the box's time of arrival."""

    topic: str
    payload: bytes
    qos: int
    mid: int
    dup: bool
    retain: bool
    connection: int
    at_s: float


class Inbox:
    """Make it on the event loop; `put` from the network thread, `take` on the loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._closed = False
        self._room = threading.Condition()
        self._filled = asyncio.Event()

    def put(self, message: Message) -> None:
        """Add a message; waits for room. After `close` messages are let go: they were never acknowledged."""
        with self._room:
            while not self._closed and (len(self._messages) >= MESSAGES_MAX or self._bytes >= BYTES_MAX):
                self._room.wait()
            if self._closed:
                return
            self._messages.append(message)
            self._bytes += len(message.payload)
            if len(self._messages) > 1:
                return
            self._loop.call_soon_threadsafe(self._filled.set)

    async def take(self, count_max: int, timeout_s: float) -> list[Message]:
        """The oldest messages, at least one unless *timeout_s* passes."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._filled.wait()
        except TimeoutError:
            return []
        with self._room:
            found = [self._messages.popleft() for _ in range(min(count_max, len(self._messages)))]
            self._bytes -= sum(len(message.payload) for message in found)
            if not self._messages:
                self._filled.clear()
            self._room.notify_all()
        return found

    def close(self) -> None:
        """Let a waiting network thread go."""
        with self._room:
            self._closed = True
            self._room.notify_all()
