"""The asyncio door of the outbox: `record` returns when its records are on disk. Commits are shared.

Readings wait a bounded moment for company, so that many sensors cost one fsync; whoever brings an event makes the
group go at once, and whoever comes while a commit is under way joins the next one. All outbox writes run in one
thread of their own; the event loop never waits for the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from telemetry.messages import Event, Reading
from telemetry.outbox import Outbox, OutboxError, OutboxFull

QUEUE_MAX = 2_000
GROUP_MAX = 1_000
DELAY_S = 0.05
COMPANY_ENOUGH = 100  # so many readings at once are worth an fsync of their own


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
            self.done.set_exception(OutboxError(str(error)))


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
        self._ended = False
        self.commits = 0

    async def record(
        self,
        readings: Sequence[Reading] = (),
        events: Sequence[Event] = (),
        state: Mapping[str, str | None] | None = None,
    ) -> None:
        """Return when all of it is on disk, in one transaction.

        Raises OutboxFull when only the readings found no room, another OutboxError when nothing was kept.
        """
        if events and not self._synced():
            events = [event.model_copy(update={"clock_synced": False}) for event in events]
        entry = _Entry(readings, events, state or {})
        await self._queue.put(entry)
        if events or self._queue.qsize() >= GROUP_MAX:
            self._urgent.set()
        if self._ended:  # nobody will ever take it, nor the others that waited for a place in the queue
            self._refuse_queue()
        await entry.done

    async def run(self) -> None:
        """Commit until cancelled; what was already handed over is still committed then, however much it is."""
        group: list[_Entry] = []
        commit: asyncio.Task[None] | None = None
        try:
            while True:
                group = [await self._queue.get()]
                await self._wait_for_company(group[0])
                self._fill(group)
                commit = asyncio.create_task(self._commit(group), name="commit")
                group = []
                await asyncio.shield(commit)  # a commit under way is finished, never torn from its waiters
        except asyncio.CancelledError:
            if commit is not None:
                await commit
            while self._fill(group):
                await self._commit(group)
                group = []
            raise
        finally:
            self._ended = True
            self._refuse_queue()

    async def _wait_for_company(self, first: _Entry) -> None:
        """A bounded moment for more, unless there is an event or company already."""
        if self._delay_s and not first.events and len(first.readings) < COMPANY_ENOUGH:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._delay_s):
                    await self._urgent.wait()
        self._urgent.clear()

    def _fill(self, group: list[_Entry]) -> list[_Entry]:
        while len(group) < GROUP_MAX and not self._queue.empty():
            group.append(self._queue.get_nowait())
        return group

    def _refuse_queue(self) -> None:
        while rest := self._fill([]):
            for entry in rest:
                entry.settle(OutboxError("the recorder has stopped; nothing was kept"))

    async def _commit(self, group: list[_Entry]) -> None:
        readings = [reading for entry in group for reading in entry.readings]
        events = [event for entry in group for event in entry.events]
        state = {key: value for entry in group for key, value in entry.state.items()}
        error: OutboxError | None = None
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._outbox.commit, readings, events, state)
        except OutboxError as caught:
            error = caught
        except BaseException as fault:
            for entry in group:  # whoever waits learns it; the fault itself ends the recorder and with it the box
                entry.settle(OutboxError(f"the outbox failed: {type(fault).__name__}: {fault}"))
            raise
        for entry in group:
            entry.settle(error)
        if error is None or isinstance(error, OutboxFull):
            self.commits += 1
            self._wake()

    def close(self) -> None:
        """Wait for the last commit."""
        self._thread.shutdown(wait=True)
