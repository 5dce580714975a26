"""Tells open pages that an alert changed. A page that does not keep up is cut off and reconnects by itself.

A stream also ends after five minutes, so that somebody who logged out or whose session is over hears no more.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from fastapi.responses import StreamingResponse
from starlette.types import Message, Send

from server.models import Alert
from server.scope import Reach

QUEUE_MAX = 100
HEARTBEAT_S = 15.0
STREAM_LIFE_S = 300.0
STREAMS_MAX = 1000
SEND_S_MAX = 20.0


@dataclass(frozen=True)
class Change:
    """What is told of a changed alert; enough to decide who may hear of it."""

    alert_id: int
    site_id: int
    state: str
    region_path: str = ""  # of the site's region; empty when it has none

    @classmethod
    def of(cls, alert: Alert) -> Change:
        region = alert.site.region
        return cls(alert.id, alert.site_id, alert.state, region.path if region else "")


class Broadcaster:
    """Fans changes out to subscribers; `publish` may be called from any thread.

    *relayed*: the database tells the changes of all replicas, this one's too (server.relay); `publish` adds nothing.
    """

    def __init__(self, *, relayed: bool = False) -> None:
        self._relayed = relayed
        self._loop = asyncio.get_running_loop()
        self._subscribers: dict[asyncio.Queue[Change | None], Reach] = {}
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether no more pages may listen."""
        return len(self._subscribers) >= STREAMS_MAX

    def publish(self, changes: Iterable[Change]) -> None:
        """Tell everyone who may know; call it after the commit."""
        if self._relayed:
            return
        for change in changes:
            self._loop.call_soon_threadsafe(self.fan_out, change)

    def fan_out(self, change: Change) -> None:
        """Tell everyone who may know, from the event loop."""
        for queue, reach in list(self._subscribers.items()):
            if not reach.covers(change.site_id, change.region_path):
                continue
            if queue.qsize() >= QUEUE_MAX:
                del self._subscribers[queue]
                queue.put_nowait(None)
            else:
                queue.put_nowait(change)

    def close(self) -> None:
        """End all streams, also those that are asked for later, so that the server can stop."""
        self._closed = True
        self.end_streams()

    def end_streams(self) -> None:
        """End the streams that are open now: their pages reconnect and load anew."""
        for queue in self._subscribers:
            queue.put_nowait(None)
        self._subscribers.clear()

    async def stream(self, reach: Reach) -> AsyncIterator[str]:
        """Server-sent events (HTML standard, 9.2) for one page, of the sites within *reach*."""
        queue: asyncio.Queue[Change | None] = asyncio.Queue()
        self._subscribers[queue] = reach
        try:
            yield "retry: 2000\n\n"
            end = self._loop.time() + STREAM_LIFE_S
            while not self._closed and self._loop.time() < end:
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        change = await queue.get()
                except TimeoutError:
                    yield ": still here\n\n"
                    continue
                if change is None:
                    return
                data = json.dumps({"id": change.alert_id, "state": change.state})
                yield f"event: alert\ndata: {data}\n\n"
        finally:
            self._subscribers.pop(queue, None)


class EventStream(StreamingResponse):
    """The answer that carries a stream; a reader that takes nothing for 20 s is cut off."""

    media_type = "text/event-stream"

    async def stream_response(self, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(SEND_S_MAX):
                await send(message)

        try:
            await super().stream_response(send_in_time)
        except TimeoutError:
            return
