"""The trial of what the centre rolled out: it ends with a proof or with the way back, and the centre is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from edge.rules import new_id
from edge.trial_record import Installed, TrialRecord, Word
from telemetry.messages import Event, Scalar
from telemetry.releases import KIND

TRIALS_MAX = 30  # times of trial, after which a box that does not do its work goes back
LOOK_S = 1.0
Record = Callable[[Sequence[Event], dict[str, str | None]], Awaitable[None]]
Judge = Callable[[Installed], str]


@dataclass(frozen=True)
class TrialContext:
    """What all trials of a box share. *restart* begins the orderly end of the process."""

    box_id: str
    record: Record
    restart: Callable[[], None]
    trial_s: float
    now: Callable[[], datetime]


class Trial:
    """*lacks* says what does not work yet with what is in force; *failed* what is past hope, also after the proof."""

    def __init__(self, context: TrialContext, record: TrialRecord, lacks: Judge, failed: Judge | None = None) -> None:
        self._context = context
        self._trial_record = record
        self._lacks = lacks
        self._failed = failed

    async def run(self) -> None:
        """Until cancelled. Raises OutboxError, OSError."""
        await self._tell()
        current = self._trial_record.state.current
        why = "" if current.confirmed else await self._try_out(current)
        if not why and self._failed is not None and current.sha256:
            why = await self._watch(current)
        if why:
            await asyncio.to_thread(self._trial_record.go_back, why)
            await self._tell()
            self._context.restart()
        await asyncio.get_running_loop().create_future()

    async def _try_out(self, current: Installed) -> str:
        """Why the release on trial has failed; empty when it has proved itself, which is on the disk and told then."""
        give_up_s = time.monotonic() + TRIALS_MAX * self._context.trial_s
        await asyncio.sleep(self._context.trial_s)
        while True:
            if self._failed is not None and (failed := self._failed(current)):
                return failed
            if not (lacks := self._lacks(current)):
                break
            if time.monotonic() >= give_up_s:
                return lacks
            await asyncio.sleep(min(LOOK_S, self._context.trial_s))
        await asyncio.to_thread(self._trial_record.confirm)
        await self._tell()
        return ""

    async def _watch(self, proved: Installed) -> str:
        """Why a release that had proved itself has failed after all; another that takes its place ends the watch."""
        assert self._failed is not None
        while not (why := self._failed(proved)):
            await asyncio.sleep(LOOK_S)
        is_in_force = self._trial_record.state.current.is_same(proved)
        return why if is_in_force else ""

    async def _tell(self) -> None:
        words = self._trial_record.state.words
        if words:
            await self._context.record([self._event(word) for word in words], {})
            await asyncio.to_thread(self._trial_record.forget_words, len(words))

    def _event(self, word: Word) -> Event:
        """Its id follows from the word: told again after a power cut, it is the same event."""
        data: dict[str, Scalar | list[str]] = {
            "kind": KIND, "release": word.release, "command_id": word.command_id, "status": word.status,
            "reason": word.reason,
        }  # fmt: skip
        return Event(
            event_id=f"{word.command_id}.{word.status}", incident_id=new_id(), type="box_status",
            severity="info" if word.status == "applied" else "warning", source_id=self._context.box_id,
            at=self._context.now(), data=data,
        )  # fmt: skip


def became(record: TrialRecord, command: str) -> bool:
    """Whether the command with this id, in whose midst the box ended, had its effect."""
    state = record.state
    return command in {state.current.command_id, *(word.command_id for word in state.words)}
