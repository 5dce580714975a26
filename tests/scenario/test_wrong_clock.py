"""A box that boots a year in the past, from the first reading to the repaired series of the real centre."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge.clock import STATE_KEY, BoxClock
from edge.recorder import Recorder
from edge.timekeeping import Timekeeper
from telemetry.forwarder import Forwarder
from telemetry.messages import Event, Reading
from telemetry.outbox import Outbox
from telemetry.spool import EvidenceSpool
from tests.server.centre import Centre

TRUE_S = datetime(2026, 6, 1, tzinfo=UTC).timestamp()
YEAR_S = 365 * 86_400.0
INTERVAL_S = 10.0


class Machine:
    """Its clocks: real time passes, the wall clock is a year behind until NTP sets it."""

    passed_s = 0.0
    wrong_by_s = -YEAR_S
    synced = False

    def clock(self, saved: str | None) -> BoxClock:
        return BoxClock(
            saved,
            boot="boot-1",
            wall_s=lambda: TRUE_S + self.passed_s + self.wrong_by_s,
            steady_s=lambda: 5.0 + self.passed_s,
            kernel_synced=lambda: self.synced,
        )


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    running = Centre(tmp_path / "centre")
    yield running
    assert running.stop() == 0


def test_readings_told_a_year_too_early_end_at_their_true_times(tmp_path: Path, centre: Centre) -> None:
    box = centre.box()
    machine = Machine()
    with Outbox.open(tmp_path / "outbox.sqlite", box.box_id, box.signer, boot_id="boot-1") as outbox:
        asyncio.run(run_box(outbox, machine, EvidenceSpool(tmp_path / "spool"), centre.url))
    rows = sorted(row for row in centre.dump()["series_point"] if row[0] == box.box_id)
    assert [(row[3] / 1000 - TRUE_S, row[4]) for row in rows] == [(number * INTERVAL_S, number) for number in range(20)]
    found = centre.verified()
    assert (found["problems"], found["gaps"], found["readings"]) == ([], [], 20)


async def run_box(outbox: Outbox, machine: Machine, spool: EvidenceSpool, url: str) -> None:
    """Ten readings by the wrong clock with a restart in between, then NTP, then ten more."""
    forwarder = Forwarder(outbox, spool, url, live_interval_s=0.05)
    clock = machine.clock(None)
    recorder = Recorder(outbox, forwarder.wake_for_records, synced=lambda: clock.synced())  # noqa: PLW0108 - the clock is replaced below

    async def record(events: Sequence[Event], state: dict[str, str | None]) -> None:
        await recorder.record(events=events, state=state)

    tasks = [asyncio.create_task(forwarder.run()), asyncio.create_task(recorder.run())]
    try:
        await recorder.record(state={STATE_KEY: clock.dump()})
        for number in range(20):
            if number == 5:
                machine.wrong_by_s = YEAR_S  # set by hand, wrongly
                clock = machine.clock(outbox.load_state(STATE_KEY)[STATE_KEY])
            if number == 10:
                machine.wrong_by_s, machine.synced = 0.0, True
                await Timekeeper(clock, "box", record, lambda _: {}).poll()
            reading = Reading(
                sensor_id="s", quantity="temperature", value=number, unit="°C", observed_at=clock.now(),
                clock_synced=clock.synced(),
            )  # fmt: skip
            await recorder.record([reading])
            machine.passed_s += INTERVAL_S
        async with asyncio.timeout(40):
            while any(lane.pending_batches for lane in outbox.status().lanes.values()):
                await asyncio.sleep(0.05)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        recorder.close()
