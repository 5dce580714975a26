"""Whether a box that was started does its work: it reads its probes, and the centre takes what it sends.

A release is proved by that and by nothing less: a process that runs but is deaf and dumb has to go back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from telemetry.messages import Reading


class Health:
    """Since the start. *reached* tells whether the centre took anything."""

    def __init__(self, *, has_sensors: bool, reached: Callable[[], bool]) -> None:
        self._waits_for_reading = has_sensors
        self._reached = reached

    def take(self, readings: Sequence[Reading]) -> None:
        """These were read. One good value is enough: a probe that was dead before says nothing of a release."""
        if any(reading.quality != "bad" for reading in readings):
            self._waits_for_reading = False

    def lacks(self) -> str:
        """What does not work yet; empty when all does."""
        if self._waits_for_reading:
            return "no sensor could be read"
        return "" if self._reached() else "the centre could not be reached"
