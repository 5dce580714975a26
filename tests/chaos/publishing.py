"""A numbered publisher in a thread of the test, and the wait for its last number."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from firmware_sim.numbered_publisher import NumberedPublisher
from tests.chaos.chain import Chain
from tests.chaos.oracle import judge
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


def check(chain: Chain, publisher: NumberedPublisher) -> None:
    """Every acknowledged number arrives, none is lost, none stored twice, and the record proves itself."""
    with contextlib.suppress(AssertionError):  # which numbers are missing says more than that some are
        wait_for(
            "the last number arrives",
            lambda: publisher.acknowledged() <= {number for _, number in chain.stored_values()},
            ARRIVAL_S,
        )
    verdict = judge(publisher.acknowledged(), range(1, publisher.sent + 1), chain.stored_values(), chain.sensors)
    assert (verdict.lost, verdict.doubled, verdict.foreign) == ([], [], []), str(verdict)
    chain.programs.end("box")
    chain.programs.end("centre")
    found = chain.verify()
    assert (found["problems"], found["gaps"]) == ([], [])
