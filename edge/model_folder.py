"""The models that the centre rolled out, on the box's disk: each whole in a folder named by its manifest's digest.

``DATA_DIR/models/<sha256>/model.onnx`` with ``model.json`` beside it; ``SLOT.state.json`` says what is in force for a
slot. Of what nobody names the newest KEPT_MAX stay, so that the way back and forth needs no line; older ones go. What
is being fetched lies in ``<sha256>.fetching`` and is gone on with after a cut.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import suppress
from hashlib import file_digest
from pathlib import Path

from edge.trial_record import Installed, TrialRecord
from telemetry.spool import sync_folder, write_whole

KEPT_MAX = 2
_STATE = ".state.json"
_DIGEST = re.compile(r"[0-9a-f]{64}")


class ModelFolder:
    """The folder ``models`` in the box's data; may not exist yet. What cannot be written raises OSError."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / "models"

    def slots(self) -> list[str]:
        """Those for which anything was ever rolled out."""
        return sorted(path.name.removesuffix(_STATE) for path in self.path.glob(f"*{_STATE}"))

    def record(self, slot: str) -> TrialRecord:
        return TrialRecord(self.path / f"{slot}{_STATE}")

    def model(self, installed: Installed) -> Path:
        """Where its ONNX file is; the manifest lies beside it."""
        return self.path / installed.sha256 / "model.onnx"

    def fetching(self, sha256: str) -> Path:
        return self.path / f"{sha256}.fetching"

    def is_whole(self, installed: Installed) -> bool:
        """Whether both files are there, unchanged."""
        model = self.model(installed)
        try:
            manifest = model.with_suffix(".json")
            return digest_of(manifest) == installed.sha256 and digest_of(model) == installed.model_sha256
        except OSError:
            return False

    def keep(self, installed: Installed, manifest: bytes, fetched: Path) -> None:
        """Move what was *fetched*, checked already, to its place."""
        new = self.path / f"{installed.sha256}.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700, parents=True)
        write_whole(new / "model.json", manifest)
        fetched.rename(new / "model.onnx")
        sync_folder(new)
        place = self.model(installed).parent
        if place.exists():  # damaged, else nothing was fetched
            shutil.rmtree(place)
        new.rename(place)
        sync_folder(self.path)

    def install(self, slot: str, offered: Installed) -> None:
        """Put a model on trial in *slot* from the next start on; its files are there."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if offered.sha256:
            os.utime(self.model(offered).parent)
        self.record(slot).put_on_trial(offered)

    def _needed(self) -> Iterator[str]:
        for slot in self.slots():
            state = self.record(slot).state
            yield from (state.current.sha256, state.previous.sha256)

    def forget_others(self, named: Collection[str]) -> None:
        """Remove the folders that no slot needs and that are not *named*, but for the newest of them."""
        needed = {*named, *self._needed()}
        folders = [path for path in self.path.glob("*") if path.is_dir() and path.name not in needed]
        kept = [path for path in folders if _DIGEST.fullmatch(path.name)]
        kept.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in {*folders} - {*kept[:KEPT_MAX]}:
            shutil.rmtree(path, ignore_errors=True)

    def drop_fetched(self, but: str) -> None:
        """Remove what was fetched in part, but for the model with this digest."""
        for path in self.path.glob("*.fetching"):
            if path != self.fetching(but):
                with suppress(OSError):
                    path.unlink()


def digest_of(path: Path) -> str:
    """SHA-256 in hex; raises OSError."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
