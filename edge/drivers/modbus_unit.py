"""What the line's owner remembers of one Modbus unit: when to ask it again, and which answers may still come late.

A serial answer names its unit, its function and its number of bytes, but not its request. So after a time-out the
same kind of read is not repeated until it is certain that the old answer cannot be taken for the new one: either a
probe, a read of another length, was answered (a unit answers in the order it was asked, so everything older is
past), or ``LATE_S_MAX`` have gone by. Pure: the time is handed in.
"""

from __future__ import annotations

from edge.drivers.modbus_registers import Block, Shape

BACKOFF_S_FIRST = 1.0
BACKOFF_S_MAX = 60.0
LATE_S_MAX = 30.0  # no unit holds an answer back longer; the usual time-outs are about a second


class Unit:
    """One unit of a line."""

    def __init__(self) -> None:
        self.failures = 0
        self.not_before_s = 0.0
        self._late: dict[Shape, float] = {}
        self._probes: set[Shape] = set()

    def failed(self, now_s: float) -> None:
        """It gave no answer: leave it alone for longer and longer."""
        self.failures += 1
        self.not_before_s = now_s + min(BACKOFF_S_MAX, BACKOFF_S_FIRST * 2 ** min(self.failures - 1, 10))

    def timed_out(self, shape: Shape, now_s: float, *, probe: bool) -> None:
        """An answer of this shape may still come."""
        self._late[shape] = now_s + LATE_S_MAX
        if probe:
            self._probes.add(shape)

    def answered(self) -> None:
        """The answer to the newest request came, so none of the older ones is still on its way."""
        self.failures = 0
        self.not_before_s = 0.0
        self._late.clear()
        self._probes.clear()

    def may_mistake(self, shape: Shape, now_s: float) -> bool:
        """Whether a late answer of this shape may still arrive."""
        self._late = {item: until_s for item, until_s in self._late.items() if until_s > now_s}
        self._probes &= self._late.keys()
        return shape in self._late

    def probe_count(self, block: Block) -> int | None:
        """How many registers to ask for so that the answer cannot be an old one; None if there is no such number."""
        return next((count for count in block.other_counts() if block.shape(count) not in self._late), None)

    @property
    def exception_is_certain(self) -> bool:
        """Whether an exception that answers a probe is this probe's: an older probe's may come late."""
        return not self._probes
