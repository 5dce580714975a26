"""Carries the outbox to the centre: nothing leaves it without a receipt, and nothing old holds up what is new.

Four senders work beside each other, each with one request in flight at most:
- events, which wait for nobody and no bandwidth cap;
- evidence;
- live readings: whatever was sealed since the sender last had everything, so that they stay under two seconds behind;
- backfill: older readings, oldest first, marked historical, in requests of 0.15 s, with pauses in between.

A failure keeps everything and is retried for ever with full jitter. A request that the centre refuses whole is cut
in half until the bad batch stands alone; only that one is set aside, with the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from telemetry.backoff import Backoff, Reach
from telemetry.messages import Lane, Receipt
from telemetry.outbox import Outbox, OutboxError, Pending
from telemetry.pace import Pace
from telemetry.spool import EvidenceSpool, picture_of
from telemetry.uplink import (
    TIMEOUT_S,
    Answer,
    HttpsUplink,
    Uplink,
    UplinkRefused,
    UplinkSettings,
    UplinkUnavailable,
)

logger = logging.getLogger(__name__)
RECORDS_MAX = 2_500  # the centre stores them in one transaction, which others wait for
BACKOFF_S_MAX = 30.0
IDLE_S = 5.0  # how long new work may wait if a wake-up was missed
LIVE_INTERVAL_S = 0.9  # readings of so long share a request: most of what an idle box costs
LIVE_INTERVAL_S_BUSY = 0.5  # beside a backlog each request takes longer, and the box is not idle anyway
BACKFILL_SHARE = 0.8  # of the time; the rest is the centre's and the line's to breathe
ASK_MISSING_S = 600.0
Result = TypeVar("Result")


class Forwarder:
    """Run `run()` as a task; call `wake_for_records()` after each commit, `wake()` for new evidence."""

    def __init__(
        self,
        outbox: Outbox,
        spool: EvidenceSpool,
        base_url: str,
        *,
        ca_file: Path | None = None,
        pins: tuple[str, ...] = (),
        proxy: str | None = None,
        bandwidth_bytes_per_s: int | None = None,
        backfill_share: float = BACKFILL_SHARE,
        backoff_s_max: float = BACKOFF_S_MAX,
        ask_missing_s: float = ASK_MISSING_S,
        live_interval_s: float = LIVE_INTERVAL_S,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._outbox = outbox
        self._spool = spool
        self._settings = UplinkSettings(base_url, ca_file, pins, proxy, timeout_s)
        self._pace = Pace(bandwidth_bytes_per_s)
        self._backfill_share = backfill_share
        self._backoff_s_max = backoff_s_max
        self._ask_missing_s = ask_missing_s
        self._live_interval_s = live_interval_s
        self._live_after_id = 0  # batches up to this id are backfill
        self._backlog_empty = False
        self._asked_at_s = float("-inf")
        self._reach = Reach()
        self._work = {name: asyncio.Event() for name in ("events", "evidence", "live", "backfill")}
        self.sent_bytes = 0

    @property
    def failures(self) -> int:
        """Requests that failed since the start."""
        return self._reach.failures_ever

    @property
    def reached(self) -> bool:
        """Whether the centre took anything since the start."""
        return self._reach.reached_ever

    def wake(self) -> None:
        """Say that there is something new to send, whatever it is."""
        for work in self._work.values():
            work.set()

    def wake_for_records(self) -> None:
        """Say that records were committed: the other two senders need not look each time, of which a box has many."""
        self._work["events"].set()
        self._work["live"].set()

    async def run(self) -> None:
        """Forward until cancelled."""
        self._live_after_id = await _in_thread(partial(self._outbox.newest_id, "readings"))
        async with HttpsUplink(self._settings, self._pace) as uplink:
            senders = {
                "events": self._send_events,
                "evidence": self._send_evidence,
                "live": self._send_live,
                "backfill": self._send_backfill,
            }
            tasks = [
                asyncio.create_task(self._repeat(self._work[name], partial(send, uplink)), name=f"send {name}")
                for name, send in senders.items()
            ]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _repeat(self, work: asyncio.Event, send: Callable[[], Awaitable[bool]]) -> None:
        """Call *send* while it gives true, then whenever there is work; wait after a failure."""
        backoff = Backoff(self._backoff_s_max)
        while True:
            work.clear()
            try:
                more = await send()
            except UplinkUnavailable as error:
                self._reach.lost(error)
                await backoff.wait(error.retry_after_s)
                continue
            except OutboxError as error:
                logger.error("%s", error)
                await backoff.wait()
                continue
            backoff.reset()
            if not more:
                await _wait_for(work, IDLE_S)

    async def _send_events(self, uplink: Uplink) -> bool:
        if not self._outbox.has_waiting("events"):
            return False
        return await self._send_some(uplink, await self._pending("events"), urgent=True) > 0

    async def _send_live(self, uplink: Uplink) -> bool:
        """Send what came since last time; if it is too much for one request, it is for the backfill."""
        started_s = time.monotonic()
        batches = await self._pending("readings", after_id=self._live_after_id)
        newest = await _in_thread(partial(self._outbox.newest_id, "readings"))
        if batches and batches[-1].id < newest:
            self._live_after_id = newest
            self._work["backfill"].set()
            batches = await self._pending("readings", after_id=newest)
        sent = await self._send_some(uplink, batches)
        if sent:
            interval_s = self._live_interval_s
            if not self._backlog_empty:
                interval_s = min(interval_s, LIVE_INTERVAL_S_BUSY)
            await asyncio.sleep(max(0.0, interval_s - (time.monotonic() - started_s)))
        return sent > 0

    async def _send_backfill(self, uplink: Uplink) -> bool:
        batches = await self._pending("readings", seal=False) if self._outbox.has_waiting("readings") else []
        batches = [batch for batch in batches if batch.id <= self._live_after_id]
        self._backlog_empty = not batches
        started_s = time.monotonic()
        size = await self._send_some(uplink, batches, historical=True)
        if size:
            took_s = time.monotonic() - started_s
            self._pace.learn(size, took_s)
            await asyncio.sleep(min(took_s, 5.0) * (1 / self._backfill_share - 1))
        return size > 0

    async def _pending(self, lane: Lane, after_id: int = 0, *, seal: bool = True) -> list[Pending]:
        limits = {"records_max": RECORDS_MAX, "bytes_max": self._pace.request_bytes}
        return await _in_thread(partial(self._outbox.pending, lane, **limits, after_id=after_id, seal=seal))

    async def _send_some(
        self, uplink: Uplink, batches: list[Pending], *, historical: bool = False, urgent: bool = False
    ) -> int:
        """Send batches and carry out the receipts; gives the bytes sent, 0 if there was nothing to send."""
        if not batches:
            return 0
        send = partial(uplink.send, historical=historical, urgent=urgent, ask_missing=self._wants_to_ask())
        answer = await self._send_bisecting(send, batches)
        named = {(receipt.epoch, receipt.lane, receipt.seq) for receipt in answer.receipts}
        for receipt in answer.receipts:
            if receipt.status == "rejected":
                logger.error("centre rejected %s batch %d: %s", receipt.lane, receipt.seq, receipt.reason)
        await _in_thread(partial(self._outbox.settle, answer.receipts))
        if not any((batch.epoch, batch.lane, batch.seq) in named for batch in batches):
            raise UplinkUnavailable("the centre's answer names none of the batches sent")
        self._reach.regained()
        if answer.missing:
            again = await _in_thread(partial(self._outbox.take_missing, answer.missing))
            logger.warning("the centre lacks %d ranges of batches; %d batches go again", len(answer.missing), again)
            self.wake()
        size = sum(len(batch.raw) for batch in batches)
        self.sent_bytes += size
        return size

    def _wants_to_ask(self) -> bool:
        """Ask for what is missing now and then, when all old readings are gone: before, the answer is known."""
        now_s = time.monotonic()
        if not self._backlog_empty or now_s - self._asked_at_s < self._ask_missing_s:
            return False
        self._asked_at_s = now_s
        return True

    async def _send_bisecting(
        self, send: Callable[[list[Pending]], Awaitable[Answer]], batches: list[Pending]
    ) -> Answer:
        try:
            return await send(batches)
        except UplinkRefused as error:
            if len(batches) == 1:
                return Answer(receipts=[await self._refusal(batches[0], error)])
        middle = len(batches) // 2
        first = await self._send_bisecting(send, batches[:middle])
        second = await self._send_bisecting(send, batches[middle:])
        return Answer(receipts=first.receipts + second.receipts, missing=first.missing + second.missing)

    async def _refusal(self, batch: Pending, error: UplinkRefused) -> Receipt:
        """The receipt of a batch that is refused alone; a sound batch refused for its signature is no poison."""
        from telemetry.batch import read_header

        if error.code == "signature" and await _in_thread(partial(self._outbox.is_sound, batch)):
            raise UplinkUnavailable("the centre knows another key for this box; enrol it again")
        header, _ = read_header(batch.raw)
        return Receipt(
            box_id=header.box_id,
            epoch=batch.epoch,
            lane=batch.lane,
            seq=batch.seq,
            status="rejected",
            reason=str(error)[:512],
        )

    async def _send_evidence(self, uplink: Uplink) -> bool:
        files = await _in_thread(self._spool.waiting)
        if not files:
            return False
        path = files[0]
        data = await _in_thread(path.read_bytes)
        try:
            await uplink.send_evidence(picture_of(path), data)
        except UplinkRefused as error:
            logger.error("centre refused evidence %s: %s", path.stem, error)
            await _in_thread(partial(self._spool.refuse, path))
        else:
            await _in_thread(partial(self._spool.delivered, path))
            self.sent_bytes += len(data)
        self._reach.regained()
        return True


async def _wait_for(work: asyncio.Event, timeout_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):  # wait_for may lose a cancellation in Python 3.11
            await work.wait()


async def _in_thread(call: Callable[[], Result]) -> Result:
    return await asyncio.get_running_loop().run_in_executor(None, call)
