"""Keeps the log up to date for as long as the server runs: leaves within seconds, a head every hour, sent elsewhere.

Of several replicas one works at a time, by a duty that is taken anew in the transaction of every step.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from server.background import background
from server.database import writing
from server.merkle.log import append_pending, newest_head, publish, size_of
from server.merkle.models import LogHead, LogPending
from server.merkle.settings import HEADS_FILE, LogSettings
from server.notification.egress import Egress
from server.notification.port import Undelivered
from server.work import hold_duty, leave_duty, worker_name
from telemetry.signing import Signer

logger = logging.getLogger(__name__)
POLL_S = 1.0
LEASE_S = 30.0
RETRY_S = 60.0
BACKOFF_S_MAX = 30.0
HEADS_AT_ONCE_MAX = 100
PORTIONS_AT_STOP_MAX = 20
DUTY = "log"
HEADERS = {"content-type": "text/plain; charset=utf-8"}


def utc_now() -> datetime:
    return datetime.now(UTC)


class LogWorker:
    """One replica's hands on the log. ``clock`` gives the time in UTC."""

    def __init__(
        self,
        engine: Engine,
        settings: LogSettings,
        data_dir: Path,
        signer: Signer,
        egress: Egress,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._heads_file = settings.heads_file or data_dir / HEADS_FILE
        self._signer = signer
        self._egress = egress
        self._clock = clock
        self._worker = worker_name(engine)
        self._refused = False
        self._try_again_at = datetime.min.replace(tzinfo=UTC)

    def step(self) -> int:
        """Add what waits, publish when it is time, send what was not sent; the number of leaves added.

        Raises SQLAlchemyError or OSError; the next call goes on from there.
        """
        added = self.append()
        if self._is_time():
            self.publish()
        self._send()
        return added

    def append(self) -> int:
        """Add a portion of leaves, if there are any and no other replica does."""
        with Session(self._engine) as db:
            if db.scalar(select(LogPending.id).limit(1)) is None:
                return 0
        with Session(writing(self._engine, beside=True)) as db, db.begin():
            return append_pending(db) if hold_duty(db, DUTY, self._worker, LEASE_S) else 0

    def _is_time(self) -> bool:
        """Whether there are leaves that no published head covers, and the last one is old enough."""
        with Session(self._engine) as db:
            head = newest_head(db)
            if head is None:
                return size_of(db) > 0
            due = head.at + timedelta(seconds=self._settings.publish_every_s) <= self._clock()
            return due and size_of(db) > head.size

    def publish(self) -> None:
        """Sign a head, write it to the table and then to the file."""
        with Session(writing(self._engine, beside=True)) as db, db.begin():
            if not hold_duty(db, DUTY, self._worker, LEASE_S) or publish(db, self._signer, self._clock()) is None:
                return
        with Session(self._engine) as db:
            write_heads(db, self._heads_file)

    def _send(self) -> None:
        """Post the heads that the webhook has not taken yet, in order, up to the first failure."""
        url = self._settings.heads_url
        if url is None or self._clock() < self._try_again_at:
            return
        with Session(self._engine, expire_on_commit=False) as db:
            waiting = select(LogHead).where(LogHead.sent_at.is_(None)).order_by(LogHead.id)
            heads = list(db.scalars(waiting.limit(HEADS_AT_ONCE_MAX)))
        for head in heads:
            try:
                self._egress.post(url, head.note.encode(), HEADERS)
            except Undelivered as error:
                if not self._refused:
                    logger.warning("published heads do not reach the webhook: %s", error.reason)
                self._refused, self._try_again_at = True, self._clock() + timedelta(seconds=RETRY_S)
                return
            with Session(writing(self._engine, beside=True)) as db, db.begin():
                db.get_one(LogHead, head.id).sent_at = self._clock()
            if self._refused:
                logger.warning("published heads reach the webhook again")
                self._refused = False

    def leave(self) -> None:
        """Add what came last, and let another replica work at once; the database may be gone already."""
        with suppress(SQLAlchemyError):
            for _ in range(PORTIONS_AT_STOP_MAX):
                if not self.append():
                    break
        with suppress(SQLAlchemyError), Session(writing(self._engine, beside=True)) as db, db.begin():
            leave_duty(db, DUTY, self._worker)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run while entered; leaving waits for the step that is under way."""
        try:
            async with background(self._run(), "merkle log"):
                yield
        finally:
            await asyncio.to_thread(self.leave)

    async def _run(self) -> None:
        failures = 0
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "log") as thread:
            while True:
                try:
                    added = await loop.run_in_executor(thread, self.step)
                except Exception as error:  # noqa: BLE001 - the supervisor of this task: any fault becomes a retry
                    failures += 1
                    if failures == 1:
                        logger.error("the Merkle log stands still: %s", error)
                    await asyncio.sleep(min(BACKOFF_S_MAX, POLL_S * 2 ** min(failures, 10)))
                    continue
                if failures:
                    logger.warning("the Merkle log goes on")
                    failures = 0
                if not added:
                    await asyncio.sleep(POLL_S)


def bring_up_to_date(engine: Engine, signer: Signer) -> None:
    """For commands: add what waits and publish a head over it. Where a server does, its leaves are what there is."""
    worker = worker_name(engine)
    adding = True
    while adding:
        with Session(writing(engine, beside=True)) as db, db.begin():
            adding = hold_duty(db, DUTY, worker, LEASE_S) and append_pending(db) > 0
    with Session(writing(engine)) as db, db.begin():
        publish(db, signer, utc_now())
        leave_duty(db, DUTY, worker)


def write_heads(db: Session, path: Path) -> None:
    """Add to the file the heads that it lacks, synced. A file whose last head is not on record is only added to."""
    last = _last_note(path)
    query = select(LogHead.id, LogHead.note).order_by(LogHead.id)
    known = db.scalar(select(LogHead.id).where(LogHead.note == last)) if last else None
    if last and known is None:
        logger.error("%s holds a head that the record does not: run brightline-server verify", path)
        query = query.order_by(None).order_by(LogHead.id.desc()).limit(1)
    elif known is not None:
        query = query.where(LogHead.id > known)
    lines = [json.dumps({"note": note}, ensure_ascii=False) + "\n" for _, note in db.execute(query)]
    with path.open("a", encoding="utf-8") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())


def _last_note(path: Path) -> str | None:
    """The note of the last line; a line that a power cut tore is taken away."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    if raw and not raw.endswith(b"\n"):
        whole = raw.rpartition(b"\n")
        path.write_bytes(whole[0] + whole[1])
        raw = whole[0] + whole[1]
    lines = raw.splitlines()
    return str(json.loads(lines[-1])["note"]) if lines else None
