"""Whether a camera's picture has stood still: a sensor is never without noise, so no two keyframes of it are the same.

A frozen source gives the same blocks of pixels again as its encoder comes to quantise as before; a live one, strongly
encoded, repeats a few, and how many is a habit of the stream. Blocks that show nothing are equal in the dark as well
and do not count. Measured on 250 films (x264, 80 kbit/s to CRF 33, a keyframe every 1 to 10 s, a drawn clock, five
scenes, sensor noise of 0.3 to 3 of 255): live at most 0.26 of the blocks, and then by habit; frozen more than it takes
from the second to the seventh keyframe on. What that costs in seconds stands in vision/README.md.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from vision.keyframes import Keyframe

REPEATED_SHARE_MAX = 0.4  # of the blocks that show something, in the mean of two comparisons: no live stream does that
REPEATED_SHARE_MIN = 0.15  # enough where the stream's habit is far from it, ...
HABIT_TIMES = 3.0  # ... so many times
HABIT_KEYFRAMES, HABIT_KEYFRAMES_MIN = 20, 8
ONSET_KEYFRAMES = 5  # the latest are no habit yet: an encoder needs some for the same picture to become the same again
OTHER_LIGHT_LEVELS = 1.0  # of 255, at the median block: habits are learnt anew
INTRA_SHARE_MIN = 0.9  # of a codec that draws every block by itself: the rest may be a drawn clock
RICH_STD_MIN = 2.0  # grey levels within a block that shows something
RICH_SHARE_MIN = 0.1  # of all blocks: with fewer nothing can be said
PROOFS = 8  # so many keyframes that differed make it sure that the first of them was live
UNPROVEN_S_MAX = 60.0


class Stillness:
    """Of one connection: call `look` with the latest keyframe at every picture. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._last: Keyframe | None = None
        self._is_still = False
        self._unchanged: npt.NDArray[np.bool_] | None = None  # since it stands still, of an intra codec
        self._share = 0.0  # of the blocks that the last keyframe repeated
        self._habit: deque[float] = deque(maxlen=HABIT_KEYFRAMES + ONSET_KEYFRAMES)
        self._since_s = 0.0  # of the last keyframe that differed from the one before it
        self._changes_s: deque[float] = deque(maxlen=PROOFS)

    def look(self, keyframe: Keyframe | None, now_s: float) -> None:
        """*keyframe* may be the one of the picture before; None where none is known."""
        if keyframe is None or keyframe is self._last:
            return
        before, self._last = self._last, keyframe
        self._is_still = before is not None and self._stands_still(before, keyframe)
        if not self._is_still:
            self._since_s, self._unchanged = now_s, None
            self._changes_s.append(now_s)

    def still_s(self, now_s: float) -> float:
        """How long it has stood still at *now_s*, 0 when it does not."""
        return now_s - self._since_s if self._is_still else 0.0

    def alive_s(self, now_s: float) -> float:
        """Up to when it was surely live; *now_s* where no keyframe can tell, and never more than a minute ago."""
        if self._last is None:
            return now_s
        proven_s = self._since_s if self._last.intra else self._changes_s[0]
        return max(proven_s, now_s - UNPROVEN_S_MAX)

    def _stands_still(self, before: Keyframe, now: Keyframe) -> bool:
        if now.first or before.blocks.shape != now.blocks.shape:
            return False
        equal = np.asarray((now.blocks == before.blocks).all(axis=1))
        if now.intra:  # drawn by itself, a block with little noise is often the same, but not for long
            self._unchanged = equal if self._unchanged is None else equal & self._unchanged
            return _share_of_rich(self._unchanged, now) >= INTRA_SHARE_MIN
        if float(np.median(np.abs(now.blocks.mean(axis=1) - before.blocks.mean(axis=1)))) > OTHER_LIGHT_LEVELS:
            self._habit.clear()
        share_before, self._share = self._share, _share_of_rich(equal, now)
        if (share_before + self._share) / 2 >= self._least():
            return True
        self._habit.append(self._share)
        return False

    def _least(self) -> float:
        known = list(self._habit)[:-ONSET_KEYFRAMES]
        if len(known) < HABIT_KEYFRAMES_MIN:
            return REPEATED_SHARE_MAX
        return min(REPEATED_SHARE_MAX, max(REPEATED_SHARE_MIN, HABIT_TIMES * max(known)))


def _share_of_rich(chosen: npt.NDArray[np.bool_], keyframe: Keyframe) -> float:
    """How many of the blocks that show something are *chosen*; 0 where too few do."""
    if not chosen.any():
        return 0.0
    rich = keyframe.blocks.std(axis=1) >= RICH_STD_MIN
    return float(chosen[rich].mean()) if rich.mean() >= RICH_SHARE_MIN else 0.0
