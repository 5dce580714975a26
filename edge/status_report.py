"""The box's sign of life: every few minutes one event that says what it runs and what waits.

It goes the way of all events, signed and numbered, so that the centre misses it when the box, its disk or its line is
gone; a centre that hears nothing for several of them raises an alert.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import version

from edge.clock import BoxClock, clock_error_ms
from edge.config import EdgeConfig
from edge.rules import new_id
from telemetry.messages import Event, Scalar
from telemetry.outbox import Outbox
from telemetry.spool import EvidenceSpool

FIRST_S = 20.0  # a box that fails at once and is started over and over tells nothing of the kind
INTERVAL_S = 300.0
Record = Callable[[Sequence[Event], dict[str, str | None]], Awaitable[None]]


class StatusReporter:
    """``run`` is a supervised service. *released* tells which releases are in force."""

    def __init__(
        self,
        box_id: str,
        outbox: Outbox,
        spool: EvidenceSpool,
        clock: BoxClock,
        config: EdgeConfig,
        record: Record,
        released: Callable[[], Mapping[str, Scalar | list[str]]] = dict,
        *,
        first_s: float = FIRST_S,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._box_id = box_id
        self._outbox = outbox
        self._spool = spool
        self._clock = clock
        self._config = config
        self._record = record
        self._released = released
        self._first_s = first_s
        self._interval_s = interval_s

    async def run(self) -> None:
        """Until cancelled. Raises OutboxError."""
        await asyncio.sleep(self._first_s)
        while True:
            await self._record([self._event(await asyncio.to_thread(self._facts))], {})
            await asyncio.sleep(self._interval_s)

    def _facts(self) -> dict[str, Scalar | list[str]]:
        """Backlog in records and files, what was lost or refused since the box was made, the clock, what it runs."""
        status = self._outbox.status()
        return {
            "kind": "heartbeat",
            "version": version("brightline"),
            "config_sha256": self._config.sha256,
            **self._released(),
            "sensors": len(self._config.sensors),
            "cameras": len(self._config.cameras),
            "clock_synced": self._clock.synced(),
            "clock_error_ms": clock_error_ms(),
            "pending_events": status.lanes["events"].pending_records,
            "pending_readings": status.lanes["readings"].pending_records,
            "pending_files": len(self._spool.waiting()),
            "evicted": sum(lane.evicted for lane in status.lanes.values()),
            "refused": sum(lane.refused for lane in status.lanes.values()),
            "dead_letters": status.dead_letters,
        }

    def _event(self, facts: dict[str, Scalar | list[str]]) -> Event:
        name = new_id()
        return Event(
            event_id=name, incident_id=name, type="box_status", severity="info", source_id=self._box_id,
            at=self._clock.now(), data=facts,
        )  # fmt: skip
