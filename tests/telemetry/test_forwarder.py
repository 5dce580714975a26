"""The forwarder against a real TLS server with a private CA: order, retries, refusals, lost answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from telemetry.forwarder import Forwarder
from telemetry.messages import Lane
from telemetry.outbox import Outbox, Pending
from telemetry.server_url import check_server_url
from telemetry.spool import EvidenceSpool
from telemetry.uplink import HttpsUplink, UplinkSettings, UplinkUnavailable
from tests.telemetry.outbox_parts import event, make, reading
from tests.telemetry.scripted_centre import Centre, serving, write_certificate


def filled(folder: Path, readings: int = 3) -> Outbox:
    outbox = make(folder)
    for number in range(readings):
        outbox.commit([reading(number)], [])
    outbox.commit([], [event(1)])
    return outbox


def is_empty(outbox: Outbox) -> bool:
    return not any(lane.pending_batches for lane in outbox.status().lanes.values())


def forward_until(forwarder: Forwarder, done: Callable[[], bool]) -> None:
    async def run() -> None:
        task = asyncio.create_task(forwarder.run())
        async with asyncio.timeout(20):
            while not done():
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


@pytest.mark.parametrize("trouble", ["none", "down", "silent"])
def test_everything_arrives_once_whatever_happens_to_the_answers(tmp_path: Path, trouble: str) -> None:
    centre = Centre()
    if trouble != "none":
        setattr(centre, trouble, 2)
    certificate = write_certificate(tmp_path)
    spool = EvidenceSpool(tmp_path / "spool")
    spool.put(b"sealed", "a" * 64)
    with filled(tmp_path) as outbox, serving(centre, certificate) as url:
        forwarder = Forwarder(outbox, spool, url, ca_file=certificate, backoff_s_max=0.2)
        forward_until(forwarder, lambda: is_empty(outbox) and not spool.waiting())
        assert sorted(centre.stored) == [("events", 1), ("readings", 1), ("readings", 2), ("readings", 3)]
        assert centre.evidence == [f"/api/v1/evidence/{'a' * 64}"]
        assert outbox.status().lanes["readings"].delivered == 3
        assert spool.waiting() == []


def test_a_poison_batch_is_found_by_bisection_and_only_it_is_set_aside(tmp_path: Path) -> None:
    centre = Centre()
    centre.poison = ("readings", 5)
    certificate = write_certificate(tmp_path)
    with filled(tmp_path, readings=8) as outbox, serving(centre, certificate) as url:
        forwarder = Forwarder(outbox, EvidenceSpool(tmp_path / "spool"), url, ca_file=certificate)
        forward_until(forwarder, lambda: is_empty(outbox))
        lane = outbox.status().lanes["readings"]
        assert (lane.delivered, lane.rejected) == (7, 1)
        assert ("readings", 5) not in centre.stored


def test_an_untrusted_certificate_gets_nothing(tmp_path: Path) -> None:
    centre = Centre()
    with filled(tmp_path) as outbox, serving(centre, write_certificate(tmp_path)) as url:

        async def send() -> None:
            async with HttpsUplink(UplinkSettings(url)) as uplink:
                await uplink.send(outbox.pending("readings", records_max=10, bytes_max=10**6))

        with pytest.raises(UplinkUnavailable, match=r"(?i)certificate"):
            asyncio.run(send())
        assert centre.requests == 0


@pytest.mark.parametrize("url", ["http://centre.example", "ftp://x", "https://user:pw@centre.example", "centre"])
def test_an_address_that_would_leak_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"must"):
        check_server_url(url)


def test_plain_http_is_allowed_to_this_machine() -> None:
    assert check_server_url("http://127.0.0.1:8000/") == "http://127.0.0.1:8000"


def test_records_wake_only_the_senders_of_records_and_no_event_is_looked_for_where_none_waits(tmp_path: Path) -> None:
    centre = Centre()
    certificate = write_certificate(tmp_path)
    asked: list[Lane] = []
    with filled(tmp_path) as outbox, serving(centre, certificate) as url:
        assert outbox.has_waiting("events")
        forwarder = Forwarder(outbox, EvidenceSpool(tmp_path / "spool"), url, ca_file=certificate)
        forward_until(forwarder, lambda: is_empty(outbox))
        assert not outbox.has_waiting("events")
        pending = outbox.pending

        def counted(lane: Lane, **options: Any) -> list[Pending]:
            asked.append(lane)
            return pending(lane, **options)

        outbox.pending = counted  # type: ignore[method-assign]
        forwarder = Forwarder(outbox, EvidenceSpool(tmp_path / "spool"), url, ca_file=certificate)
        forwarder.wake_for_records()
        assert {name for name, work in forwarder._work.items() if work.is_set()} == {"events", "live"}
        outbox.commit([reading(10)], [])
        forward_until(forwarder, lambda: ("readings", 4) in centre.stored)
    assert set(asked) == {"readings"}
