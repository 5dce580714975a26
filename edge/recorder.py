"""The asyncio door of the outbox: `record` returns when its records are on disk. Commits are shared.

Readings wait a bounded moment for company, so that many sensors cost one fsync; whoever brings an event makes the
group go at once, and whoever comes while a commit is under way joins the next one. All outbox writes run in one
thread of their own; the event loop never waits for the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from telemetry.messages import Event, Reading
from telemetry.outbox import Outbox, OutboxError, OutboxFull

QUEUE_MAX = 10_000
GROUP_MAX = 1_000
DELAY_S = 0.05


@dataclass
class _Entry:
    readings: Sequence[Reading]
    events: Sequence[Event]
    state: Mapping[str, str | None]
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def settle(self, error: OutboxError | None) -> None:
        """Tell the waiting caller; on a full disk only those whose readings were not kept."""
        if self.done.done():
            return
        if error is None or (isinstance(error, OutboxFull) and not self.readings):
            self.done.set_result(None)
        elif isinstance(error, OutboxFull):
            self.done.set_exception(OutboxFull(len(self.readings)))
        else:
            self.done.set_exception(error)


class Recorder:
    """Run `run()` as a task; `wake` is called after each commit, *synced* says whether the clock is right."""

    def __init__(
        self,
        outbox: Outbox,
        wake: Callable[[], None],
        *,
        delay_s: float = DELAY_S,
        synced: Callable[[], bool] = lambda: True,
    ) -> None:
        self._outbox = outbox
        self._wake = wake
        self._delay_s = delay_s
        self._synced = synced
        self._queue: asyncio.Queue[_Entry] = asyncio.Queue(QUEUE_MAX)
        self._urgent = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._committing: asyncio.Future[None] | None = None
        self._ended = False
        self.commits = 0
        self.committed_readings = 0
        self.committed_events = 0

    async def record(
        self,
        readings: Sequence[Reading] = (),
        events: Sequence[Event] = (),
        state: Mapping[str, str | None] | None = None,
    ) -> None:
        """Return when all of it is on disk, in one transaction.

        Raises OutboxFull when only the readings found no room, another OutboxError when nothing was kept.
        """
        if self._ended:
            raise OutboxError("the box is stopping: nothing is recorded any more")
        if events and not self._synced():
            events = [event.model_copy(update={"clock_synced": False}) for event in events]
        entry = _Entry(readings, events, state or {})
        await self._queue.put(entry)
        if events or self._queue.qsize() >= GROUP_MAX:
            self._urgent.set()
        await entry.done

    async def run(self) -> None:
        """Commit until cancelled; what was already queued is still committed then."""
        try:
            while True:
                first = await self._queue.get()
                await self._commit(await self._gather(first))
        finally:
            self._ended = True
            if self._committing is not None:
                await asyncio.wait([self._committing])
            while not self._queue.empty():
                await asyncio.shield(self._start(self._fill([])))

    async def _gather(self, first: _Entry) -> list[_Entry]:
        """Wait a moment for more, unless there is an event; never longer than the bound."""
        group = [first]
        try:
            if self._delay_s and not first.events:
                await asyncio.wait_for(self._urgent.wait(), self._delay_s)
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            await asyncio.shield(self._start(self._fill(group)))
            raise
        self._urgent.clear()
        return self._fill(group)

    def _fill(self, group: list[_Entry]) -> list[_Entry]:
        while len(group) < GROUP_MAX and not self._queue.empty():
            group.append(self._queue.get_nowait())
        return group

    async def _commit(self, group: list[_Entry]) -> None:
        await asyncio.shield(self._start(group))

    def _start(self, group: list[_Entry]) -> asyncio.Future[None]:
        """Begin a commit that goes on to its end even if whoever waits for it is cancelled."""
        self._committing = asyncio.ensure_future(self._put(group))
        return self._committing

    async def _put(self, group: list[_Entry]) -> None:
        readings = [reading for entry in group for reading in entry.readings]
        events = [event for entry in group for event in entry.events]
        state = {key: value for entry in group for key, value in entry.state.items()}
        error: OutboxError | None = None
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._outbox.commit, readings, events, state)
        except OutboxError as caught:
            error = caught
        for entry in group:
            entry.settle(error)
        if error is None or isinstance(error, OutboxFull):
            self.commits += 1
            self.committed_events += len(events)
            self.committed_readings += 0 if error else len(readings)
            self._wake()

    def close(self) -> None:
        """Wait for the last commit."""
        self._thread.shutdown(wait=True)
