"""What each camera was doing when the process died, in a mapped file: a byte each for its reader, its judge, and each
of its candidate models.

Native code that crashes leaves no exception. Whoever started this process reads the file afterwards: cameras that were
inside of a decoder or a model are suspects, and so is a candidate that was looking or being loaded. A byte costs a
tenth of a microsecond, so every picture can pay it.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from pathlib import Path

BUSY, IDLE = b"1", b"0"
SHADOWS_MAX = 8  # one for each model of a camera
BYTES_PER_CAMERA = 2 + SHADOWS_MAX


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

    def of_shadow(self, camera_id: str, number: int) -> Callable[[bool], None]:
        """The same for the candidate beside the camera's model of that *number*; ValueError for too high a one."""
        if not 0 <= number < SHADOWS_MAX:
            raise ValueError(f"a camera has at most {SHADOWS_MAX} models with a candidate")
        return lambda busy: self._set(self._places[camera_id] + 2 + number, busy)

    def _set(self, place: int, busy: bool) -> None:
        if self._map is not None:
            self._map[place : place + 1] = BUSY if busy else IDLE


def read_suspects(path: Path, camera_ids: Sequence[str], *, judged_only: bool = False) -> list[str]:
    """Which of the cameras that `Crumbs` was made for, in that order, were at work at the end (or were judged)."""
    first = 1 if judged_only else 0
    return [name for name, mine in _read(path, camera_ids) if BUSY in mine[first:2]]


def read_suspected_shadows(path: Path, camera_ids: Sequence[str]) -> list[tuple[str, int]]:
    """Which candidates were at work at the end: the camera and the number of the model beside which each runs."""
    return [
        (name, number)
        for name, mine in _read(path, camera_ids)
        for number in range(len(mine) - 2)
        if mine[2 + number : 3 + number] == BUSY
    ]


def _read(path: Path, camera_ids: Sequence[str]) -> list[tuple[str, bytes]]:
    try:
        marks = path.read_bytes()
    except OSError:
        return []
    return [(name, marks[BYTES_PER_CAMERA * i : BYTES_PER_CAMERA * (i + 1)]) for i, name in enumerate(camera_ids)]
