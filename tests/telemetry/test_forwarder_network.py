"""The forwarder on bad lines: delayed, cut, reset and half-open connections, thin ones, and events during a backlog."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from telemetry.forwarder import Forwarder
from telemetry.messages import Reading
from telemetry.outbox import Outbox
from telemetry.spool import EvidenceSpool
from tests.telemetry.outbox_parts import event, gaps, make, reading, receipt, waiting
from tests.telemetry.scripted_centre import Centre, serving, write_certificate
from tests.telemetry.tcp_proxy import Fault, TcpProxy

DEADLINE_S = 40


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not done():
            await asyncio.sleep(0.02)


async def forwarding(forwarder: Forwarder, script: Coroutine[Any, Any, None]) -> None:
    """Run the script beside the forwarder; a forwarder that ends fails the test."""
    task = asyncio.create_task(forwarder.run())
    work = asyncio.create_task(script)
    try:
        done, _ = await asyncio.wait([task, work], return_when=asyncio.FIRST_COMPLETED)
        for item in done:
            item.result()
        assert work in done
    finally:
        for item in (task, work):
            item.cancel()
        await asyncio.gather(task, work, return_exceptions=True)


def bulky(number: int) -> Reading:
    return reading(number).model_copy(update={"reason": os.urandom(200).hex()})


def is_empty(outbox: Outbox) -> bool:
    return not any(lane.pending_batches for lane in outbox.status().lanes.values())


@pytest.mark.parametrize("fault", ["delay", "cut_answer", "reset_request", "swallow"])
def test_everything_arrives_once_through_a_line_that_turns_bad(tmp_path: Path, fault: Fault) -> None:
    centre, certificate = Centre(), write_certificate(tmp_path)

    async def run(outbox: Outbox, port: int) -> None:
        async with TcpProxy(port).listening() as proxy:
            proxy.fault = fault
            forwarder = Forwarder(
                outbox, EvidenceSpool(tmp_path / "spool"), proxy.url, ca_file=certificate, backoff_s_max=0.3,
                timeout_s=1.0, live_interval_s=0.05,
            )  # fmt: skip

            async def script() -> None:
                wanted = 1 if fault == "delay" else 3
                await until(lambda: proxy.connections >= wanted)
                proxy.fault = "none"
                outbox.commit([bulky(99)], [event(99)])
                forwarder.wake()
                await until(lambda: is_empty(outbox))

            await forwarding(forwarder, script())

    with make(tmp_path) as outbox, serving(centre, certificate) as url:
        for number in range(30):
            outbox.commit([bulky(number)], [event(number)])
        asyncio.run(run(outbox, int(url.rpartition(":")[2])))
        expected = [(lane, seq) for lane in ("events", "readings") for seq in range(1, 32)]
        assert sorted(centre.stored) == expected
        assert outbox.status().lanes["readings"].delivered == 31


def test_an_event_overtakes_a_backlog_and_live_readings_stay_close_behind(tmp_path: Path) -> None:
    centre, certificate = Centre(), write_certificate(tmp_path)
    centre.slow_s = 0.5
    live_lags_s: list[float] = []
    event_lags_s: list[float] = []

    async def script(outbox: Outbox, forwarder: Forwarder) -> None:
        backlog = outbox.status().lanes["readings"].last_seq
        await until(lambda: len(centre.arrived) > 0)
        for number in range(1, 6):
            started_s = time.monotonic()
            outbox.commit([reading(number)], [event(number)])
            forwarder.wake()
            await until(lambda seq=number: ("events", seq) in centre.stored)  # type: ignore[misc]
            event_lags_s.append(time.monotonic() - started_s)
            await until(lambda seq=backlog + number: ("readings", seq) in centre.stored)  # type: ignore[misc]
            live_lags_s.append(time.monotonic() - started_s)
        assert ("readings", backlog) not in centre.stored, "the backlog was gone before: the test shows nothing"

    with make(tmp_path, batch_records=10) as outbox, serving(centre, certificate) as url:
        for start in range(0, 4000, 10):
            outbox.commit([bulky(start + number) for number in range(10)], [])
        forwarder = Forwarder(outbox, EvidenceSpool(tmp_path / "spool"), url, ca_file=certificate)
        asyncio.run(forwarding(forwarder, script(outbox, forwarder)))
        historical = {seq for _, lane, seq, _, old in centre.arrived if lane == "readings" and old}
        assert historical
        assert max(historical) <= 400
    assert max(event_lags_s) < 1.0
    assert max(live_lags_s) < 3.0  # the centre itself takes 0.5 s; the pause between live requests is 1 s


def test_a_bandwidth_cap_is_kept_and_events_do_not_wait_for_it(tmp_path: Path) -> None:
    centre, certificate = Centre(), write_certificate(tmp_path)
    cap = 20_000

    async def script(outbox: Outbox, forwarder: Forwarder) -> None:
        await until(lambda: sum({at: size for at, _, _, size, _ in centre.arrived}.values()) > 3 * cap)
        started_s = time.monotonic()
        outbox.commit([], [event(1)])
        forwarder.wake()
        await until(lambda: ("events", 1) in centre.stored)
        assert time.monotonic() - started_s < 1.0

    with make(tmp_path) as outbox, serving(centre, certificate) as url:
        for number in range(400):
            outbox.commit([bulky(number)], [])
        forwarder = Forwarder(
            outbox, EvidenceSpool(tmp_path / "spool"), url, ca_file=certificate, bandwidth_bytes_per_s=cap
        )
        started_s = time.monotonic()
        asyncio.run(forwarding(forwarder, script(outbox, forwarder)))
        assert time.monotonic() - started_s > 2.0
        assert max(size for _, lane, _, size, _ in centre.arrived if lane == "readings") <= cap


def test_retry_after_is_honoured(tmp_path: Path) -> None:
    centre, certificate = Centre(), write_certificate(tmp_path)
    centre.down, centre.retry_after = 1, "2"
    with make(tmp_path) as outbox, serving(centre, certificate) as url:
        outbox.commit([], [event(1)])
        forwarder = Forwarder(outbox, EvidenceSpool(tmp_path / "spool"), url, ca_file=certificate, backoff_s_max=0.1)
        asyncio.run(forwarding(forwarder, until(lambda: is_empty(outbox))))
        first, second = [at for at, *_ in centre.arrived]
        assert second - first >= 2.0


def test_a_sound_batch_refused_for_its_signature_is_kept_not_set_aside(tmp_path: Path) -> None:
    centre, certificate = Centre(), write_certificate(tmp_path)
    centre.refuses_signature = True
    with make(tmp_path) as outbox, serving(centre, certificate) as url:
        for number in range(4):
            outbox.commit([reading(number)], [])
        forwarder = Forwarder(outbox, EvidenceSpool(tmp_path / "spool"), url, ca_file=certificate, backoff_s_max=0.1)

        async def script() -> None:
            await until(lambda: forwarder.failures >= 2)
            assert outbox.status().dead_letters == 0
            centre.refuses_signature = False
            await until(lambda: is_empty(outbox))

        asyncio.run(forwarding(forwarder, script()))
        assert len(centre.stored) == 4


def test_the_box_answers_what_the_centre_asks_for(tmp_path: Path) -> None:
    centre, certificate = Centre(), write_certificate(tmp_path)
    with make(tmp_path, delivered_bytes_max=4 * 600) as outbox, serving(centre, certificate) as url:
        for number in range(10):
            outbox.commit([reading(number)], [])
        outbox.settle([receipt(batch) for batch in waiting(outbox, "readings")])
        centre.missing = [{"epoch": outbox.epoch, "lane": "readings", "first_seq": 1, "last_seq": 10}]
        outbox.commit([], [event(1)])
        forwarder = Forwarder(outbox, EvidenceSpool(tmp_path / "spool"), url, ca_file=certificate, ask_missing_s=0.2)

        async def script() -> None:
            number = 1
            while not any(lane == "readings" for lane, _ in centre.stored) or not is_empty(outbox):
                number += 1
                outbox.commit([], [event(number)])
                forwarder.wake()
                await asyncio.sleep(0.05)

        asyncio.run(forwarding(forwarder, asyncio.wait_for(script(), DEADLINE_S)))
        again = sorted(seq for lane, seq in centre.stored if lane == "readings")
        assert again == list(range(again[0], 11))
        assert 1 < again[0] < 10
        assert gaps(outbox, "missing") == []  # it is on its way to the centre already
        assert outbox.status().lanes["readings"].delivered == 10


def test_a_thin_line_gets_small_requests_and_a_fast_one_large_ones() -> None:
    from telemetry.pace import REQUEST_BYTES_MAX, REQUEST_BYTES_MIN, Pace

    thin, fast = Pace(), Pace()
    for _ in range(12):
        thin.learn(thin.request_bytes, thin.request_bytes / 5_000)
        fast.learn(fast.request_bytes, 0.05)
    assert thin.request_bytes == REQUEST_BYTES_MIN
    assert fast.request_bytes == REQUEST_BYTES_MAX
    fast.learn(100, 0.05)
    assert fast.request_bytes == REQUEST_BYTES_MAX / 2 or fast.request_bytes == REQUEST_BYTES_MAX
    assert Pace(1_000).spend(500) == 0.0
    capped = Pace(1_000)
    capped.spend(500)
    assert capped.spend(1) == pytest.approx(0.5, abs=0.05)


def test_jitter_spreads_over_the_whole_pause_and_retry_after_is_its_floor() -> None:
    from telemetry.backoff import Backoff

    lowest = Backoff(30, lambda low, _: low)
    highest = Backoff(30, lambda _, high: high)
    assert [lowest.pause_s() for _ in range(3)] == [0.05] * 3
    assert [highest.pause_s() for _ in range(8)] == [1, 2, 4, 8, 16, 30, 30, 30]
    assert lowest.pause_s(retry_after_s=7) == 7
    assert highest.pause_s(retry_after_s=60) == 62
