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
from tests.chaos.publishing import check, publishing
from tests.waiting import wait_for

SENSORS = 8
RATE_PER_S = 120
BETWEEN_S = (0.05, 2.0)
KILLS_SLOW = int(os.environ.get("BRIGHTLINE_KILLS", "50"))
never = threading.Event()


def kill_at_random(chain: Chain, publisher: NumberedPublisher, victims: tuple[str, ...], kills: int) -> None:
    """*kills* of *victims*, each started again at once; box and centre also while they are still starting.

    The broker dies only while the box is connected and has caught up: mosquitto acknowledges a message before it saves
    it, so what it alone has for those milliseconds dies with it (the last test here).
    """
    chance = seeded("kills")
    for _ in range(kills):
        never.wait(chance.uniform(*BETWEEN_S))
        victim = chance.choice(victims)
        if victim == "broker":
            chain.wait_for_subscription()
            caught_up = f"SELECT count(*) FROM series_point WHERE value >= {publisher.sent}"
            wait_for("the box has caught up", lambda query=caught_up: chain.rows(query) != [(0,)], 60)  # type: ignore[misc]
        chain.kill_and_restart(victim)


@pytest.mark.parametrize("kills", [10, pytest.param(KILLS_SLOW, marks=pytest.mark.slow)])
def test_kills_of_box_centre_and_broker_lose_nothing_and_double_nothing(tmp_path: Path, kills: int) -> None:
    with running_chain(tmp_path, sensors=SENSORS, timed=True) as chain:
        publisher = NumberedPublisher(chain.broker.port, sensors=SENSORS, timed=True, rate_per_s=RATE_PER_S)
        with publishing(publisher):
            kill_at_random(chain, publisher, ("box", "centre", "broker"), kills)
        assert publisher.sent > 20 * kills
        check(chain, publisher)


@pytest.mark.slow
def test_kills_of_box_and_centre_double_nothing_even_if_sensors_have_no_clock(tmp_path: Path) -> None:
    """Without a time of its own a repeated message can be told only by the box's memory of what it took."""
    with running_chain(tmp_path, sensors=SENSORS, timed=False) as chain:
        publisher = NumberedPublisher(chain.broker.port, sensors=SENSORS, timed=False, rate_per_s=RATE_PER_S)
        with publishing(publisher):
            kill_at_random(chain, publisher, ("box", "box", "centre"), KILLS_SLOW // 2)
        check(chain, publisher)


def kill_broker_twice(chain: Chain, publisher: NumberedPublisher) -> None:
    chance = seeded("broker")
    with publishing(publisher):
        for _ in range(2):
            never.wait(chance.uniform(1.0, 2.0))
            chain.kill_and_restart("broker")
        never.wait(chance.uniform(0.5, 1.0))
    assert publisher.reconnects >= 2


def test_two_kills_of_the_broker_with_the_shipped_settings_lose_nothing(tmp_path: Path) -> None:
    with running_chain(tmp_path, sensors=SENSORS, timed=True) as chain:
        publisher = NumberedPublisher(chain.broker.port, sensors=SENSORS, timed=True, rate_per_s=RATE_PER_S)
        kill_broker_twice(chain, publisher)
        check(chain, publisher)


@pytest.mark.slow
def test_a_broker_killed_while_the_box_is_away_loses_at_most_the_message_it_was_saving(tmp_path: Path) -> None:
    """With the default settings all that came since the box left would be gone; one message a kill is mosquitto's own
    limit, because its PUBACK goes out before its save."""
    with running_chain(tmp_path, sensors=SENSORS, timed=True) as chain:
        publisher = NumberedPublisher(chain.broker.port, sensors=SENSORS, timed=True, rate_per_s=RATE_PER_S)
        chain.programs.kill("box")
        kill_broker_twice(chain, publisher)
        chain.start_box()
        wait_for(
            "the last number arrives", lambda: publisher.sent in {number for _, number in chain.stored_values()}, 90
        )
        verdict = judge(publisher.acknowledged(), range(1, publisher.sent + 1), chain.stored_values(), SENSORS)
        assert len(verdict.lost) <= publisher.reconnects, str(verdict)
        assert (verdict.doubled, verdict.foreign) == ([], []), str(verdict)
