"""mosquitto with the settings that configs/ ships, killed: what that costs, the box being there or away."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from firmware_sim.numbered_publisher import NumberedPublisher
from tests.chaos.chain import Chain, running_chain
from tests.chaos.chance import seeded
from tests.chaos.oracle import judge
from tests.chaos.publishing import check, publishing, wait_while_arriving
from tests.waiting import wait_for

SENSORS = 8
LOSS_WINDOW_S = 3.0  # it saves in the second after the last one but one; the third is for a busy disk
never = threading.Event()


def kill_while_connected(chain: Chain, kills: int) -> None:
    """At random moments at which the box has its session, the publisher sending."""
    chance = seeded("broker")
    chain.broker.wait_for_save()
    for _ in range(kills):
        chain.wait_for_subscription()
        never.wait(chance.uniform(0.2, 1.5))
        chain.kill_and_restart("broker")
    chain.wait_for_subscription()


@pytest.mark.parametrize(
    ("kills", "rate_per_s"), [(2, 400), pytest.param(20, 3_000, marks=pytest.mark.slow)], ids=["two", "twenty"]
)
def test_kills_of_the_broker_with_the_shipped_settings_lose_nothing_while_the_box_is_connected(
    tmp_path: Path, kills: int, rate_per_s: int
) -> None:
    """It hands each message to the box before the PUBACK, so what it had not saved is with the box."""
    with running_chain(tmp_path, sensors=SENSORS, timed=True) as chain:
        publisher = NumberedPublisher(chain.broker.port, sensors=SENSORS, timed=True, rate_per_s=rate_per_s)
        with publishing(publisher):
            kill_while_connected(chain, kills)
        assert publisher.reconnects >= kills
        check(chain, publisher)


@pytest.mark.slow
def test_a_broker_killed_while_the_box_is_away_loses_at_most_its_last_seconds(tmp_path: Path) -> None:
    with running_chain(tmp_path, sensors=SENSORS, timed=True) as chain:
        publisher = NumberedPublisher(chain.broker.port, sensors=SENSORS, timed=True, rate_per_s=120)
        chain.broker.wait_for_save()
        chain.programs.kill("box")
        saved: set[int] = set()
        at_risk: set[int] = set()
        with publishing(publisher):
            for _ in range(2):
                sent = publisher.sent
                wait_for("more is acknowledged", lambda sent=sent: len(publisher.acknowledged()) > sent + 100)  # type: ignore[misc]
                saved |= publisher.acknowledged() - at_risk
                never.wait(LOSS_WINDOW_S)
                chain.kill_and_restart("broker")
                at_risk |= publisher.acknowledged() - saved
        chain.start_box()
        wait_while_arriving(chain, saved)
        verdict = judge(saved, range(1, publisher.sent + 1), chain.stored_values(), SENSORS)
        assert len(saved) > 200
        assert (verdict.lost, verdict.doubled, verdict.foreign) == ([], [], []), str(verdict)
