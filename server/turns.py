"""Who writes next: one thread at a time, events before live readings before the rest, each in order of arrival.

SQLite lets those who wait for its write lock look again now and then, each less often the longer it waits: a busy
backfill would hold up an event for seconds. What always holds: nobody is overtaken by who came later with the same
haste, and a turn ends with its block. Other processes (a second instance, a command) still meet at SQLite's lock.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum


class Haste(IntEnum):
    """Whose turn comes first."""

    EVENTS = 0
    USUAL = 1
    HISTORICAL = 2


class Turns:
    """Shared by all threads of one instance."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False
        self._arrivals = itertools.count()
        self._waiting: list[tuple[Haste, int, threading.Event]] = []

    @property
    def waiting(self) -> int:
        """How many threads wait for their turn."""
        return len(self._waiting)

    @contextmanager
    def taken(self, haste: Haste = Haste.USUAL) -> Iterator[None]:
        """Wait for a turn and keep it while the block runs. Not to be taken again inside of it."""
        with self._lock:
            called = threading.Event()
            if self._taken:
                heapq.heappush(self._waiting, (haste, next(self._arrivals), called))
            else:
                self._taken = True
                called.set()
        called.wait()
        try:
            yield
        finally:
            with self._lock:
                if self._waiting:
                    heapq.heappop(self._waiting)[2].set()  # handed over: nobody can come between
                else:
                    self._taken = False
