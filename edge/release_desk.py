"""Takes a release that the centre orders, tries it, and tells how it fared.

Nothing is kept that this box's own check refuses. The restart puts the release on trial; when the box has run with it
for its time of trial and does its work (`edge.health`) it has proved itself, else the box goes back by itself
(`edge.releases`). The centre hears of either.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from edge.camera_check import check_cameras
from edge.config import ConfigurationError, load
from edge.releases import Installed, ReleaseFolder, Word
from edge.remote_desk import Outcome
from edge.rules import new_id
from telemetry.backoff import Backoff
from telemetry.commands import Command
from telemetry.messages import Event, Scalar
from telemetry.releases import KIND, ReleaseError, read_release
from telemetry.uplink import UplinkUnavailable

TRIALS_MAX = 30  # times of trial, after which a box that does not do its work goes back
LOOK_S = 1.0
FETCH_TRIES = 5
FETCH_BACKOFF_S_MAX = 20.0
Fetch = Callable[[str], Awaitable[bytes]]
Record = Callable[[Sequence[Event], dict[str, str | None]], Awaitable[None]]


class ReleaseDesk:
    """*path* is the box's own file, *lacks* says what of the box does not work yet; ``run`` is a supervised service."""

    def __init__(
        self,
        path: Path,
        data_dir: Path,
        box_id: str,
        record: Record,
        fetch: Fetch,
        *,
        lacks: Callable[[], str],
        restart: Callable[[], None],
        trial_s: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._path = path
        self._folder = ReleaseFolder(data_dir)
        self._box_id = box_id
        self._record = record
        self._fetch = fetch
        self._now = now
        self._lacks = lacks
        self._restart = restart
        self._trial_s = trial_s

    async def carry_out(self, command: Command) -> Outcome:
        """Install what the command names; ``restart`` of the outcome says that it takes effect with a new start."""
        release, sha256 = (str(command.arguments.get(name) or "") for name in ("release", "sha256"))
        current = self._folder.state.current
        if (current.release, current.sha256) == (release, sha256) and current.confirmed:
            return Outcome("done", facts={"in_force": True})
        try:
            raw = await self._fetch_patiently(sha256) if sha256 else b""
            await asyncio.to_thread(self._check, raw)
            offered = Installed(release=release, sha256=sha256, command_id=command.command_id)
            await asyncio.to_thread(self._folder.install, offered, raw)
        except UplinkUnavailable as error:
            return Outcome("failed", f"the release could not be fetched: {error}")
        except (ReleaseError, ConfigurationError) as error:
            return Outcome("refused", str(error))
        except OSError as error:
            return Outcome("failed", f"the release could not be kept: {error.strerror}")
        return Outcome("done", facts={"in_force": False}, restart=True)

    def facts(self) -> dict[str, Scalar]:
        """Which release is in force, for the box's sign of life; empty texts: the box's own file alone."""
        current = self._folder.state.current
        return {"release": current.release, "release_sha256": current.sha256, "release_on_trial": not current.confirmed}

    def became(self, command: str) -> Outcome | None:
        """What became of the command with this id when the box ended in its midst; None when it had no effect."""
        state = self._folder.state
        known = {state.current.command_id, *(word.command_id for word in state.words)}
        return Outcome("done", facts={"in_force": False}) if command in known else None

    async def _fetch_patiently(self, sha256: str) -> bytes:
        backoff = Backoff(FETCH_BACKOFF_S_MAX)
        for _ in range(FETCH_TRIES - 1):
            try:
                return await self._fetch(sha256)
            except UplinkUnavailable as error:
                await backoff.wait(error.retry_after_s)
        return await self._fetch(sha256)

    def _check(self, raw: bytes) -> None:
        """What `brightline-edge check` checks; raises ReleaseError or ConfigurationError."""
        document = read_release(raw) if raw else {}
        config = load(self._path, document)
        if "cameras" in document and (problems := check_cameras(config.cameras)):
            raise ConfigurationError("\n".join(text for _, text in problems))

    async def run(self) -> None:
        """Tell what is not told yet, and end a trial when its time has come. Raises OutboxError."""
        await self._tell()
        if not self._folder.state.current.confirmed:
            await self._try_out()
            await self._tell()
        await asyncio.get_running_loop().create_future()

    async def _try_out(self) -> None:
        """Confirm the release on trial once the box does its work, or go back and start anew."""
        give_up_s = time.monotonic() + TRIALS_MAX * self._trial_s
        await asyncio.sleep(self._trial_s)
        while lacks := self._lacks():
            if time.monotonic() >= give_up_s:
                await asyncio.to_thread(self._folder.go_back, lacks)
                self._restart()
                return
            await asyncio.sleep(min(LOOK_S, self._trial_s))
        await asyncio.to_thread(self._folder.confirm)

    async def _tell(self) -> None:
        words = self._folder.state.words
        if words:
            await self._record([self._event(word) for word in words], {})
            await asyncio.to_thread(self._folder.forget_words, len(words))

    def _event(self, word: Word) -> Event:
        """Its id follows from the word: told again after a power cut, it is the same event."""
        data: dict[str, Scalar | list[str]] = {
            "kind": KIND, "release": word.release, "command_id": word.command_id, "status": word.status,
            "reason": word.reason,
        }  # fmt: skip
        return Event(
            event_id=f"{word.command_id}.{word.status}", incident_id=new_id(), type="box_status",
            severity="info" if word.status == "applied" else "warning", source_id=self._box_id, at=self._now(),
            data=data,
        )  # fmt: skip
