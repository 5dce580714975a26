"""Carries the journal to a series store outside of the record: at least once, in order, for as long as it takes.

The cursor is moved after the store has taken the points, so a power cut on either side only makes some points be
written again, which changes nothing. What the store refuses for good is recorded with the move of the cursor.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from hashlib import sha256

from sqlalchemy import Engine, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from server.background import background
from server.database import writing
from server.series.journal import Portion, read_portion
from server.series.models import SeriesCursor
from server.series.port import POINTS_PER_WRITE_MAX, Point, Refused, SeriesStore
from server.series.problems import record_problems
from server.series.put_right import put_right
from server.work import hold_duty, leave_duty, worker_name

logger = logging.getLogger(__name__)
POLL_S = 0.5
LEASE_S = 15.0
BACKOFF_S_FIRST = 0.2
BACKOFF_S_MAX = 30.0


class Carrier:
    """Moves one store's cursor. Of several replicas one carries at a time; were it two, one would move the cursor."""

    def __init__(self, engine: Engine, store: SeriesStore) -> None:
        self._engine = engine
        self._worker = worker_name(engine)
        self._on_duty = False
        self._ask_again_s = 0.0
        self._duty = f"series {sha256(store.name.encode()).hexdigest()[:32]}"
        self._store = store
        self._stopping = threading.Event()

    def carry(self) -> int:
        """One portion of the journal; the number of its batches, 0 when there is nothing left to carry.

        Raises SeriesUnavailable or SQLAlchemyError; the same is carried again by the next call.
        """
        with Session(self._engine) as db, db.begin():
            cursor = db.get_one(SeriesCursor, self._store.name)
            generation, batch_id = cursor.generation, cursor.batch_id
            portion = read_portion(db, batch_id)
        if portion is None:
            return 0
        refused: list[Refused] = []
        for points in _slices(portion):
            if self._stopping.is_set():
                return 0
            refused += self._store.write(points)
        with Session(writing(self._engine)) as db, db.begin():
            moved = db.execute(
                update(SeriesCursor)
                .where(
                    SeriesCursor.store == self._store.name,
                    SeriesCursor.generation == generation,
                    SeriesCursor.batch_id == batch_id,
                )
                .values(batch_id=portion.last_id)
                .returning(SeriesCursor.batch_id)
            ).first()
            if moved is not None:  # else another carrier was faster, or a rebuild began
                record_problems(db, self._store.name, portion, refused)
        return len(portion.points) + len(portion.unreadable)

    def carry_on_duty(self) -> int:
        """One portion if no other replica is carrying, else 0; raises as `carry` does. With nothing left to carry, what
        was carried at times that have been corrected since is put right.
        """
        if time.monotonic() >= self._ask_again_s:  # not with every poll: each is a commit
            with Session(writing(self._engine, beside=True)) as db, db.begin():
                self._on_duty = hold_duty(db, self._duty, self._worker, LEASE_S)
            self._ask_again_s = time.monotonic() + LEASE_S / 3
        return (self.carry() or put_right(self._engine, self._store)) if self._on_duty else 0

    def leave(self) -> None:
        """Let another replica carry at once; the database may be gone already."""
        if self._on_duty:
            with suppress(SQLAlchemyError), Session(writing(self._engine, beside=True)) as db, db.begin():
                leave_duty(db, self._duty, self._worker)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run while entered; leaving waits for the call to the store that is under way, which has a time-out."""
        try:
            async with background(self.run(), "series carrier"):
                yield
        finally:
            await asyncio.to_thread(self.leave)

    async def run(self) -> None:
        """Carry until cancelled. A failure is told once and so is the recovery; between tries a full-jitter wait."""
        failures = 0
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "series") as thread:
            try:
                while True:
                    try:
                        carried = await loop.run_in_executor(thread, self.carry_on_duty)
                    except Exception as error:  # noqa: BLE001 - the supervisor of this task: any fault becomes a retry
                        failures += 1
                        if failures == 1:
                            logger.error("no points go to %s, they wait in the journal: %s", self._store.name, error)
                        ceiling_s = min(BACKOFF_S_MAX, BACKOFF_S_FIRST * 2 ** min(failures, 10))
                        await asyncio.sleep(random.uniform(0, ceiling_s))  # noqa: S311 - jitter
                        continue
                    if failures:
                        logger.warning("points go to %s again", self._store.name)
                        failures = 0
                    if not carried:
                        await asyncio.sleep(POLL_S)
            finally:
                self._stopping.set()  # the thread ends with the call that it is in


def _slices(portion: Portion) -> Iterator[list[Point]]:
    points = [point for _, items in portion.points for point in items]
    for start in range(0, len(points), POINTS_PER_WRITE_MAX):
        yield points[start : start + POINTS_PER_WRITE_MAX]
