"""Whose picture is judged next: the camera's that has waited longest, measured in its own intervals. Pure.

While there is time for all, that is the order in which pictures come. When there is not, every camera gets the same
share of the rate that was asked for, whatever the others do; a camera that comes back after an hour gets one turn
first, not an hour's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class Scheduler:
    """``intervals_s``: of each camera, by its number, the seconds between two pictures."""

    def __init__(self, intervals_s: Sequence[float]) -> None:
        self._intervals_s = list(intervals_s)
        self._served_s = [float("-inf")] * len(intervals_s)

    def choose(self, ready: Iterable[int], now_s: float) -> int | None:
        """The one of the *ready* cameras whose turn it is at monotonic *now_s*; None when none is ready."""
        chosen = max(ready, key=lambda number: self._waited(number, now_s), default=None)
        if chosen is not None:
            self._served_s[chosen] = now_s
        return chosen

    def _waited(self, number: int, now_s: float) -> float:
        return (now_s - self._served_s[number]) / self._intervals_s[number]
