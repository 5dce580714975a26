"""Calls at the centre for commands, again and again, over a connection that this box opens."""

from __future__ import annotations

import asyncio
import logging

from edge.remote_desk import RemoteDesk
from telemetry.backoff import Backoff
from telemetry.command_call import CommandCaller, Parties
from telemetry.commands import Command
from telemetry.uplink import UplinkSettings, UplinkUnavailable

logger = logging.getLogger(__name__)
WAIT_S = 25
BACKOFF_S_MAX = 60.0
AT_ONCE_MAX = 8


class RemoteService:
    """``run`` is a supervised service."""

    def __init__(self, settings: UplinkSettings, parties: Parties, desk: RemoteDesk) -> None:
        self._settings = settings
        self._parties = parties
        self._desk = desk

    async def run(self) -> None:
        """Until cancelled. What takes long, a second look, does not hold up the next call."""
        await self._desk.tell_interrupted()
        backoff = Backoff(BACKOFF_S_MAX)
        reached = True
        doing: set[asyncio.Task[None]] = set()
        try:
            async with CommandCaller(self._settings, self._parties) as caller:
                while True:
                    try:
                        commands = await caller.ask(self._desk.known, WAIT_S)
                    except UplinkUnavailable as error:
                        if reached and error.retry_after_s != 0:
                            logger.warning("the centre gives no commands: %s", error)
                            reached = False
                        await backoff.wait(error.retry_after_s)
                        continue
                    if not reached:
                        logger.info("the centre gives commands again")
                    reached = True
                    backoff.reset()
                    doing |= {self._start(command) for command in commands[: AT_ONCE_MAX - len(doing)]}
                    doing = await self._settle(doing)
        finally:
            for task in doing:
                task.cancel()
            await asyncio.gather(*doing, return_exceptions=True)

    def _start(self, command: Command) -> asyncio.Task[None]:
        return asyncio.create_task(self._desk.do(command), name=f"command {command.kind}")

    @staticmethod
    async def _settle(doing: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
        """What still runs; waits for a place when there is none. A task's fault is this service's."""
        if not doing:
            return doing
        wait_s = None if len(doing) >= AT_ONCE_MAX else 0.1
        done, running = await asyncio.wait(doing, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        return running
