"""The view that a camera should see, kept over a restart: a camera that is turned while the box is off is found out.

The file belongs to one view: when zones, masks, the stream or ``view`` of the configuration change, it counts no more.
It is replaced whole, at most once an hour. A file that cannot be read or written costs only this memory.
"""

from __future__ import annotations

import hashlib
import logging
import os
import zipfile
from pathlib import Path

import numpy as np

from vision.address import public_name
from vision.sight import EMPTY_LOOK, Look, SightCheck
from vision.watch_settings import WatchSettings

logger = logging.getLogger(__name__)
KEPT_EVERY_S = 3600.0
FILE_BYTES_MAX = 1_000_000


class SightMemory:
    """``sight`` is a new `SightCheck` that knows the view of before, where there is one."""

    def __init__(self, settings: WatchSettings) -> None:
        self._path = settings.sight_file
        self._key = _view_key(settings)
        self._kept_s: float | None = None
        self.sight = SightCheck(before=_load(self._path, self._key) if self._path else None)

    def keep(self, now_s: float) -> None:
        """Save the view once it is learnt and then every hour."""
        look = self.sight.reference
        if self._path is None or look is None or (self._kept_s is not None and now_s < self._kept_s + KEPT_EVERY_S):
            return
        self._kept_s = now_s
        part = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                np.savez(file, key=np.array(self._key), **{name: getattr(look, name) for name in EMPTY_LOOK})
            part.rename(self._path)
        except OSError as error:
            logger.warning("%s: the camera's view cannot be kept: %s", self._path, error)


def _view_key(settings: WatchSettings) -> str:
    view = (settings.view, settings.zones, settings.masks, public_name(settings.source))
    return hashlib.sha256(repr(view).encode()).hexdigest()


def _load(path: Path, key: str) -> Look | None:
    """The kept view; None where there is none of this *key*, or it is damaged (which is logged)."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ValueError("too large")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            if str(kept["key"]) != key:
                return None
            parts = {name: np.asarray(kept[name], np.float32) for name in EMPTY_LOOK}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        logger.warning("%s: the kept view of the camera is not usable: %s", path, error)
        return None
    if any(part.shape != EMPTY_LOOK[name] or not np.isfinite(part).all() for name, part in parts.items()):
        logger.warning("%s: the kept view of the camera is not usable: of another size", path)
        return None
    return Look(level=128.0, flooded_share=0.0, **parts)
