"""What the line's owner remembers of one Modbus unit: when to ask it again, and which answers may still come late.

A serial answer names its unit, its function and its number of bytes, but not its request. So after a time-out the
same kind of read is not repeated until it is certain that the old answer cannot be taken for the new one: either a
probe, a read whose answer looks different, was answered (a unit answers in the order it was asked, so everything older
is past), or ``LATE_S_MAX`` have gone by. Pure: the time is handed in.
"""

from __future__ import annotations

from edge.drivers.modbus_registers import Block, Request, Shape

BACKOFF_S_FIRST = 1.0
BACKOFF_S_MAX = 60.0
LATE_S_MAX = 30.0  # no unit holds an answer back longer; the usual time-outs are about a second


class Unit:
    """One unit of a line."""

    def __init__(self) -> None:
        self.failures = 0
        self.not_before_s = 0.0
        self._late: dict[Shape, float] = {}

    def failed(self, now_s: float) -> None:
        """It gave no answer: leave it alone for longer and longer."""
        self.failures += 1
        self.not_before_s = now_s + min(BACKOFF_S_MAX, BACKOFF_S_FIRST * 2 ** min(self.failures - 1, 10))

    def timed_out(self, request: Request, now_s: float) -> None:
        """The answer to *request* may still come."""
        self._late[request.shape] = self._late[request.refusal] = now_s + LATE_S_MAX

    def answered(self) -> None:
        """The answer to the newest request came, so none of the older ones is still on its way."""
        self.failures = 0
        self.not_before_s = 0.0
        self._late.clear()

    def may_mistake(self, request: Request, now_s: float) -> bool:
        """Whether a late answer may still arrive that looks like the answer to *request*."""
        self._late = {shape: until_s for shape, until_s in self._late.items() if until_s > now_s}
        return request.shape in self._late

    def refusal_is_certain(self, request: Request) -> bool:
        """Whether an exception can only be the answer to *request*, not to an older one."""
        return request.refusal not in self._late

    def probe(self, block: Block) -> Request | None:
        """A read whose answer cannot be an old one; None if there is none left."""
        for request in block.probes():
            if request.shape not in self._late and (request.table == block.table or self.refusal_is_certain(request)):
                return request
        return None
