"""A bad line between box and centre: cut, reset, slow, or open with nobody behind it. Nothing is lost or doubled."""

from __future__ import annotations

import threading
from pathlib import Path

from firmware_sim.numbered_publisher import NumberedPublisher
from tests.chaos.bad_line import BadLine
from tests.chaos.chain import running_chain
from tests.chaos.chance import seeded
from tests.chaos.publishing import check, publishing
from tests.series_servers import free_port
from tests.waiting import wait_for

SENSORS = 8
FAULTS_MIN = 20
never = threading.Event()


def test_a_line_that_delays_truncates_and_resets_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    port = free_port()
    with BadLine(port, seeded("line")) as line:
        line.set("none")
        with running_chain(tmp_path, sensors=SENSORS, timed=True, centre_port=port, line_port=line.port) as chain:
            publisher = NumberedPublisher(chain.broker.port, sensors=SENSORS, timed=True, rate_per_s=200)
            line.misbehave()
            with publishing(publisher):
                wait_for("the line has changed often", lambda: line.changes >= FAULTS_MIN)
            line.set("none")
            check(chain, publisher)


def test_a_half_open_line_is_given_up_and_what_it_swallowed_is_sent_again(tmp_path: Path) -> None:
    port = free_port()
    with BadLine(port, seeded("line")) as line:
        line.set("none")
        with running_chain(tmp_path, sensors=SENSORS, timed=True, centre_port=port, line_port=line.port) as chain:
            publisher = NumberedPublisher(chain.broker.port, sensors=SENSORS, timed=True, rate_per_s=50)
            with publishing(publisher):
                wait_for("numbers arrive", chain.stored_values)
                line.set("swallow")
                before = line.connections
                wait_for("the box tries the line again", lambda: line.connections > before)
                wait_for("many wait", lambda: chain.outbox_pending() > 100)
                line.set("none")
            check(chain, publisher)
