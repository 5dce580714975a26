"""SIGKILL at random moments to box, centre, broker and series database, while numbered readings flow.

After it every number that the broker acknowledged stands in the series store, and none of them twice.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from firmware_sim.numbered_publisher import NumberedPublisher
from tests.chaos.chain import Chain, running_chain
from tests.chaos.chance import seeded
from tests.chaos.publishing import check, publishing
from tests.chaos.trace import newest_committed
from tests.series_servers import InfluxServer
from tests.waiting import wait_for

SENSORS = 8
RATE_PER_S = 120
BETWEEN_S = (0.05, 2.0)
KILLS_SLOW = int(os.environ.get("BRIGHTLINE_KILLS", "50"))
never = threading.Event()


class Killer:
    """Kills by chance and remembers whom, at which number.

    Broker and box never die together: what the broker saved last is up to two seconds old, and what came since has
    the box alone, perhaps not on its disk yet. So the broker dies only while the box is connected and has caught up,
    and after that the box lives until it has committed what the broker had acknowledged.
    """

    def __init__(self, chain: Chain, publisher: NumberedPublisher) -> None:
        self._chain = chain
        self._publisher = publisher
        self._chance = seeded("kills")
        self._to_commit = 0
        self.kills: list[tuple[str, int]] = []

    def kill(self, victims: tuple[str, ...], kills: int) -> None:
        """*kills* of *victims*, each started again at once; box and centre also while they are still starting."""
        self._chain.broker.wait_for_save()  # killed before, it would know no session and keep nothing for it
        for _ in range(kills):
            never.wait(self._chance.uniform(*BETWEEN_S))
            victim = self._chance.choice(victims)
            if victim == "broker":
                self._chain.wait_for_subscription()
                self._wait_for_commit(self._publisher.sent)
            elif victim == "box":
                self._wait_for_commit(self._to_commit)
            self.kills.append((victim, self._publisher.sent))
            self._chain.kill_and_restart(victim)
            if victim == "broker":
                self._to_commit = max(self._publisher.acknowledged(), default=0)

    def _wait_for_commit(self, number: int) -> None:
        """Until the box has *number* on its disk; numbers come in order, so it has those before, too."""
        wait_for(f"the box has committed {number}", lambda: newest_committed(self._chain) >= number, 120)


@contextmanager
def series_store(name: str, folder: Path) -> Iterator[InfluxServer | None]:
    """``record``: the points in the centre's own record; ``influx``: a real InfluxDB, which is killed like the rest."""
    if name == "record":
        yield None
        return
    server = InfluxServer(folder / "influx")
    try:
        yield server
    finally:
        server.stop()


def run_kills(folder: Path, store: str, kills: int) -> None:
    with (
        series_store(store, folder) as influx,
        running_chain(folder, sensors=SENSORS, timed=True, influx=influx) as chain,
    ):
        publisher = NumberedPublisher(chain.broker.port, sensors=SENSORS, timed=True, rate_per_s=RATE_PER_S)
        killer = Killer(chain, publisher)
        victims = ("box", "centre", "broker") + (("influx",) if influx else ())
        with publishing(publisher):
            killer.kill(victims, kills)
        assert publisher.sent > 20 * kills
        check(chain, publisher, killer.kills)


@pytest.mark.parametrize(("store", "kills"), [("record", 5), ("influx", 5)])
def test_kills_of_box_centre_and_broker_lose_nothing_and_double_nothing(tmp_path: Path, store: str, kills: int) -> None:
    run_kills(tmp_path, store, kills)


@pytest.mark.slow
@pytest.mark.parametrize("store", ["record", "influx"])
def test_many_kills_lose_nothing_and_double_nothing(tmp_path: Path, store: str) -> None:
    run_kills(tmp_path, store, KILLS_SLOW)


@pytest.mark.slow
def test_kills_of_box_and_centre_double_nothing_even_if_sensors_have_no_clock(tmp_path: Path) -> None:
    """Without a time of its own a repeated message can be told only by the box's memory of what it took."""
    with running_chain(tmp_path, sensors=SENSORS, timed=False) as chain:
        publisher = NumberedPublisher(chain.broker.port, sensors=SENSORS, timed=False, rate_per_s=RATE_PER_S)
        killer = Killer(chain, publisher)
        with publishing(publisher):
            killer.kill(("box", "box", "centre"), KILLS_SLOW // 2)
        check(chain, publisher, killer.kills)
