"""SIGKILL at random moments to the box, the centre and the broker, while numbered readings flow.

After it every number that the broker acknowledged stands in the series store, and none of them twice.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from firmware_sim.numbered_publisher import NumberedPublisher
from tests.chaos.chain import Chain, running_chain
from tests.chaos.chance import seeded
from tests.chaos.oracle import judge
from tests.waiting import wait_for

SENSORS = 8
RATE_PER_S = 120
BETWEEN_S = (0.05, 2.0)
KILLS_SLOW = int(os.environ.get("BRIGHTLINE_KILLS", "50"))


def kill_at_random(chain: Chain, publisher: NumberedPublisher, victims: tuple[str, ...], kills: int) -> None:
    """Publish while *kills* of *victims* fall; returns when every number is acknowledged and has arrived."""
    chance = seeded("kills")
    given_up = threading.Event()
    source = threading.Thread(target=publisher.run, kwargs={"give_up": given_up.is_set})
    source.start()
    try:
        for _ in range(kills):
            given_up.wait(chance.uniform(*BETWEEN_S))
            chain.kill_and_restart(chance.choice(victims))
        publisher.stop()
        source.join(60)
        assert not source.is_alive(), "the broker acknowledges what is sent again"
    finally:
        given_up.set()
        source.join()
    wait_for(
        "the last number arrives",
        lambda: publisher.acknowledged() <= {number for _, number in chain.stored_values()},
        90,
    )


def check(chain: Chain, publisher: NumberedPublisher) -> None:
    """Nothing lost, nothing twice, and the record proves itself."""
    verdict = judge(publisher.acknowledged(), range(1, publisher.sent + 1), chain.stored_values(), SENSORS)
    assert (verdict.lost, verdict.doubled, verdict.foreign) == ([], [], []), str(verdict)
    chain.programs.end("box")
    chain.programs.end("centre")
    found = chain.verify()
    assert (found["problems"], found["gaps"]) == ([], [])


@pytest.mark.parametrize("kills", [10, pytest.param(KILLS_SLOW, marks=pytest.mark.slow)])
def test_kills_of_box_centre_and_broker_lose_nothing_and_double_nothing(tmp_path: Path, kills: int) -> None:
    with running_chain(tmp_path, sensors=SENSORS, timed=True) as chain:
        publisher = NumberedPublisher(chain.broker.port, sensors=SENSORS, timed=True, rate_per_s=RATE_PER_S)
        kill_at_random(chain, publisher, ("box", "centre", "broker"), kills)
        assert publisher.sent > 20 * kills
        check(chain, publisher)


@pytest.mark.slow
def test_kills_of_box_and_centre_double_nothing_even_if_sensors_have_no_clock(tmp_path: Path) -> None:
    """Without a time of its own a repeated message can be told only by the box's memory of what it took."""
    with running_chain(tmp_path, sensors=SENSORS, timed=False) as chain:
        publisher = NumberedPublisher(chain.broker.port, sensors=SENSORS, timed=False, rate_per_s=RATE_PER_S)
        kill_at_random(chain, publisher, ("box", "box", "centre"), KILLS_SLOW // 2)
        check(chain, publisher)
