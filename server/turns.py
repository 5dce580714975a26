"""Who writes next: one thread at a time, events before live readings before the rest, each in order of arrival.

SQLite lets those who wait for its write lock look again now and then, each less often the longer it waits: a busy
backfill would hold up an event for seconds. What always holds: nobody is overtaken by who came later with the same
haste, and a turn ends with its block. Other processes (a second instance, a command) still meet at SQLite's lock.

Who has the turn may do small errands of others along with its own, in one transaction: so one sync of the disk is
enough for all boxes that wait, and a slow disk makes groups larger instead of queues longer.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Generic, TypeVar

TOGETHER_BYTES_MAX = 32 * 1024  # of the requests of one transaction: a few milliseconds of work
Result = TypeVar("Result")


class Haste(IntEnum):
    """Whose turn comes first."""

    EVENTS = 0
    USUAL = 1
    HISTORICAL = 2


@dataclass(eq=False)
class Errand(Generic[Result]):
    """What a thread that waits wants done. ``outcome``: empty, or what *work* gave once another thread had done it."""

    work: Callable[[Any], Result]
    size_bytes: int
    outcome: list[Result] = field(default_factory=list)


@dataclass(order=True)
class _Waiting:
    haste: Haste
    arrival: int
    called: threading.Event = field(compare=False, default_factory=threading.Event)
    errand: Errand[Any] | None = field(compare=False, default=None)
    carried: bool = field(compare=False, default=False)  # by another in its turn; it gets none of its own


class Turns:
    """Shared by all threads of one instance."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False
        self._arrivals = itertools.count()
        self._waiting: list[_Waiting] = []

    @property
    def waiting(self) -> int:
        """How many threads wait for their turn."""
        return len(self._waiting)

    @contextmanager
    def taken(self, haste: Haste = Haste.USUAL) -> Iterator[None]:
        """Wait for a turn and keep it while the block runs. Not to be taken again inside of it."""
        self._line_up(haste, None)
        try:
            yield
        finally:
            self._hand_over()

    @contextmanager
    def shared(self, errand: Errand[Any], haste: Haste = Haste.USUAL) -> Iterator[list[Errand[Any]]]:
        """As `taken`; gives the errands to be done in it, *errand* first.

        There are none to be done where another thread took *errand* along meanwhile, whether or not it could do it.
        """
        if self._line_up(haste, errand).carried:
            yield []
            return
        others = self._take_along(haste, errand)
        try:
            yield [errand, *(other.errand for other in others if other.errand is not None)]
        finally:
            for other in others:
                other.called.set()
            self._hand_over()

    def _line_up(self, haste: Haste, errand: Errand[Any] | None) -> _Waiting:
        with self._lock:
            mine = _Waiting(haste, next(self._arrivals), errand=errand)
            if self._taken:
                heapq.heappush(self._waiting, mine)
            else:
                self._taken = True
                mine.called.set()
        mine.called.wait()
        return mine

    def _take_along(self, haste: Haste, errand: Errand[Any]) -> list[_Waiting]:
        """Out of the line, the next errands of the same haste, until somebody comes who has none or too large a one."""
        left_bytes = TOGETHER_BYTES_MAX - errand.size_bytes
        others: list[_Waiting] = []
        with self._lock:
            while self._waiting and self._waiting[0].haste == haste:
                first = self._waiting[0]
                if first.errand is None or first.errand.size_bytes > left_bytes:
                    break
                left_bytes -= first.errand.size_bytes
                first.carried = True
                others.append(heapq.heappop(self._waiting))
        return others

    def _hand_over(self) -> None:
        with self._lock:
            if self._waiting:
                heapq.heappop(self._waiting).called.set()  # handed over: nobody can come between
            else:
                self._taken = False
