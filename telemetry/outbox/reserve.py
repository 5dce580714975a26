"""Disk kept for events: a file of real blocks that is given up when the disk is full, and made again when it is not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def reserve_path(outbox: Path) -> Path:
    return outbox.with_name(outbox.name + ".reserve")


class DiskReserve:
    """A pre-allocated file beside the outbox. On file systems that compress, the blocks cannot be promised."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes

    def release(self) -> bool:
        """Give the blocks back to the disk; whether there were any."""
        held = self._path.exists()
        self._path.unlink(missing_ok=True)
        return held

    def hold(self, spare: float = 1.0) -> bool:
        """Take the blocks if *spare* times as much stays free besides; whether they are held now."""
        if self._path.exists() and self._path.stat().st_size == self._size_bytes:
            return True
        if shutil.disk_usage(self._path.parent).free < self._size_bytes * (1 + spare):
            return False
        part = self._path.with_name(self._path.name + ".part")
        try:
            handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                if self._size_bytes:
                    os.posix_fallocate(handle, 0, self._size_bytes)
                os.fsync(handle)
            finally:
                os.close(handle)
            part.replace(self._path)
        except OSError:
            part.unlink(missing_ok=True)
            return False
        return True
