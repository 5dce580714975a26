"""Sends what waits, for as long as the server runs. Several replicas may: a channel is leased to one at a time.

Nothing here holds a transaction while it waits for the outside, and nothing that people or boxes do waits for this.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from server.background import background
from server.database import writing
from server.models_notification import NotificationMessage
from server.notification import messages, webhook
from server.notification.egress import Egress
from server.notification.outbox import fan_out, has_waiting
from server.notification.port import Message, Notifier, Recipient, Undelivered
from server.notification.settings import NotificationSettings, Webhook

logger = logging.getLogger(__name__)
POLL_S = 1.0
SENDERS_MAX = 8
EVENTS_AT_ONCE_MAX = 50
Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


class Worker:
    """One replica's hands. ``clock`` gives the time in UTC."""

    def __init__(
        self,
        engine: Engine,
        settings: NotificationSettings,
        notifiers: Collection[Notifier],
        egress: Egress,
        clock: Clock = utc_now,
    ) -> None:
        self.name = uuid.uuid4().hex
        self._engine = engine
        self._settings = settings
        self._notifiers = {kind: notifier for notifier in notifiers for kind in notifier.kinds}
        self._egress = egress
        self._clock = clock
        self._stopping = threading.Event()
        self._failing = False
        self._ready = False

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        with Session(writing(self._engine), expire_on_commit=False) as db, db.begin():
            yield db

    def spread(self) -> int:
        """Deal with the changes that wait; how many there were. Nobody who writes is held up where there are none."""
        with Session(self._engine) as db:
            if not has_waiting(db):
                return 0
        with self._transaction() as db:
            return fan_out(db, self._settings.rules, self._clock())

    def due(self) -> tuple[list[int], list[Webhook]]:
        """The channels and platforms that something is to be sent to now."""
        now = self._clock()
        with Session(self._engine) as db:
            return messages.due_channels(db, now), webhook.due_hooks(db, self._settings.webhooks, now)

    def serve_channel(self, channel_id: int) -> int:
        """Send what the channel is to get now, in order, up to the first failure; how many messages arrived."""
        now = self._clock()
        with self._transaction() as db:
            if not messages.take_lease(db, channel_id, self.name, now, self._settings.lease_s):
                return 0
            waiting = messages.prepare(db, channel_id, self._settings.rules, now)
        sent = 0
        for message_id in waiting:
            if self._stopping.is_set() or not self._send(channel_id, message_id):
                break
            sent += 1
        with self._transaction() as db:
            messages.drop_lease(db, channel_id, self.name)
        return sent

    def _send(self, channel_id: int, message_id: int) -> bool:
        """One try, recorded; whether the next message of the channel may follow."""
        now = self._clock()
        with self._transaction() as db:
            if not messages.take_lease(db, channel_id, self.name, now, self._settings.lease_s):
                return False
            message = messages.begin_try(db, message_id, now)
            channel = message.channel if message else None
        if message is None or channel is None:
            return True
        try:
            self._hand_over(message, Recipient(channel.kind, channel.address))
        except Undelivered as error:
            with self._transaction() as db:
                messages.note_failed(
                    db, message_id, error.reason, self._clock(), final=error.final, retry_after_s=error.retry_after_s
                )
            if channel.failures == 0:
                logger.warning("a %s channel (%d) takes nothing: %s", channel.kind, channel_id, error.reason)
            return error.final and error.reason != "gone"
        with self._transaction() as db:
            messages.note_sent(db, message_id, self._clock())
        if channel.failures:
            logger.warning("channel %d takes messages again", channel_id)
        return True

    def _hand_over(self, message: NotificationMessage, recipient: Recipient) -> None:
        notifier = self._notifiers.get(recipient.kind)
        if notifier is None:
            raise Undelivered("not_set_up", final=True)
        link = message.path  # a browser knows where it subscribed; elsewhere a path alone leads nowhere
        if recipient.kind != "push":
            link = self._settings.public_url + message.path if self._settings.public_url else ""
        notifier.send(
            Message(
                message.idempotency_key,
                message.thread,
                message.subject,
                message.body,
                link,
                messages.is_urgent(message),
            ),
            recipient,
        )

    def serve_hook(self, hook: Webhook) -> int:
        """Send a platform its next events, up to the first failure; how many arrived."""
        sent = 0
        while sent < EVENTS_AT_ONCE_MAX and not self._stopping.is_set():
            with self._transaction() as db:
                change = webhook.take_next(db, hook, self.name, self._clock(), self._settings.lease_s)
            if change is None or change.position is None:
                break
            body, headers = webhook.sealed(change, hook, self.source, self._clock())
            try:
                self._egress.post(hook.url, body, headers)
            except Undelivered as error:
                with self._transaction() as db:
                    webhook.note_undelivered(
                        db, hook, change, error.reason, self._clock(), retry_after_s=error.retry_after_s
                    )
                break
            with self._transaction() as db:
                webhook.note_delivered(db, hook, change.position, self._clock())
            sent += 1
        with self._transaction() as db:
            webhook.drop_lease(db, hook, self.name)
        return sent

    @property
    def source(self) -> str:
        """What the feed's events name as where they come from."""
        return self._settings.public_url or webhook.DEFAULT_SOURCE

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run while entered; leaving waits for the message that is on its way, which has a time-out."""
        async with background(self.run(), "notices"):
            yield

    async def run(self) -> None:
        """Send until cancelled."""
        loop = asyncio.get_running_loop()
        flying: dict[str, Future[int]] = {}
        with ThreadPoolExecutor(1, "notices") as desk, ThreadPoolExecutor(SENDERS_MAX, "notice") as senders:
            try:
                while True:
                    flying = {name: future for name, future in flying.items() if not self._landed(future)}
                    busy = await loop.run_in_executor(desk, self._launch, senders, flying)
                    if not busy:
                        await asyncio.sleep(POLL_S)
            finally:
                self._stopping.set()

    def _launch(self, senders: ThreadPoolExecutor, flying: dict[str, Future[int]]) -> int:
        """Start what can be started; how many changes were dealt with."""
        try:
            if not self._ready:
                with self._transaction() as db:
                    webhook.ensure_cursors(db, self._settings.webhooks)
                self._ready = True
            spread = self.spread()
            channels, hooks = self.due()
        except Exception as error:  # noqa: BLE001 - the supervisor of this task: any fault becomes a retry
            self._tell(error)
            return 0
        self._failing = False
        for channel_id in channels:
            if f"channel {channel_id}" not in flying:
                flying[f"channel {channel_id}"] = senders.submit(self.serve_channel, channel_id)
        for hook in hooks:
            if f"hook {hook.name}" not in flying:
                flying[f"hook {hook.name}"] = senders.submit(self.serve_hook, hook)
        return spread

    def _landed(self, future: Future[int]) -> bool:
        if not future.done():
            return False
        error = future.exception()
        if isinstance(error, Exception):  # its lease ends by itself, and then it is tried again
            self._tell(error)
        return True

    def _tell(self, error: Exception) -> None:
        """Once; without its text, which may hold an address."""
        if not self._failing:
            self._failing = True
            logger.error("notices wait, something failed here: %s", type(error).__name__)
