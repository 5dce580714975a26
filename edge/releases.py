"""The configuration releases of a box on its disk: the documents, and which of them is in force.

A release lies beside the box's own file, never in it: secrets and addresses stay where they are.
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from edge.trial_record import Installed, TrialRecord
from telemetry.releases import RELEASE_BYTES_MAX, ReleaseError, read_release
from telemetry.spool import drop_parts, write_whole

STATE_FILE = "state.json"


class ReleaseFolder(TrialRecord):
    """The folder ``releases`` in the box's data. What cannot be written raises OSError."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "releases"
        super().__init__(self._folder / STATE_FILE)

    def document(self, installed: Installed) -> dict[str, Any]:
        """The sections of a release, none of the box's own file; raises ReleaseError when it is gone or was changed."""
        if not installed.sha256:
            return {}
        try:
            with (self._folder / f"{installed.sha256}.yaml").open("rb") as file:
                raw = file.read(RELEASE_BYTES_MAX + 1)
        except OSError as error:
            raise ReleaseError(f"its file cannot be read ({type(error).__name__})") from error
        if sha256(raw).hexdigest() != installed.sha256:
            raise ReleaseError("its file was changed")
        return read_release(raw)

    def install(self, offered: Installed, raw: bytes) -> None:
        """Put a release on trial from the next start on; *raw* are its bytes, checked already."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if offered.sha256:
            write_whole(self._folder / f"{offered.sha256}.yaml", raw)
        self.put_on_trial(offered)
        self._forget_others()

    def _forget_others(self) -> None:
        drop_parts(self._folder)
        state = self.state
        needed = {f"{item.sha256}.yaml" for item in (state.current, state.previous)}
        for path in self._folder.glob("*.yaml"):
            if path.name not in needed:
                with suppress(OSError):
                    path.unlink()
