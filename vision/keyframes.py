"""What a stream's keyframes show, as small samples: the pictures that are drawn without any picture before them.

Between keyframes an encoder leaves out what hardly changes, so that the pictures of an empty kitchen are equal for
seconds; only a keyframe shows the noise of the sensor, or that there is none (`vision.stillness`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vision.frame import Image

BLOCK_PX = 16
BLOCKS_MAX = (30, 50)  # down and across; of larger pictures every second (third, ...) block counts
SPACING_S = 0.9  # nearer keyframes (a camera that sends nothing else) say nothing more


@dataclass(frozen=True, eq=False)
class Keyframe:
    """``blocks`` (N, 256): the brightness of blocks of 16 × 16 pixels. ``intra``: the codec has nothing but keyframes,
    and draws each block by itself. ``first`` of its connection: a film that is played again begins as it did."""

    blocks: Image
    intra: bool
    first: bool = False

    @classmethod
    def of(cls, grey: Image, *, intra: bool, first: bool = False) -> Keyframe:
        """From brightness of shape (height, width)."""
        rows, columns = grey.shape[0] // BLOCK_PX, grey.shape[1] // BLOCK_PX
        whole = grey[: rows * BLOCK_PX, : columns * BLOCK_PX].reshape(rows, BLOCK_PX, columns, BLOCK_PX)
        down, across = (max(1, -(-count // most)) for count, most in zip((rows, columns), BLOCKS_MAX, strict=True))
        some = whole[::down, :, ::across].swapaxes(1, 2)
        return cls(np.ascontiguousarray(some).reshape(-1, BLOCK_PX * BLOCK_PX), intra, first)


class Keyframes:
    """Of one connection: have it `take` every decoded picture; ``latest`` is the newest sample, None before any."""

    def __init__(self, video: Any) -> None:
        """*video* is the stream of an opened container."""
        self.latest: Keyframe | None = None
        self._intra = bool(video.codec_context.codec.intra_only)
        self._taken_s: float | None = None

    def take(self, picture: Any, now_s: float) -> None:
        """Sample *picture* if it is a keyframe; the colours' and the bits' format does not matter."""
        if not picture.key_frame or (self._taken_s is not None and 0 <= now_s - self._taken_s < SPACING_S):
            return
        self._taken_s = now_s
        grey = picture.to_ndarray(format="gray")
        self.latest = Keyframe.of(grey, intra=self._intra, first=self.latest is None)
