"""When to try again: full jitter, never before the centre's Retry-After, a loss logged once and the recovery once."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

logger = logging.getLogger(__name__)
FIRST_S = 0.5
JITTER_S_MIN = 0.05
RETRY_AFTER_JITTER_S = 2.0  # a whole town told the same second shall not come at the same second


class Reach:
    """Whether the centre is reachable, as told in the log; shared by all senders of a box."""

    def __init__(self) -> None:
        self.failures = 0
        self.failures_ever = 0
        self.reached_ever = False

    def lost(self, error: Exception) -> None:
        self.failures += 1
        self.failures_ever += 1
        if self.failures == 1:
            logger.warning("centre unreachable, keeping everything: %s", error)

    def regained(self) -> None:
        self.reached_ever = True
        if self.failures:
            logger.info("centre reachable again after %d failed tries", self.failures)
            self.failures = 0


class Backoff:
    """The pauses of one sender."""

    def __init__(self, ceiling_s: float, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._ceiling_s = ceiling_s
        self._uniform = uniform
        self._failures = 0

    def pause_s(self, retry_after_s: float | None = None) -> float:
        """The pause after one more failure."""
        self._failures += 1
        ceiling_s = min(self._ceiling_s, FIRST_S * 2 ** min(self._failures, 10))
        pause_s = self._uniform(JITTER_S_MIN, ceiling_s)
        if retry_after_s is not None:
            pause_s = max(pause_s, retry_after_s + self._uniform(0, min(RETRY_AFTER_JITTER_S, ceiling_s)))
        return pause_s

    def reset(self) -> None:
        self._failures = 0

    async def wait(self, retry_after_s: float | None = None) -> None:
        await asyncio.sleep(self.pause_s(retry_after_s))
