"""Pictures by the digest of their content: written once, whole, synced, never changed."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from server.blob_port import checked_blob, checked_digest


class FolderBlobStore:
    """Blobs in ``<folder>/ab/abcd…``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / checked_digest(sha256)

    def put(self, data: bytes) -> str:
        """Keep *data*; on return it is on disk. Returns its SHA-256 in hex."""
        sha256 = hashlib.sha256(data).hexdigest()
        target = self._path(sha256)
        if target.exists():
            return sha256
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, part = tempfile.mkstemp(dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(part).replace(target)
        except OSError:
            Path(part).unlink(missing_ok=True)  # a full disk must not fill further with pieces
            raise
        for folder in (target.parent, self._folder):
            _sync_folder(folder)
        return sha256

    def get(self, sha256: str) -> bytes:
        """The blob; raises KeyError when there is none, BlobDamaged when its bytes were changed."""
        try:
            data = self._path(sha256).read_bytes()
        except FileNotFoundError as error:
            raise KeyError(sha256) from error
        return checked_blob(sha256, data)

    def close(self) -> None:
        """A folder has no connections."""


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
