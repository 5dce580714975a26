"""Takes a release of the configuration that the centre orders and tries it.

Nothing is kept that this box's own check refuses. The restart puts the release on trial; when the box has run with it
for its time of trial and does its work (`edge.health`) it has proved itself, else the box goes back by itself
(`edge.trial`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from edge.camera_check import check_cameras
from edge.config import ConfigurationError
from edge.release_fetch import Fetch, fetch_patiently
from edge.release_outcome import outcome_of
from edge.released_config import load_with
from edge.releases import ReleaseFolder
from edge.remote_desk import Outcome
from edge.trial import Trial, TrialContext, became
from edge.trial_record import installed_by
from telemetry.commands import Command
from telemetry.messages import Scalar
from telemetry.releases import read_release


class ReleaseDesk:
    """*path* is the box's own file, *lacks* says what of the box does not work yet; ``run`` is a supervised service."""

    def __init__(
        self, path: Path, data_dir: Path, context: TrialContext, fetch: Fetch, lacks: Callable[[], str]
    ) -> None:
        self._path = path
        self._folder = ReleaseFolder(data_dir)
        self._fetch = fetch
        self.run = Trial(context, self._folder, lambda _: lacks()).run

    async def carry_out(self, command: Command) -> Outcome:
        """Install what the command names."""

        async def install() -> bool:
            current, offered = self._folder.state.current, installed_by(command)
            if current.is_same(offered) and current.confirmed:
                return True
            raw = await fetch_patiently(self._fetch, offered.sha256) if offered.sha256 else b""
            await asyncio.to_thread(self._check, raw)
            await asyncio.to_thread(self._folder.install, offered, raw)
            return False

        return await outcome_of("release", install)

    def facts(self) -> dict[str, Scalar]:
        """Which release is in force, for the box's sign of life; empty texts: the box's own file alone."""
        current = self._folder.state.current
        return {"release": current.release, "release_sha256": current.sha256, "release_on_trial": not current.confirmed}

    def became(self, command: str) -> bool:
        """Whether the command with this id, in whose midst the box ended, had its effect."""
        return became(self._folder, command)

    def _check(self, raw: bytes) -> None:
        """What `brightline-edge check` checks; raises ReleaseError or ConfigurationError."""
        document = read_release(raw) if raw else {}
        config = load_with(self._path, document)
        if "cameras" in document and (problems := check_cameras(config.cameras)):
            raise ConfigurationError("\n".join(text for _, text in problems))
