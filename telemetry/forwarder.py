"""Carries the outbox to the centre: events first, then evidence, then readings; nothing leaves without a receipt.

A failure keeps everything and is retried for ever with full jitter. A request that the centre refuses whole is
cut in half until the bad batch stands alone; only that one is set aside, with the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from telemetry.messages import Lane, Receipt
from telemetry.outbox import Outbox, Pending
from telemetry.spool import EvidenceSpool
from telemetry.uplink import HttpsUplink, UplinkRefused, UplinkUnavailable

logger = logging.getLogger(__name__)
RECORDS_MAX = 5_000
BYTES_MAX = 2 * 1024 * 1024
BACKOFF_S_MAX = 30.0
IDLE_S = 5.0  # how long new work may wait if a wake-up was missed
Result = TypeVar("Result")


class Uplink(Protocol):
    """Port: the way to the centre. Raises UplinkUnavailable or UplinkRefused."""

    async def send(self, batches: list[Pending]) -> list[Receipt]: ...

    async def send_evidence(self, sha256: str, data: bytes) -> None: ...


class Forwarder:
    """Run `run()` as a task; call `wake()` after each commit."""

    def __init__(
        self,
        outbox: Outbox,
        spool: EvidenceSpool,
        base_url: str,
        *,
        ca_file: Path | None = None,
        backoff_s_max: float = BACKOFF_S_MAX,
    ) -> None:
        self._outbox = outbox
        self._spool = spool
        self._base_url = base_url
        self._ca_file = ca_file
        self._backoff_s_max = backoff_s_max
        self._work = asyncio.Event()
        self._failures = 0

    def wake(self) -> None:
        """Say that there is something new to send."""
        self._work.set()

    async def run(self) -> None:
        """Forward until cancelled."""
        async with HttpsUplink(self._base_url, ca_file=self._ca_file) as uplink:
            while True:
                self._work.clear()
                pause_s = await self._attempt(uplink)
                if pause_s is None:
                    await self._wait_for_work()
                else:
                    await asyncio.sleep(pause_s)

    async def _wait_for_work(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE_S):  # wait_for may lose a cancellation in Python 3.11
                await self._work.wait()

    async def _attempt(self, uplink: Uplink) -> float | None:
        """Send all there is; returns the pause before the next try after a failure."""
        try:
            await self.drain(uplink)
        except UplinkUnavailable as error:
            self._failures += 1
            if self._failures == 1:
                logger.warning("centre unreachable, keeping everything: %s", error)
            ceiling = min(self._backoff_s_max, 0.5 * 2 ** min(self._failures, 10))
            return max(error.retry_after_s or 0.0, random.uniform(0.05, ceiling))  # noqa: S311 - jitter, not a secret
        if self._failures:
            logger.info("centre reachable again after %d failed tries", self._failures)
            self._failures = 0
        return None

    async def drain(self, uplink: Uplink) -> None:
        """Send until nothing waits; raises UplinkUnavailable."""
        while True:
            await self._drain_events(uplink)
            if await self._send_some_evidence(uplink):
                continue
            if not await self._send_some(uplink, "readings"):
                return

    async def _drain_events(self, uplink: Uplink) -> None:
        while await self._send_some(uplink, "events"):
            pass

    async def _send_some(self, uplink: Uplink, lane: Lane) -> bool:
        batches = await _in_thread(partial(self._outbox.pending, lane, records_max=RECORDS_MAX, bytes_max=BYTES_MAX))
        if not batches:
            return False
        receipts = await self._send_bisecting(uplink, batches)
        named = {(receipt.lane, receipt.seq) for receipt in receipts}
        for receipt in receipts:
            if receipt.status == "rejected":
                logger.error("centre rejected %s batch %d: %s", receipt.lane, receipt.seq, receipt.reason)
        await _in_thread(partial(self._outbox.settle, receipts))
        if not any((batch.lane, batch.seq) in named for batch in batches):
            raise UplinkUnavailable("the centre's answer names none of the batches sent")
        return True

    async def _send_bisecting(self, uplink: Uplink, batches: list[Pending]) -> list[Receipt]:
        try:
            return await uplink.send(batches)
        except UplinkRefused as error:
            if len(batches) == 1:
                return [self._refusal(batches[0], str(error))]
        middle = len(batches) // 2
        first = await self._send_bisecting(uplink, batches[:middle])
        return first + await self._send_bisecting(uplink, batches[middle:])

    def _refusal(self, batch: Pending, reason: str) -> Receipt:
        from telemetry.batch import read_header

        header, _ = read_header(batch.raw)
        return Receipt(
            box_id=header.box_id,
            epoch=header.epoch,
            lane=batch.lane,
            seq=batch.seq,
            status="rejected",
            reason=reason[:512],
        )

    async def _send_some_evidence(self, uplink: Uplink) -> bool:
        files = await _in_thread(self._spool.waiting)
        if not files:
            return False
        path = files[0]
        data = await _in_thread(path.read_bytes)
        try:
            await uplink.send_evidence(path.stem, data)
        except UplinkRefused as error:
            logger.error("centre refused evidence %s: %s", path.stem, error)
            await _in_thread(partial(self._spool.refuse, path))
        else:
            await _in_thread(partial(self._spool.delivered, path))
        return True


async def _in_thread(call: Callable[[], Result]) -> Result:
    return await asyncio.get_running_loop().run_in_executor(None, call)
