"""A numbered publisher in a thread of the test, and the wait for its last number."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Collection, Iterator, Sequence

from firmware_sim.numbered_publisher import NumberedPublisher
from tests.chaos.chain import Chain
from tests.chaos.oracle import judge
from tests.chaos.trace import explain
from tests.waiting import wait_for

ACKNOWLEDGED_S = 60.0
ARRIVAL_S = 90.0


@contextlib.contextmanager
def publishing(publisher: NumberedPublisher) -> Iterator[None]:
    """Publish while the block runs; after it no new number is sent and all that were are acknowledged."""
    given_up = threading.Event()
    thread = threading.Thread(target=publisher.run, kwargs={"give_up": given_up.is_set})
    thread.start()
    try:
        yield
        publisher.stop()
        thread.join(ACKNOWLEDGED_S)
        assert not thread.is_alive(), "the broker acknowledges what is sent again"
    finally:
        given_up.set()
        thread.join()


def check(chain: Chain, publisher: NumberedPublisher, kills: Sequence[tuple[str, int]] = ()) -> None:
    """Every acknowledged number arrives, none is lost, none stored twice, and the record proves itself."""
    wait_while_arriving(chain, publisher.acknowledged())
    verdict = judge(publisher.acknowledged(), range(1, publisher.sent + 1), chain.stored_values(), chain.sensors)
    evidence = f"{verdict}\n{explain(chain, verdict.lost, kills)}" if verdict.lost else str(verdict)
    assert (verdict.lost, verdict.doubled, verdict.foreign) == ([], [], []), evidence
    chain.programs.end("box")
    chain.programs.end("centre")
    found = chain.verify()
    assert (found["problems"], found["gaps"]) == ([], [])


def wait_while_arriving(chain: Chain, expected: Collection[int]) -> None:
    """Until all *expected* numbers stand in the series, or for ARRIVAL_S nothing new came.

    What is late is not lost: on a busy machine a backlog in broker and box takes longer than any fixed time.
    """

    def missing() -> int:
        return len(set(expected) - {number for _, number in chain.stored_values()})

    left, until_s = missing(), time.monotonic() + ARRIVAL_S
    while left and time.monotonic() < until_s:
        with contextlib.suppress(AssertionError):  # which numbers are missing says more than that some are
            wait_for("more numbers arrive", lambda left=left: missing() < left, 5)  # type: ignore[misc]
        now = missing()
        if now < left:
            left, until_s = now, time.monotonic() + ARRIVAL_S
