"""Sightings and scenes in one line, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from vision.catalogue import Catalogue
from vision.scene import Scene, Sighting


def seen(name: str, left: float, top: float, right: float, bottom: float, *, sure: float = 0.9, track: int = 1) -> Any:
    """One object in pixels."""
    return Sighting(name, np.array([left, top, right, bottom], np.float32), sure, track)


EVERYTHING = frozenset(
    name for item in Catalogue.load().violations.values() if item.rule is not None for name in item.rule.needs
)


def scene(*items: Any, looked_for: set[str] | None = None) -> Scene:
    """A picture of 640 × 360 pixels with *items* in it."""
    return Scene(tuple(items), EVERYTHING if looked_for is None else frozenset(looked_for), 640, 360)
