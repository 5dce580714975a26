"""What each camera was doing when the process died: one byte each for its reader and its judge, in a mapped file.

Native code that crashes leaves no exception. Whoever started this process reads the file afterwards: cameras that were
inside of a decoder or a model are suspects. A byte costs a tenth of a microsecond, so every picture can pay it.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from pathlib import Path

BUSY, IDLE = b"1", b"0"
BYTES_PER_CAMERA = 2


class Crumbs:
    """For these cameras; without a *path* nothing is kept."""

    def __init__(self, path: Path | None, camera_ids: Sequence[str]) -> None:
        """Raises OSError when the file cannot be made."""
        self._places = {name: BYTES_PER_CAMERA * number for number, name in enumerate(camera_ids)}
        self._map: mmap.mmap | None = None
        if path is not None:
            with path.open("w+b") as file:
                file.write(IDLE * BYTES_PER_CAMERA * len(camera_ids))
                file.flush()
                self._map = mmap.mmap(file.fileno(), BYTES_PER_CAMERA * len(camera_ids))

    def of_reader(self, camera_id: str) -> Callable[[bool], None]:
        """What the camera's reader calls when it goes into native code (true) and when it is out of it (false)."""
        return lambda busy: self._set(self._places[camera_id], busy)

    def of_judge(self, camera_id: str) -> Callable[[bool], None]:
        """The same for whoever judges its pictures."""
        return lambda busy: self._set(self._places[camera_id] + 1, busy)

    def _set(self, place: int, busy: bool) -> None:
        if self._map is not None:
            self._map[place : place + 1] = BUSY if busy else IDLE


def read_suspects(path: Path, camera_ids: Sequence[str], *, judged_only: bool = False) -> list[str]:
    """Which of the cameras that `Crumbs` was made for, in that order, were at work at the end (or were judged)."""
    try:
        marks = path.read_bytes()
    except OSError:
        return []
    first = 1 if judged_only else 0
    of_each = [marks[BYTES_PER_CAMERA * i + first : BYTES_PER_CAMERA * (i + 1)] for i in range(len(camera_ids))]
    return [name for name, mine in zip(camera_ids, of_each, strict=True) if BUSY in mine]
