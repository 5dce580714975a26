"""The asyncio door of the outbox: `record` returns when its records are on disk. Commits are shared.

Whoever comes while a commit is under way joins the next one, so many sensors cost one fsync. All outbox writes run
in one thread of their own; the event loop never waits for the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from telemetry.messages import Event, Reading
from telemetry.outbox import Outbox, OutboxError

QUEUE_MAX = 1_000
GROUP_MAX = 500


@dataclass
class _Entry:
    readings: Sequence[Reading]
    events: Sequence[Event]
    state: Mapping[str, str | None]
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def fail(self, error: OutboxError) -> None:
        """Tell the waiter, unless it has gone."""
        if not self.done.done():
            self.done.set_exception(error)


class Recorder:
    """Run `run()` as a task; `wake` is called after each commit."""

    def __init__(self, outbox: Outbox, wake: Callable[[], None]) -> None:
        self._outbox = outbox
        self._wake = wake
        self._queue: asyncio.Queue[_Entry] = asyncio.Queue(QUEUE_MAX)
        self._ended = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")

    async def record(
        self,
        readings: Sequence[Reading] = (),
        events: Sequence[Event] = (),
        state: Mapping[str, str | None] | None = None,
    ) -> None:
        """Return when all of it is on disk, in one transaction; raises OutboxError when nothing was kept."""
        entry = _Entry(readings, events, state or {})
        await self._queue.put(entry)
        if self._ended:  # nobody will ever take it, nor the others that waited for a place in the queue
            self._refuse_queue()
        await entry.done

    async def run(self) -> None:
        """Commit until cancelled; what was already handed over is still committed then, however much it is."""
        commit: asyncio.Task[None] | None = None
        try:
            while True:
                group = [await self._queue.get()]
                commit = asyncio.create_task(self._commit(self._fill(group)), name="commit")
                await asyncio.shield(commit)  # a commit under way is finished, never torn from its waiters
        except asyncio.CancelledError:
            if commit is not None:
                await commit
            while rest := self._fill([]):
                await self._commit(rest)
            raise
        finally:
            self._ended = True
            self._refuse_queue()

    def _fill(self, group: list[_Entry]) -> list[_Entry]:
        while len(group) < GROUP_MAX and not self._queue.empty():
            group.append(self._queue.get_nowait())
        return group

    def _refuse_queue(self) -> None:
        while rest := self._fill([]):
            for entry in rest:
                entry.fail(OutboxError("the recorder has stopped; nothing was kept"))

    async def _commit(self, group: list[_Entry]) -> None:
        readings = [reading for entry in group for reading in entry.readings]
        events = [event for entry in group for event in entry.events]
        state = {key: value for entry in group for key, value in entry.state.items()}
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._outbox.commit, readings, events, state)
        except OutboxError as error:
            for entry in group:
                entry.fail(OutboxError(str(error)))
            return
        except BaseException as error:
            for entry in group:  # whoever waits learns it; the fault itself ends the recorder and with it the box
                entry.fail(OutboxError(f"the outbox failed: {type(error).__name__}: {error}"))
            raise
        for entry in group:
            if not entry.done.done():
                entry.done.set_result(None)
        self._wake()

    def close(self) -> None:
        """Wait for the last commit."""
        self._thread.shutdown(wait=True)
