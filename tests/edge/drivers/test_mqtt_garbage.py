"""A broker that speaks no MQTT, half of it, or nothing: the session ends and begins anew, nothing hangs or crashes."""

from __future__ import annotations

import asyncio
import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.config_ports import Broker
from edge.config_sensors import MqttSensor
from edge.drivers.mqtt import MqttDriver
from edge.drivers.mqtt_inbox import BYTES_MAX, Inbox, Message
from edge.drivers.mqtt_taken import SLOT_DIGESTS, TakenMessages

SENSOR = MqttSensor.model_validate({"type": "mqtt", "id": "s", "name": "s", "broker": "b", "topic": "s", "field": "t"})
CONNACK = b"\x20\x03\x00\x00\x00"  # success, no properties (MQTT 5.0, 3.2)


async def greet(data: bytes, deadline_s: float) -> tuple[int, list[object]]:
    """How often the driver connects to a broker that sends *data* after its greeting and closes, and what it gives."""
    connects = 0
    again = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connects
        connects += 1
        await reader.read(1)
        writer.write(CONNACK + data)
        if connects >= 2:
            again.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = Broker(id="b", host="127.0.0.1", port=server.sockets[0].getsockname()[1], client_id="c")
    found: list[object] = []

    async def read(driver: MqttDriver) -> None:
        async for delivery in driver.deliveries():
            found.extend(delivery.readings)
            delivery.confirm()

    async with server, asyncio.timeout(deadline_s), MqttDriver(port, [SENSOR], lambda: True) as driver:
        task = asyncio.create_task(read(driver))
        await again.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return connects, found


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=60))
def test_any_bytes_after_the_greeting_only_cost_the_connection(data: bytes) -> None:
    connects, found = asyncio.run(greet(data, 30.0))
    assert connects >= 2
    assert all(getattr(item, "quality", None) for item in found)


def test_a_message_before_the_garbage_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    publish = b"\x30\x0d\x00\x01s\x00" + b'{"t": 45}'
    assert len(publish) == 15
    connects, found = asyncio.run(greet(publish + b"\xff" * 20, 30.0))
    assert connects >= 2
    assert getattr(found[0], "value", None) == 45.0
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert all("broker b" in text for text in told)


def message(number: int, payload: bytes = b"") -> Message:
    return Message("t", payload, 1, number, False, False, 1, 0.0)


def test_a_full_inbox_says_so_by_count_and_by_bytes_and_has_room_again() -> None:
    async def run() -> None:
        inbox, room = Inbox(), []
        inbox.on_room = lambda: room.append(inbox.is_full)
        for number in range(5_000):
            assert not inbox.is_full
            inbox.put(message(number))
        assert inbox.is_full
        assert [item.mid for item in await inbox.take(500, 1)] == list(range(500))
        assert room == [False]
        await inbox.take(10_000, 1)
        inbox.put(message(1, bytes(BYTES_MAX)))
        assert inbox.is_full
        assert len(await inbox.take(1, 1)) == 1
        assert await inbox.take(1, 0.01) == []

    asyncio.run(run())


@given(st.lists(st.integers(1, 400), max_size=30))
def test_the_newest_committed_digests_survive_any_restart_and_commits_stay_small(batches: list[int]) -> None:
    count, saved, number = 1_000, {}, 0
    taken = TakenMessages("p/", count, saved)
    for size in batches:
        names = [f"{number + offset:016x}" for offset in range(size)]
        number += size
        state = taken.add(names)
        assert sum(len(str(value)) for value in state.values()) < (size + 2 * SLOT_DIGESTS) * 17 + 10
        saved |= {key: str(value) for key, value in state.items()}
        if size % 3 == 0:  # the disk had no room for this batch
            saved |= {key: str(value) for key, value in taken.undo().items()}
            taken = TakenMessages("p/", count, saved)
            assert not any(name in taken for name in names)
            saved |= {key: str(value) for key, value in taken.add(names).items()}
        taken = TakenMessages("p/", count, saved)  # as after a kill
        for recent in range(max(0, number - count), number):
            assert f"{recent:016x}" in taken
    assert len(saved) <= count // SLOT_DIGESTS + 3
