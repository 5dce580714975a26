"""Tells open pages that an alert changed. A page that does not keep up is cut off and reconnects by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from server.models import Alert, User

QUEUE_MAX = 100
HEARTBEAT_S = 15.0


@dataclass(frozen=True)
class Change:
    """What is told of a changed alert; enough to decide who may hear of it."""

    alert_id: int
    site_id: int
    state: str

    @classmethod
    def of(cls, alert: Alert) -> Change:
        return cls(alert.id, alert.site_id, alert.state)


class Broadcaster:
    """Fans changes out to subscribers; `publish` may be called from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._subscribers: dict[asyncio.Queue[Change | None], int | None] = {}

    def publish(self, changes: Iterable[Change]) -> None:
        """Tell everyone who may know; call it after the commit."""
        for change in changes:
            self._loop.call_soon_threadsafe(self._fan_out, change)

    def _fan_out(self, change: Change) -> None:
        for queue, site_id in list(self._subscribers.items()):
            if site_id is not None and site_id != change.site_id:
                continue
            if queue.qsize() >= QUEUE_MAX:
                del self._subscribers[queue]
                queue.put_nowait(None)
            else:
                queue.put_nowait(change)

    def close(self) -> None:
        """End all streams, so that the server can stop."""
        for queue in self._subscribers:
            queue.put_nowait(None)
        self._subscribers.clear()

    async def stream(self, viewer_site_id: int | None) -> AsyncIterator[str]:
        """Server-sent events (HTML standard, 9.2) for one page."""
        queue: asyncio.Queue[Change | None] = asyncio.Queue()
        self._subscribers[queue] = viewer_site_id
        try:
            yield "retry: 2000\n\n"
            while True:
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


def viewer_site(user: User) -> int | None:
    """The only site whose changes this person hears of, or None for all."""
    return user.site_id if user.role == "staff" else None
