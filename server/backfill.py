"""Old records wait when many boxes come back at once, so that new ones are taken first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from server.problems import Problem

REQUESTS_MAX = 2


class Backfill:
    """Counts the requests with historical records that this instance works on; used on the event loop only."""

    def __init__(self, requests_max: int = REQUESTS_MAX) -> None:
        self._requests_max = requests_max
        self._running = 0

    @contextmanager
    def entered(self, *, historical: bool) -> Iterator[None]:
        """While a request is worked on; raises Problem 503 for a historical one too many."""
        if not historical:
            yield
            return
        if self._running >= self._requests_max:
            raise Problem(503, "busy", "new records go first; send these again later")
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
