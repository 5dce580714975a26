"""Messages between the MQTT session and the driver: many are taken at once, so that they share a commit.

What always holds: nothing put in is lost, and memory is bounded: when it is full the session stops reading, so that
TCP slows the broker down.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
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
    """`put` and `take` on one event loop; `on_room` is called when messages were taken."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self.on_room: Callable[[], None] = lambda: None

    @property
    def is_full(self) -> bool:
        """Whether the session must stop reading; it may be over by what one read brought."""
        return len(self._messages) >= MESSAGES_MAX or self._bytes >= BYTES_MAX

    def put(self, message: Message) -> None:
        self._messages.append(message)
        self._bytes += len(message.payload)
        self._filled.set()

    async def take(self, count_max: int, timeout_s: float) -> list[Message]:
        """The oldest messages, at least one unless *timeout_s* passes."""
        if not self._messages:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._filled.wait()
            except TimeoutError:
                return []
        found = [self._messages.popleft() for _ in range(min(count_max, len(self._messages)))]
        self._bytes -= sum(len(message.payload) for message in found)
        if not self._messages:
            self._filled.clear()
        self.on_room()
        return found
