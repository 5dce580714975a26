"""Evidence that waits for its upload: one sealed file each, whole or not there at all.

A file is written beside its place, synced, then renamed; its name is the SHA-256 of the picture in it.
Only a receipt from the centre removes it; what the centre refuses for good moves to ``refused/``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_NAME = re.compile(r"^[0-9a-f]{64}\.ble$")


class EvidenceSpool:
    """A folder of sealed evidence files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def put(self, data: bytes, sha256: str) -> Path:
        """Keep a sealed evidence file; on return it is on disk. Raises OSError."""
        target = self._folder / f"{sha256}.ble"
        if not _NAME.match(target.name):
            raise ValueError(f"{sha256!r} is not a SHA-256 in hex")
        part = target.with_suffix(f".{os.getpid()}.part")
        try:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.rename(target)
        except OSError:
            part.unlink(missing_ok=True)  # on a full disk the half file would take the room of whole ones
            raise
        handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        return target

    def waiting(self) -> list[Path]:
        """The files to upload, oldest first."""
        files = [path for path in self._folder.iterdir() if _NAME.match(path.name)]
        return sorted(files, key=lambda path: (path.stat().st_mtime_ns, path.name))

    def delivered(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def refuse(self, path: Path) -> None:
        """Set a file aside that the centre will never take."""
        refused = self._folder / "refused"
        refused.mkdir(exist_ok=True, mode=0o700)
        path.rename(refused / path.name)
