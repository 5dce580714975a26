"""One picture of a camera and when it was taken."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from vision.keyframes import Keyframe

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Frame:
    """``image`` is (height, width, 3) in BGR; ``monotonic_s`` orders and times, ``captured_at`` (UTC) is for people.

    ``keyframe``: the stream's latest, the same object until the next comes; None where none is known.
    """

    image: Image
    captured_at: datetime
    monotonic_s: float
    index: int
    keyframe: Keyframe | None = None
