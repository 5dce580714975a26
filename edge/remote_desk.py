"""Does what the centre asks, each command once, and tells what became of it as an event.

That a command was begun is on disk before it takes effect, so that a crash in its midst is told as such and nothing is
done twice. What the configuration does not allow is refused. The result goes the way of all events and so outlives an
outage.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

from edge.evidence_folder import EvidenceFolder
from edge.rules import new_id
from telemetry.commands import KIND, KNOWN_MAX, Command, CommandKind
from telemetry.messages import Event, Scalar

logger = logging.getLogger(__name__)
STATE_PREFIX = "command/"
BEGUN = "begun"
KEEP = timedelta(days=1)  # after its end a command is remembered, should the centre offer it once more
RESTART_S_MIN = 60.0
Record = Callable[[Sequence[Event], dict[str, str | None]], Awaitable[None]]


@dataclass(frozen=True)
class Outcome:
    """``facts``: what else the event holds. ``restart``: the box ends in the orderly way when it is told."""

    status: Literal["done", "refused", "failed"]
    reason: str = ""
    facts: Mapping[str, Scalar | list[str]] = field(default_factory=dict)
    restart: bool = False


INTERRUPTED = Outcome("failed", "the box was interrupted")


class Looks(Protocol):
    """Whoever has the cameras."""

    async def carry_out(self, command: Command) -> Outcome: ...


class Releases(Protocol):
    """Whoever keeps the releases."""

    async def carry_out(self, command: Command) -> Outcome: ...

    def became(self, command: str) -> bool:
        """Whether the command with this id, in whose midst the box ended, had its effect."""


class RemoteDesk:
    """*saved* is the box's saved state; *restart* begins the orderly end of the process."""

    def __init__(
        self,
        allow: Sequence[CommandKind],
        box_id: str,
        saved: Mapping[str, str],
        record: Record,
        restart: Callable[[], None],
        *,
        evidence: EvidenceFolder | None = None,
        cameras: Looks | None = None,
        releases: Releases | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allow = frozenset(allow)
        self._box_id = box_id
        self._record = record
        self._restart = restart
        self._evidence = evidence
        self._cameras = cameras
        self._releases = releases
        self._now = now
        self._steady_s = steady_s
        self._started_s = steady_s()
        self._applying = asyncio.Lock()
        self._known = {key: text for key, text in saved.items() if key.startswith(STATE_PREFIX)}

    @property
    def known(self) -> list[str]:
        """The ids that need not be offered again, the newest ones."""
        return [key.removeprefix(STATE_PREFIX) for key in self._known][-KNOWN_MAX:]

    async def tell_interrupted(self) -> None:
        """After a start: what was begun before and never ended has failed, but for a release that is on the disk."""
        for key in [key for key, text in self._known.items() if text == BEGUN]:
            command_id = key.removeprefix(STATE_PREFIX)
            installed = self._releases is not None and self._releases.became(command_id)
            outcome = Outcome("done", facts={"in_force": False}) if installed else INTERRUPTED
            await self._end(key, {}, outcome, self._now())

    async def do(self, command: Command) -> None:
        """Carry it out unless it was before. Raises OutboxError when that cannot be noted; then nothing was done."""
        key = STATE_PREFIX + command.command_id
        if key in self._known:
            return
        self._known[key] = BEGUN
        try:
            await self._record([], {key: BEGUN})
        except BaseException:
            del self._known[key]
            raise
        outcome = await self._outcome(command)
        logger.warning("the centre asked for %s: %s %s", command.kind, outcome.status, outcome.reason)
        await self._end(key, {"command": command.kind}, outcome, command.expires_at)
        if outcome.restart:
            self._restart()

    async def _end(
        self, key: str, facts: Mapping[str, Scalar | list[str]], outcome: Outcome, expires_at: datetime
    ) -> None:
        """The result and that it is told are one commit; long past ones are forgotten with it."""
        now = self._now()
        command_id = key.removeprefix(STATE_PREFIX)
        data = {
            "kind": KIND, "command_id": command_id, "status": outcome.status, "reason": outcome.reason[:500],
            **facts, **outcome.facts,
        }  # fmt: skip
        event = Event(
            event_id=f"{command_id}.result", incident_id=new_id(), type="box_status", severity="info",
            source_id=self._box_id, at=now, data=data,
        )  # fmt: skip
        past = {old: None for old, text in self._known.items() if _is_past(text, now)}
        forget_at = max(now, expires_at) + KEEP
        await self._record([event], {**past, key: forget_at.isoformat()})
        self._known = {old: text for old, text in self._known.items() if old not in past}
        self._known[key] = forget_at.isoformat()

    async def _outcome(self, command: Command) -> Outcome:
        if command.kind not in self._allow:
            return Outcome("refused", "this box's configuration does not allow it")
        if command.kind == "restart":
            return self._may_restart()
        if command.kind == "apply":
            return await self._apply(command)
        if command.kind in ("hold", "release"):
            return await asyncio.to_thread(self._hold, command)
        if self._cameras is None:
            return Outcome("refused", "this box has no cameras")
        return await self._cameras.carry_out(command)

    def _may_restart(self) -> Outcome:
        ran_s = self._steady_s() - self._started_s
        if ran_s < RESTART_S_MIN:
            return Outcome("refused", f"it was started {ran_s:.0f} s ago; at most one restart a minute")
        return Outcome("done", restart=True)

    async def _apply(self, command: Command) -> Outcome:
        """One after the other: two at once would each take the other's place as the one before."""
        if self._releases is None:
            return Outcome("refused", "this box takes no releases")
        async with self._applying:
            return await self._releases.carry_out(command)

    def _hold(self, command: Command) -> Outcome:
        incident, why = str(command.arguments.get("incident", "")), str(command.arguments.get("why", ""))
        if self._evidence is None:
            return Outcome("refused", "this box keeps no originals")
        try:
            if command.kind == "hold":
                self._evidence.hold(incident, why or "asked for by the centre", self._now())
                return Outcome("done", facts={"incident": incident})
            was_held = self._evidence.release(incident)
            return Outcome("done", "" if was_held else "it was not held", {"incident": incident})
        except (ValueError, OSError) as error:
            return Outcome("failed", str(error))


def _is_past(text: str, now: datetime) -> bool:
    try:
        return text != BEGUN and datetime.fromisoformat(text) < now
    except ValueError:
        return True
