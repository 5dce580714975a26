"""The key with which this instance signs heads, tombstones and backups: made at the first start, never sent."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from telemetry.signing import Signer

KEY_FILE = "centre.key"


def ensure_signer(data_dir: Path) -> Signer:
    """The key in the data folder, made if there is none; raises KeyFileError for one that others may read."""
    path = data_dir / KEY_FILE
    if not path.exists():
        with suppress(FileExistsError):  # another process made it at the same moment
            Signer.generate().save(path)
    return Signer.load(path)
