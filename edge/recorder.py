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
from telemetry.outbox import Outbox

QUEUE_MAX = 1_000
GROUP_MAX = 500


@dataclass
class _Entry:
    readings: Sequence[Reading]
    events: Sequence[Event]
    state: Mapping[str, str | None]
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Recorder:
    """Run `run()` as a task; `wake` is called after each commit."""

    def __init__(self, outbox: Outbox, wake: Callable[[], None]) -> None:
        self._outbox = outbox
        self._wake = wake
        self._queue: asyncio.Queue[_Entry] = asyncio.Queue(QUEUE_MAX)
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
        await entry.done

    async def run(self) -> None:
        """Commit until cancelled; what was already queued is still committed then."""
        try:
            while True:
                group = [await self._queue.get()]
                await self._commit(self._fill(group))
        finally:
            rest = self._fill([])
            if rest:
                await asyncio.shield(self._commit(rest))

    def _fill(self, group: list[_Entry]) -> list[_Entry]:
        while len(group) < GROUP_MAX and not self._queue.empty():
            group.append(self._queue.get_nowait())
        return group

    async def _commit(self, group: list[_Entry]) -> None:
        from telemetry.outbox import OutboxError

        readings = [reading for entry in group for reading in entry.readings]
        events = [event for entry in group for event in entry.events]
        state = {key: value for entry in group for key, value in entry.state.items()}
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._outbox.commit, readings, events, state)
        except OutboxError as error:
            for entry in group:
                if not entry.done.done():
                    entry.done.set_exception(error)
            return
        for entry in group:
            if not entry.done.done():
                entry.done.set_result(None)
        self._wake()

    def close(self) -> None:
        """Wait for the last commit."""
        self._thread.shutdown(wait=True)
