"""The box's wall clock jumps by a year, forward and back, while numbered readings flow."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from firmware_sim.numbered_publisher import NumberedPublisher
from tests.chaos.chain import Chain, running_chain
from tests.chaos.publishing import check, publishing
from tests.services import missing
from tests.waiting import wait_for

SENSORS = 4
JUMPS = ("+365d", "-365d", "+0")
LIMIT = "limits: [{sensor: s0, high_c: 1000000, delay_s: 60}]\n"
LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/local/lib/faketime/libfaketimeMT.so.1")
never = threading.Event()


def faketime_library() -> Path:
    """The library that lies about the time; skips, or fails in CI, without it."""
    for pattern in LIBRARIES:
        for path in Path("/").glob(pattern.removeprefix("/")):
            return path
    missing("libfaketime is not installed")
    raise AssertionError


def restart_with_fake_clock(chain: Chain, library: Path, offset: Path) -> None:
    """The box again, on the wall clock that *offset* tells; its monotonic clocks are real, as after a jump."""
    chain.programs.end("box")
    chain.start_box(
        LD_PRELOAD=str(library),
        FAKETIME_TIMESTAMP_FILE=str(offset),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
        DONT_FAKE_MONOTONIC="1",
    )


@pytest.mark.parametrize(
    "timed",
    [pytest.param(True, marks=pytest.mark.slow, id="sensors have clocks"), pytest.param(False, id="sensors have none")],
)
def test_jumps_of_a_year_lose_nothing_double_nothing_and_raise_no_alert(tmp_path: Path, timed: bool) -> None:
    library, offset = faketime_library(), tmp_path / "offset"
    offset.write_text("+0")
    with running_chain(tmp_path, sensors=SENSORS, timed=timed, more=LIMIT) as chain:
        restart_with_fake_clock(chain, library, offset)
        publisher = NumberedPublisher(chain.broker.port, sensors=SENSORS, timed=timed, rate_per_s=100)
        with publishing(publisher):
            for jump in JUMPS:
                sent = publisher.sent
                offset.write_text(jump)
                wait_for("numbers sent after the jump", lambda sent=sent: publisher.sent > sent + 150)  # type: ignore[misc]
        check(chain, publisher)
        assert chain.rows("SELECT kind FROM alert") == []
