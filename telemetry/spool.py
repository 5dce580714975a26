"""Evidence that waits for its upload: one sealed file each, whole or not there at all.

A file is written beside its place, synced, then renamed; its name is the SHA-256 of the picture in it, with a number
where another one with the same picture (a black one) waits already.
Only a receipt from the centre removes it; what the centre refuses for good moves to ``refused/``, what is torn or was
changed on the disk to ``quarantine/``.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

from telemetry.evidence import EvidenceError, open_evidence
from telemetry.signing import PublicKey

SAME_MAX = 1000  # files with the same picture
_NAME = re.compile(r"^[0-9a-f]{64}(-\d{1,3})?\.ble$")
_PART = re.compile(r"\.(\d+)\.part$")


def write_whole(target: Path, data: bytes) -> None:
    """Put *data* at *target*, all of it or nothing whenever the power goes; on return it is on disk. Raises OSError."""
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.rename(target)
    except OSError:
        part.unlink(missing_ok=True)  # on a full disk the half file would take the room of whole ones
        raise
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """What was renamed in *folder* outlives a power cut from now on. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def drop_parts(folder: Path) -> int:
    """Remove the half-written files of processes that are no more; nobody was told of them. Returns how many."""
    dropped = 0
    for path in folder.rglob("*.part"):
        writer = _PART.search(path.name)
        if writer is not None and not Path("/proc", writer[1]).exists():
            path.unlink(missing_ok=True)
            dropped += 1
    return dropped


def set_aside(path: Path, folder: Path) -> None:
    """Move *path* into *folder*, which is made; raises OSError."""
    folder.mkdir(exist_ok=True, mode=0o700, parents=True)
    path.rename(folder / path.name)


def picture_of(path: Path) -> str:
    """The SHA-256 of the picture in a file of the spool, by its name."""
    return path.stem.partition("-")[0]


class EvidenceSpool:
    """A folder of sealed evidence files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def put(self, data: bytes, sha256: str) -> Path:
        """Keep a sealed evidence file; on return it is on disk. Raises OSError."""
        if not _NAME.match(f"{sha256}.ble"):
            raise ValueError(f"{sha256!r} is not a SHA-256 in hex")
        names = [sha256, *(f"{sha256}-{number}" for number in range(1, SAME_MAX))]
        free = (path for name in names if not (path := self._folder / f"{name}.ble").exists())
        target = next(free, None)
        if target is None:
            raise OSError(errno.ENOSPC, f"{SAME_MAX} files with the same picture wait already")
        write_whole(target, data)
        return target

    def waiting(self) -> list[Path]:
        """The files to upload, oldest first."""
        files = [path for path in self._folder.iterdir() if _NAME.match(path.name)]
        return sorted(files, key=lambda path: (path.stat().st_mtime_ns, path.name))

    def recover(self, key_of: Callable[[str], PublicKey | None]) -> list[str]:
        """After a start: set aside what is not genuine any more; gives the names. Others may use it meanwhile."""
        drop_parts(self._folder)
        found = []
        for path in self.waiting():
            try:
                sealed = open_evidence(path.read_bytes(), key_of)
                if sealed.manifest.sha256 == picture_of(path):
                    continue
            except FileNotFoundError:
                continue  # it was delivered meanwhile
            except EvidenceError:
                pass
            set_aside(path, self._folder / "quarantine")
            found.append(path.name)
        return found

    def delivered(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def refuse(self, path: Path) -> None:
        """Set a file aside that the centre will never take."""
        set_aside(path, self._folder / "refused")
