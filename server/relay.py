"""Brings the changes that any replica made to the pages of this one: PostgreSQL tells them at each commit.

A trigger notifies within the transaction that changes an alert, so no change is told that was not committed, and none
is lost with a replica that is killed after its commit. While nobody listens changes are missed: when the connection is
back, the streams of all pages end, and a page that reconnects loads its list anew.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psycopg

from server.live import Broadcaster, Change
from server.postgres import connect_arguments
from server.settings import PostgresRecord

logger = logging.getLogger(__name__)
CHANNEL = "brightline_alert"
CHECK_S = 15.0  # how long the connection may be silent before it is asked whether it lives
ANSWER_S_MAX = 10.0
BACKOFF_S_FIRST = 0.2
BACKOFF_S_MAX = 10.0


class Relay:
    """Listens with one connection of its own and hands on what it hears."""

    def __init__(self, record: PostgresRecord, broadcaster: Broadcaster) -> None:
        url = record.sqlalchemy_url
        names = {"host": url.host, "port": url.port, "user": url.username, "dbname": url.database}
        password = {"password": str(url.password)} if url.password else {}
        self._arguments = {**connect_arguments(record), **names, **password}
        self._broadcaster = broadcaster

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen while entered; entered when the first connection hears, so that no later change is missed."""
        listening = asyncio.Event()
        task = asyncio.create_task(self._run(listening), name="relay of changes")
        ready = asyncio.create_task(listening.wait())
        try:
            await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
            yield
        finally:
            for one in (task, ready):
                one.cancel()
                with suppress(asyncio.CancelledError):
                    await one

    async def _run(self, listening: asyncio.Event) -> None:
        """Listen until cancelled. A loss is told once and so is the recovery; between tries a full-jitter wait."""
        failures = 0
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(**self._arguments, autocommit=True) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    if listening.is_set():
                        logger.warning("changes by other replicas are heard again; open pages load anew")
                        self._broadcaster.end_streams()
                    failures = 0
                    listening.set()
                    await self._hear(connection)
            except (psycopg.Error, OSError, TimeoutError) as error:
                failures += 1
                if failures == 1:
                    logger.error("changes by other replicas are not heard now: %s", type(error).__name__)
                await asyncio.sleep(random.uniform(0, min(BACKOFF_S_MAX, BACKOFF_S_FIRST * 2 ** min(failures, 10))))  # noqa: S311 - jitter

    async def _hear(self, connection: psycopg.AsyncConnection) -> None:
        """Hand on until the connection is lost; raises psycopg.Error or TimeoutError then."""
        while True:
            async for notice in connection.notifies(timeout=CHECK_S):
                change = read_change(notice.payload)
                if change is not None:
                    self._broadcaster.fan_out(change)
            async with asyncio.timeout(ANSWER_S_MAX):
                await connection.execute("SELECT 1")


def read_change(payload: str) -> Change | None:
    """What a notice tells; None for one that somebody else sent and that tells nothing."""
    try:
        told = json.loads(payload)
        return Change(int(told["alert_id"]), int(told["site_id"]), str(told["state"]), str(told["region_path"]))
    except (ValueError, TypeError, KeyError):
        return None
