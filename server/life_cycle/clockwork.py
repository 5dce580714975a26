"""Does what falls due by time alone: escalations, cards, the interview list, second looks that nobody answered.

Each alert is dealt with in one transaction, which also notes when it has to be looked at again. The row is locked, so
that of two replicas each takes another one, and a power cut leaves it due. It looks when something is due, and at
least each half minute, as other replicas raise alerts as well.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Engine, Select, func, select
from sqlalchemy.orm import Session

from server.background import background
from server.database import writing
from server.life_cycle.escalation import next_step
from server.life_cycle.interviews import consider_interviews, lock_site
from server.life_cycle.recheck import RecheckOver, Result, answer_recheck, give_up_recheck, look_at_series
from server.life_cycle.record import do_step, done_steps, plan_next_step, standing_of
from server.life_cycle.rules import Rules
from server.live import Broadcaster, Change
from server.models import Alert
from server.models_life_cycle import Recheck
from server.series.port import SeriesStore, SeriesUnavailable

logger = logging.getLogger(__name__)
WAIT_S_MIN, WAIT_S_MAX = 0.2, 30.0
BACKOFF_S_MAX = 60.0
STEPS_AT_ONCE_MAX = 50


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Clockwork:
    """Looks after all alerts of one record by the clock that it is given."""

    engine: Engine
    rules: Rules
    series: SeriesStore
    broadcaster: Broadcaster
    clock: Callable[[], datetime] = utc_now
    _stopping: threading.Event = field(default_factory=threading.Event)

    def turn(self) -> bool:
        """Deal with the alert that has waited longest; False when none is due. Raises SQLAlchemyError."""
        with Session(writing(self.engine), expire_on_commit=False) as db, db.begin():
            change = look_after(db, self.rules, self.clock())
        if change is not None:
            self.broadcaster.publish([change])
        return change is not None

    def work_off(self) -> float:
        """Deal with all that is due; how long to wait then, in seconds, at most half a minute."""
        wait_s = 0.0
        while not wait_s and not self._stopping.is_set():
            with Session(self.engine) as db, db.begin():  # who finds nothing does not hold up those who write
                next_at = db.scalar(select(func.min(Alert.next_step_at)))
                recheck_id = db.scalar(_unanswered(self.clock()))
            if recheck_id is not None:
                self._answer(recheck_id)
            elif next_at is None or next_at > self.clock() or not self.turn():
                wait_s = self._until(next_at)
        return wait_s

    def _until(self, next_at: datetime | None) -> float:
        left_s = (next_at - self.clock()).total_seconds() if next_at else WAIT_S_MAX
        return min(max(left_s, WAIT_S_MIN), WAIT_S_MAX)

    def _answer(self, recheck_id: int) -> None:
        """The time of a second look is over: a temperature is judged as it is now; a box did not answer."""
        with Session(self.engine, expire_on_commit=False) as db, db.begin():
            asked = db.get_one(Recheck, recheck_id)
            alert = db.get_one(Alert, asked.alert_id)
        seen: tuple[Result, str] | None = None
        change, reason = None, "late"
        if asked.way == "series":
            try:
                seen = look_at_series(self.series, alert, self.rules, self.clock())
            except SeriesUnavailable:
                reason = "series_unavailable"
        with (
            suppress(RecheckOver),  # another replica was faster
            Session(writing(self.engine), expire_on_commit=False) as db,
            db.begin(),
        ):
            if seen is None:
                changed = give_up_recheck(db, recheck_id, reason, self.clock())
            else:
                changed = answer_recheck(db, recheck_id, seen[0], self.clock(), reason=seen[1])
            change = Change.of(changed)
        if change is not None:
            self.broadcaster.publish([change])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run while entered; leaving waits for the transaction that is under way."""
        async with background(self.run(), "life cycle clockwork"):
            yield

    async def run(self) -> None:
        """Work until cancelled. A failure is told once and so is the recovery; between tries a full-jitter wait."""
        failures = 0
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "clockwork") as thread:
            try:
                while True:
                    try:
                        wait_s = await loop.run_in_executor(thread, self.work_off)
                    except Exception as error:  # noqa: BLE001 - the supervisor of this task: any fault becomes a retry
                        failures += 1
                        if failures == 1:
                            logger.error("overdue alerts are not escalated at the moment: %s", error)
                        ceiling_s = min(BACKOFF_S_MAX, 2.0 ** min(failures, 10))
                        await asyncio.sleep(random.uniform(0, ceiling_s))  # noqa: S311 - jitter
                        continue
                    if failures:
                        logger.warning("overdue alerts are escalated again")
                        failures = 0
                    await asyncio.sleep(wait_s)
            finally:
                self._stopping.set()  # the thread ends with the alert that it is at


def look_after(db: Session, rules: Rules, now: datetime) -> Change | None:
    """Do all that is due of one alert, within the caller's writing transaction; None when no alert is due."""
    due = select(Alert).where(Alert.next_step_at <= now).order_by(Alert.next_step_at, Alert.id).limit(1)
    alert = db.scalar(due.with_for_update(skip_locked=True, of=Alert))
    if alert is None:
        return None
    lock_site(db, alert.site_id)
    for _ in range(STEPS_AT_ONCE_MAX):
        step = next_step(standing_of(alert), done_steps(db, alert), rules)
        if step is None or step.due_at > now:
            break
        do_step(db, alert, step, rules, now)
        db.flush()
    plan_next_step(db, alert, rules)
    consider_interviews(db, alert, rules, now)
    db.flush()
    return Change.of(alert)


def _unanswered(now: datetime) -> Select[int]:
    """The second look that should have been answered first."""
    query = select(Recheck.id).where(Recheck.state == "asked", Recheck.expires_at <= now)
    return query.order_by(Recheck.expires_at, Recheck.id).limit(1)
