"""Purges by the rules for as long as the server runs; of several replicas one at a time, once an hour."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from server.background import background
from server.blob_port import BlobStore
from server.database import writing
from server.retention.purge import purge_portion
from server.retention.rules import default_retention, load_retention
from server.settings import Settings
from server.work import hold_duty, worker_name
from telemetry.signing import Signer

logger = logging.getLogger(__name__)
EVERY_S = 3600.0
FIRST_S = 300.0  # not while a centre that has just started has most to do
LEASE_S = 600.0
DUTY = "retention"


class RetentionWorker:
    """One replica's hands on what need not be kept; raises ValueError for wrong rules at once."""

    def __init__(self, engine: Engine, blobs: BlobStore, signer: Signer, settings: Settings) -> None:
        self._engine = engine
        self._blobs = blobs
        self._signer = signer
        self._settings = settings.retention
        self._rules = load_retention(self._settings.rules) if self._settings.rules else default_retention()
        self._worker = worker_name(engine)

    def purge(self) -> Counter[str]:
        """All that may go now, if no other replica or backup has the duty; how many things by rule."""
        done: Counter[str] = Counter()
        while True:
            with Session(writing(self._engine)) as db, db.begin():
                if not hold_duty(db, DUTY, self._worker, LEASE_S):
                    return done
            portion = purge_portion(self._engine, self._blobs, self._signer, self._rules, datetime.now(UTC))
            if not portion:
                return done
            done += portion

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run while entered; leaving waits for the portion that is under way."""
        if not self._settings.automatic:
            yield
            return
        async with background(self._run(), "retention"):
            yield

    async def _run(self) -> None:
        failing = False
        await asyncio.sleep(FIRST_S)
        while True:
            try:
                done = await asyncio.to_thread(self.purge)
            except Exception as error:  # noqa: BLE001 - the supervisor of this task: any fault becomes a retry
                if not failing:
                    logger.error("nothing is purged: %s", error)
                failing = True
            else:
                if done:
                    logger.info("purged by the rules of retention: %s", dict(done))
                failing = False
            await asyncio.sleep(EVERY_S)
