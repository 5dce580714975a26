"""Moves roll-outs on by the clock: one replica at a time, as long as the server runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from server.background import background
from server.database import writing
from server.rollout.desk import turn
from server.rollout.models import Rollout
from server.rollout.state import UNDER_WAY
from server.work import hold_duty, leave_duty, worker_name

logger = logging.getLogger(__name__)
DUTY = "rollout"
LEASE_S = 60.0


def utc_now() -> datetime:
    return datetime.now(UTC)


class RolloutWorker:
    """*ring* tells the boxes' calls that a command waits; it looks every *look_s*."""

    def __init__(
        self, engine: Engine, ring: Callable[[str], None], look_s: float, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._engine = engine
        self._ring = ring
        self._look_s = look_s
        self._clock = clock
        self._worker = worker_name(engine)
        self._failing = False

    def look(self) -> None:
        """One turn, if any roll-out is under way; what went wrong is told once and tried again at the next."""
        try:
            with Session(self._engine) as db, db.begin():  # who finds nothing does not hold up those who write
                idle = db.scalar(select(Rollout.id).where(Rollout.state.in_(UNDER_WAY)).limit(1)) is None
            if idle:
                return
            with Session(writing(self._engine), expire_on_commit=False) as db, db.begin():
                rung = turn(db, self._clock()) if hold_duty(db, DUTY, self._worker, LEASE_S) else []
        except Exception as error:  # noqa: BLE001 - the supervisor of this task: any fault becomes a retry
            if not self._failing:
                logger.error("roll-outs do not go on, something failed here: %s", type(error).__name__)
            self._failing = True
            return
        self._failing = False
        for box_id in rung:
            self._ring(box_id)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run while entered; the duty is left for another replica then."""
        async with background(self._run(), "roll-outs"):
            yield
        with suppress(SQLAlchemyError), Session(writing(self._engine)) as db, db.begin():  # it may be gone already
            leave_duty(db, DUTY, self._worker)

    async def _run(self) -> None:
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(self._look_s)
