"""Watches the box's clock and tells the centre when it was put right, so that times told before can be mended."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence

from edge.clock import STATE_KEY, BoxClock, ClockStep
from telemetry.messages import Event

logger = logging.getLogger(__name__)
POLL_S = 1.0
Record = Callable[[Sequence[Event], dict[str, str | None]], Awaitable[None]]


class Timekeeper:
    """Run `run()` as a task. *shift* moves the running timers of the rules; it gives the states that changed."""

    def __init__(
        self,
        clock: BoxClock,
        box_id: str,
        record: Record,
        shift: Callable[[ClockStep], Mapping[str, str | None]],
        poll_s: float = POLL_S,
    ) -> None:
        self._clock = clock
        self._box_id = box_id
        self._record = record
        self._shift = shift
        self._poll_s = poll_s

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await self.poll()
            await asyncio.sleep(self._poll_s)

    async def poll(self) -> None:
        """One look at the clock; the step, the moved timers and the clock's new state are one commit."""
        step = self._clock.poll()
        if step is None:
            return
        logger.warning("the clock was put right by %+.1f s", step.offset_s)
        event = self._clock.correction(step, self._box_id, uuid.uuid4().hex)
        await self._record([event], {**self._shift(step), STATE_KEY: self._clock.dump()})
