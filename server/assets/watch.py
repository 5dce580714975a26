"""Looks through the papers in the background: at the start, also after downtime, and once an hour, as days begin at
another hour in each zone. Files that were looked through and never taken go as well. One replica at a time does so;
were it two, the incident of a warning would be there once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from sqlalchemy import Engine, delete
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from server.assets.expiry import settle
from server.background import background
from server.database import writing
from server.live import Broadcaster, Change
from server.models_assets import DRAFT_LIFE, AssetDraft
from server.work import hold_duty, worker_name

logger = logging.getLogger(__name__)
EVERY_S = 3600.0
RETRY_S = 60.0
DUTY, LEASE_S = "expiry", 600.0


class ExpiryWatch:
    """*clock* gives the time, aware."""

    def __init__(
        self, engine: Engine, broadcaster: Broadcaster, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._engine = engine
        self._broadcaster = broadcaster
        self._clock = clock
        self._worker = worker_name(engine)

    def look(self) -> int:
        """Settle all sites once, unless another replica is at it; the number of alerts that changed.

        Raises SQLAlchemyError.
        """
        with Session(writing(self._engine), expire_on_commit=False) as db, db.begin():
            if not hold_duty(db, DUTY, self._worker, LEASE_S):
                return 0
            db.execute(delete(AssetDraft).where(AssetDraft.made_at < self._clock() - DRAFT_LIFE))
            changes = [Change.of(alert) for alert in settle(db, self._clock())]
        self._broadcaster.publish(changes)
        return len(changes)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run while entered; leaving waits for the transaction that is under way."""
        async with background(self._run(), "expiry watch"):
            yield

    async def _run(self) -> None:
        """A failure is told once and so is the recovery."""
        failed = False
        while True:
            try:
                changed = await run_in_threadpool(self.look)
            except Exception as error:  # noqa: BLE001 - the supervisor of this task: any fault becomes a retry
                if not failed:
                    logger.error("the papers cannot be looked through: %s", error)
                failed = True
                await asyncio.sleep(RETRY_S)
                continue
            if failed:
                logger.warning("the papers are looked through again")
                failed = False
            if not changed:  # else there may be more than one portion
                await asyncio.sleep(EVERY_S)
