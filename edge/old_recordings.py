"""Removes what is left of a recording when its camera is recorded no more: nobody else would.

A camera that is recorded removes its own old minutes (`vision.segments`).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path


def recording_dir(data_dir: Path, camera_id: str) -> Path:
    """Where a camera's minutes lie."""
    return data_dir / "recording" / camera_id


def drop_old(data_dir: Path, recorded: Collection[str], older_than_s: float) -> int:
    """Remove the minutes of cameras that are not *recorded* and ended before that Unix time; gives how many."""
    dropped = 0
    for path in (data_dir / "recording").glob("*/*.mp4"):
        if path.parent.name not in recorded and path.stat().st_mtime < older_than_s:
            path.unlink()
            dropped += 1
    return dropped
