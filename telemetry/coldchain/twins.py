"""Two probes side by side: their difference is steady; when it moves, one of them drifts.

The usual difference and its scatter come from six-hour means of the last two weeks, so that a defrost or a door
counts little.
"""

from __future__ import annotations

from typing import ClassVar

from telemetry.coldchain.state import Remembering
from telemetry.coldchain.wording import Phrase, phrase

BLOCK_S = 21_600.0
BLOCKS_TO_KNOW, BLOCKS_KEPT = 12, 56
DRIFT_C_MIN, SCATTERS = 1.0, 5.0
PAIR_S = 1_800.0


class TwinWatch(Remembering):
    """Feed it the readings of both."""

    FIELDS: ClassVar[tuple[str, ...]] = ("values", "times", "block", "total_c", "count", "blocks", "told")

    def __init__(self, first: str, second: str) -> None:
        self.first, self.second = first, second
        self.values: list[float | None] = [None, None]
        self.times: list[float] = [0.0, 0.0]
        self.block: int | None = None
        self.total_c, self.count = 0.0, 0
        self.blocks: list[float] = []
        self.told = False

    def feed(self, sensor: str, at_s: float, value_c: float) -> Phrase | None:
        """The phrase of the finding when the difference has left its usual range."""
        mine = 0 if sensor == self.first else 1
        self.values[mine], self.times[mine] = value_c, at_s
        first_c, second_c = self.values
        if mine == 0 or first_c is None or second_c is None or at_s - self.times[0] > PAIR_S:
            return None  # one difference per pair of readings
        block = int(at_s // BLOCK_S)
        why = self._complete() if self.block is not None and block != self.block and self.count else None
        if block != self.block:
            self.block, self.total_c, self.count = block, 0.0, 0
        self.total_c += first_c - second_c
        self.count += 1
        return why

    def _complete(self) -> Phrase | None:
        mean_c = self.total_c / self.count
        usual = sorted(self.blocks)
        if len(usual) >= BLOCKS_TO_KNOW:
            middle_c = usual[len(usual) // 2]
            scatter_c = 1.4826 * sorted(abs(value - middle_c) for value in usual)[len(usual) // 2]
            if abs(mean_c - middle_c) >= max(DRIFT_C_MIN, SCATTERS * scatter_c):
                if self.told:
                    return None
                self.told = True
                return phrase("twins_apart", first=self.first, second=self.second, apart_c=mean_c, usual_c=middle_c)
            self.told = False
        self.blocks = [*self.blocks, mean_c][-BLOCKS_KEPT:]
        return None
