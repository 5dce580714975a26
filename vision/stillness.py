"""Whether a camera's picture has stood still: a sensor is never without noise, so no two keyframes of it are the same.

A frozen source gives the same blocks of pixels again as soon as its encoder quantises as before; a live one, encoded
strongly, repeats a few. Measured on films of x264 and x265, 100 kbit/s to CRF 33, keyframes every 1 to 10 s, a drawn
clock: live at most 0.25 of the blocks that show something (sensor noise of 0.3 of 255), frozen 0.4 or more from the
second to the fifth keyframe on. Blocks that show nothing are equal in the dark as well and do not count.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from vision.keyframes import Keyframe

REPEATED_SHARE_MIN = 0.4  # of the blocks that show something; ...
STILL_SHARE_MIN = 0.3  # ... so many while it stands still already: an encoder may quantise otherwise for once
INTRA_SHARE_MIN = 0.9  # of a codec that draws every block by itself: the rest may be a drawn clock
RICH_STD_MIN = 2.0  # grey levels within a block that shows something
RICH_SHARE_MIN = 0.1  # of all blocks: with fewer nothing can be said
PROOFS = 4  # an encoder needs so many keyframes until it gives the same blocks for the same picture
UNPROVEN_S_MAX = 60.0


class Stillness:
    """Of one connection: call `look` with the latest keyframe at every picture. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._last: Keyframe | None = None
        self._still: npt.NDArray[np.bool_] | None = None  # the blocks that were repeated; None: it does not stand still
        self._since_s = 0.0  # of the last keyframe that differed from the one before it
        self._changes_s: deque[float] = deque(maxlen=PROOFS)

    def look(self, keyframe: Keyframe | None, now_s: float) -> None:
        """*keyframe* may be the one of the picture before; None where none is known."""
        if keyframe is None or keyframe is self._last:
            return
        before, self._last = self._last, keyframe
        repeated = None if before is None else self._repeated(before, keyframe)
        if repeated is None:
            self._since_s = now_s
            self._changes_s.append(now_s)
        self._still = repeated

    def still_s(self, now_s: float) -> float:
        """How long it has stood still at *now_s*, 0 when it does not."""
        return 0.0 if self._still is None else now_s - self._since_s

    def alive_s(self, now_s: float) -> float:
        """Up to when it was surely live; *now_s* where no keyframe can tell, and never more than a minute ago."""
        if self._last is None:
            return now_s
        proven_s = self._since_s if self._last.intra else self._changes_s[0]
        return max(proven_s, now_s - UNPROVEN_S_MAX)

    def _repeated(self, before: Keyframe, now: Keyframe) -> npt.NDArray[np.bool_] | None:
        """The blocks of *now* that were there *before*; None when they are too few."""
        if before.blocks.shape != now.blocks.shape:
            return None
        rich = now.blocks.std(axis=1) >= RICH_STD_MIN
        if not len(rich) or rich.mean() < RICH_SHARE_MIN:
            return None
        equal = np.asarray((now.blocks == before.blocks).all(axis=1))
        if now.intra and self._still is not None:
            equal &= self._still  # drawn by itself, a block with little noise is often the same, but not for long
        least = STILL_SHARE_MIN if self._still is not None else REPEATED_SHARE_MIN
        return equal if equal[rich].mean() >= (INTRA_SHARE_MIN if now.intra else least) else None
