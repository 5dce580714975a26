"""Tells a site's people that a record is due soon or missing, once each, through the outbox of the notices.

What became overdue while the centre was down is noted and not told: the list of the missing shows it, and a morning of
old reminders would teach people to look away. One replica at a time does this.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from server.background import background
from server.database import writing
from server.i18n import catalogue
from server.models_self_control import SelfControlReminder
from server.notification.messages import queue_reminder
from server.notification.recipients import recipients
from server.notification.wording import Words
from server.self_control.catalogue import sheets
from server.self_control.missing import Owed, owed
from server.work import hold_duty, worker_name

logger = logging.getLogger(__name__)
ROUND_S = 300.0
LEASE_S = 900.0
DUTY = "self-control reminders"
TOLD_WITHIN = timedelta(hours=12)
MESSAGE_AGE_S = 24 * 3600.0
ALSO_WHEN_MISSING = ("safety_director", "site_head")


def remind(db: Session, now: datetime) -> int:
    """Note and tell what is due soon or missing in the caller's writing transaction; how many messages were queued."""
    pressing = [item for item in owed(db, None, now) if item.stage != "open"]
    oldest = min((item.period.first for item in pressing), default=now.date())
    rows = db.scalars(select(SelfControlReminder).where(SelfControlReminder.first_day >= oldest))
    known = {(row.site_id, row.kind, row.first_day, row.stage) for row in rows}
    queued = 0
    for item in pressing:
        key = (item.site.id, item.period.kind, item.period.first, item.stage)
        if key in known:
            continue
        db.add(SelfControlReminder(site_id=key[0], kind=key[1], first_day=key[2], stage=key[3], at=now))
        if item.stage == "soon" or now - item.due_at <= TOLD_WITHIN:
            queued += _tell(db, item, now)
    db.flush()
    return queued


def _tell(db: Session, item: Owed, now: datetime) -> int:
    signers = sheets()[item.period.kind].signed_by
    roles = {*signers, *(ALSO_WHEN_MISSING if item.stage == "missing" else ())}
    people = recipients(db, item.site, sorted(roles))
    return queue_reminder(db, people, lambda language: words_of(item, language), now, MESSAGE_AGE_S) if people else 0


def words_of(item: Owed, language: str) -> Words:
    """The reminder in one language, with the site's time."""
    texts = {key: entry[language] for key, entry in catalogue().items() if key.startswith("sc_")}
    period = item.period
    days = f"{period.first}" if period.first == period.last else f"{period.first} – {period.last}"
    due = item.due_at.astimezone(ZoneInfo(item.site.time_zone)).strftime("%Y-%m-%d %H:%M")
    said = {
        "site": item.site.name, "kind": texts[f"sc_{period.kind}"], "stage": texts[f"sc_stage_{item.stage}"],
        "days": days, "due": due,
    }  # fmt: skip
    subject = " ".join(texts["sc_remind_subject"].format(**said).split())
    return Words(subject[:200], texts["sc_remind_body"].format(**said), f"/records?site={item.site.id}")


class Reminders:
    """The background task of one replica."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._worker = worker_name(engine)
        self._failing = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run while entered."""
        async with background(self._run(), "self-control reminders"):
            yield

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(ROUND_S)
            await run_in_threadpool(self._round)

    def _round(self) -> None:
        try:
            with Session(writing(self._engine), expire_on_commit=False) as db, db.begin():
                if hold_duty(db, DUTY, self._worker, LEASE_S):
                    remind(db, datetime.now(UTC))
        except Exception as error:  # noqa: BLE001 - the supervisor of this task: any fault becomes a retry
            if not self._failing:
                logger.error("self-control reminders wait: %s", type(error).__name__)
            self._failing = True
        else:
            self._failing = False
