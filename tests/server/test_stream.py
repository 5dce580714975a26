"""Live updates: whoever may know hears at once, nobody else hears, and nobody holds the centre up."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from server import live
from server.live import QUEUE_MAX, Broadcaster, Change, EventStream
from server.scope import WHOLE, Reach
from tests.server.centre import Centre, Person

Jpeg = Callable[..., bytes]


@contextmanager
def listening(person: Person) -> Iterator[Iterator[str]]:
    """The lines of this person's stream; entered when it flows."""
    with person.stream("GET", "/api/v1/stream") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == "retry: 2000"
        yield lines


def next_alert(lines: Iterator[str]) -> dict[str, object]:
    for line in lines:
        if line.startswith("data: "):
            found: dict[str, object] = json.loads(line.removeprefix("data: "))
            return found
    raise AssertionError("the stream ended")


def test_an_event_of_a_box_and_a_move_are_heard_at_once(centre: Centre, staff: Person, regulator: Person) -> None:
    box = centre.box()
    with listening(staff) as lines:
        alert_id = box.raise_alert(regulator)
        assert next_alert(lines) == {"id": alert_id, "state": "open"}
        assert regulator.move(alert_id, "acknowledge").status_code == 200
        assert next_alert(lines) == {"id": alert_id, "state": "acknowledged"}


def test_staff_of_another_site_hear_nothing(centre: Centre, staff: Person, regulator: Person) -> None:
    here, there = centre.box("Canteen A"), centre.box("Canteen B")
    with listening(staff) as lines:
        there.send_event()
        alert_id = here.raise_alert(regulator)
        assert next_alert(lines)["id"] == alert_id, "the first that is heard is the own site's"


def test_a_stranger_hears_nothing(centre: Centre) -> None:
    with centre.client() as stranger:
        assert stranger.get("/api/v1/stream").status_code == 401


def test_a_slow_reader_is_cut_off_and_the_others_are_not() -> None:
    async def scene() -> None:
        hub = Broadcaster()
        slow, quick = hub.stream(Reach(region_path=WHOLE)), hub.stream(Reach(region_path=WHOLE))
        await anext(slow)
        await anext(quick)
        heard = 0
        for number in range(QUEUE_MAX + 5):
            hub.publish([Change(number, 1, "open")])
            assert f'"id": {number},' in await anext(quick)
            heard += 1
        late = [text async for text in slow]
        assert (heard, len(late)) == (QUEUE_MAX + 5, QUEUE_MAX)
        hub.close()
        assert [text async for text in quick] == []

    asyncio.run(scene())


def test_a_reader_that_takes_nothing_holds_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SEND_S_MAX", 0.05)

    async def scene() -> None:
        async def stuck(_: object) -> None:
            await asyncio.Event().wait()

        hub = Broadcaster()
        await asyncio.wait_for(EventStream(hub.stream(Reach(region_path=WHOLE))).stream_response(stuck), 10)

    asyncio.run(scene())


def test_a_stream_ends_in_time_to_ask_again_who_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "STREAM_LIFE_S", 0.0)

    async def scene() -> None:
        hub = Broadcaster()
        assert [text async for text in hub.stream(Reach(region_path=WHOLE))] == ["retry: 2000\n\n"]
        assert not hub.full

    asyncio.run(scene())


def test_no_more_than_so_many_may_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "STREAMS_MAX", 1)

    async def scene() -> None:
        hub = Broadcaster()
        stream = hub.stream(Reach(region_path=WHOLE))
        assert not hub.full
        await anext(stream)
        assert hub.full
        await stream.aclose()
        assert not hub.full

    asyncio.run(scene())


def test_the_centre_stops_with_a_stream_open(data: Path) -> None:
    centre = Centre(data)
    try:
        person = centre.person("regulator")
        with listening(person) as lines:
            begun = time.monotonic()
            centre.process.terminate()
            with suppress(httpx.RemoteProtocolError):
                assert not any(line.startswith("data") for line in lines)
            assert centre.process.wait(10) == 0
            assert time.monotonic() - begun < 10
    finally:
        centre.stop()
