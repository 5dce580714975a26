"""How fast the box sends: a cap in bytes per second, and requests no larger than what the centre takes in 0.15 s.

A request in flight cannot be overtaken on a thin line, so its size is bound by time: the way stays free for events.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

REQUEST_S = 0.15  # events wait for at most one such request at the centre, and for its write lock
REQUEST_BYTES_MIN = 8 * 1024
REQUEST_BYTES_MAX = 2 * 1024 * 1024
REQUEST_BYTES_FIRST = 64 * 1024
CHUNK_S = 0.05
CHUNK_BYTES_MIN = 512


class Pace:
    """Shared by all requests of a box; without *bytes_per_s* only the size of requests is bound."""

    def __init__(self, bytes_per_s: int | None = None) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_at_s = 0.0  # when the line has carried all that was spent
        self._request_bytes = REQUEST_BYTES_FIRST

    @property
    def is_capped(self) -> bool:
        return self._bytes_per_s is not None

    @property
    def request_bytes(self) -> int:
        """How large the next request may be."""
        cap = REQUEST_BYTES_MAX if self._bytes_per_s is None else int(self._bytes_per_s * REQUEST_S)
        return max(REQUEST_BYTES_MIN, min(self._request_bytes, cap))

    def learn(self, size_bytes: int, took_s: float) -> None:
        """A request of so many bytes took so long: grow or shrink the next one, at most twofold."""
        fitting = size_bytes / max(took_s, 1e-3) * REQUEST_S
        if fitting < self._request_bytes:
            self._request_bytes = max(REQUEST_BYTES_MIN, int(max(fitting, self._request_bytes / 2)))
        elif size_bytes * 2 > self._request_bytes:  # a small request proves nothing about large ones
            self._request_bytes = min(REQUEST_BYTES_MAX, int(min(fitting, self._request_bytes * 2)))

    def spend(self, size_bytes: int) -> float:
        """Count bytes against the cap; gives how long to wait before they may go."""
        if self._bytes_per_s is None:
            return 0.0
        now = time.monotonic()
        wait_s = max(0.0, self._free_at_s - now)
        self._free_at_s = now + wait_s + size_bytes / self._bytes_per_s
        return wait_s

    async def spread(self, body: bytes) -> AsyncIterator[bytes]:
        """The body in pieces, each when the cap allows it."""
        assert self._bytes_per_s is not None
        size = max(CHUNK_BYTES_MIN, int(self._bytes_per_s * CHUNK_S))
        for start in range(0, len(body), size):
            piece = body[start : start + size]
            await asyncio.sleep(self.spend(len(piece)))
            yield piece
