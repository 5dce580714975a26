"""The judge of every harness: what was acknowledged against what is stored, number by number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """Numbers lost after their acknowledgement, numbers stored at more than one place, and numbers nobody sent."""

    lost: list[int]
    doubled: list[int]
    foreign: list[int]

    def __str__(self) -> str:
        parts = ((name, values) for name, values in vars(self).items())
        return ", ".join(f"{len(values)} {name} {values[:8]}" for name, values in parts)


def judge(acknowledged: Collection[int], sent: range, stored: Iterable[tuple[str, int]], sensors: int) -> Verdict:
    """Compare; *stored* is one (sensor, number) a point. A number under another sensor's name is foreign."""
    counts = Counter(stored)
    numbers = {number for _, number in counts}
    foreign = [n for name, n in counts if n not in sent or name != f"s{n % sensors}"]
    return Verdict(
        lost=sorted(set(acknowledged) - numbers),
        doubled=sorted(number for (_, number), count in counts.items() if count > 1),
        foreign=sorted(foreign),
    )
