"""Half-open TCP: a connection that carries nothing and says nothing is found out in time, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.config import EdgeConfig
from edge.config_ports import Broker
from edge.config_sensors import MqttSensor
from edge.drivers.mqtt import MqttDriver
from edge.drivers.port_counts import PortCounts
from edge.mqtt_status import MqttStatus
from firmware_sim.numbered_publisher import NumberedPublisher
from telemetry.forwarder import Forwarder
from telemetry.spool import EvidenceSpool
from tests.chaos.chain import free_port, running_chain
from tests.chaos.half_open_line import HalfOpenLine
from tests.chaos.publishing import check, publishing
from tests.edge.drivers.mosquitto import Mosquitto, mosquitto, publisher
from tests.telemetry.outbox_parts import event, make, reading
from tests.telemetry.scripted_centre import Centre, serving, write_certificate
from tests.waiting import wait_for

KEEPALIVE_S = 2
# a ping after the keep-alive, another keep-alive without its answer, a look each second, the jitter of the first try
FOUND_S_MAX = 2 * KEEPALIVE_S + 2
RECONNECT_S_MAX = 5.0
SLACK_S = 10.0  # of a busy machine
POOL_S_MAX = 120.0  # up to four idle connections are kept, and each is found out by a time-out of its own (15 s)
SENSOR = MqttSensor.model_validate({"type": "mqtt", "id": "s", "name": "s", "broker": "b", "topic": "s", "field": "n"})


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path_factory.mktemp("broker")) as server:
        yield server


async def until(done: Callable[[], object], within_s: float = FOUND_S_MAX + RECONNECT_S_MAX + SLACK_S) -> None:
    async with asyncio.timeout(within_s):
        while not done():
            await asyncio.sleep(0.02)


def test_a_half_open_broker_is_found_out_within_the_keep_alive_and_no_message_is_lost(broker: Mosquitto) -> None:
    found: list[float | None] = []
    counts = PortCounts()

    async def read(driver: MqttDriver) -> None:
        async for delivery in driver.deliveries():
            found.extend(item.value for item in delivery.readings)
            delivery.confirm()

    async def scenario(line: HalfOpenLine, publish: Callable[[int], None]) -> None:
        port = Broker(id="b", host="127.0.0.1", port=line.port, client_id="half-open")
        port = port.model_copy(update={"keepalive_s": KEEPALIVE_S})
        async with MqttDriver(port, [SENSOR], lambda: True, counts=counts) as driver:
            task = asyncio.create_task(read(driver))
            while not found:  # until the subscription holds
                await asyncio.to_thread(publish, 0)
                await asyncio.sleep(0.1)
            line.freeze()
            for number in range(1, 21):
                await asyncio.to_thread(publish, number)
            assert 20.0 not in found
            await until(lambda: 20.0 in found)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    with HalfOpenLine(broker.port) as line, publisher(broker.port) as client:

        def publish(number: int) -> None:
            client.publish("s", json.dumps({"n": number}), qos=1).wait_for_publish(20)

        asyncio.run(scenario(line, publish))
    assert [value for value in found if value] == [float(number) for number in range(1, 21)]
    assert counts.reconnects >= 1


def test_a_half_open_status_broker_is_found_out_while_nothing_is_said(broker: Mosquitto) -> None:
    async def scenario(line: HalfOpenLine) -> None:
        config = EdgeConfig.model_validate(
            {
                "box": {"name": "b", "data_dir": "box"},
                "server": {"url": "https://centre.example"},
                "status_mqtt": {"host": "127.0.0.1", "port": line.port},
            }
        )
        assert config.status_mqtt is not None
        section = config.status_mqtt.model_copy(update={"keepalive_s": KEEPALIVE_S})
        status = MqttStatus(section, config, "box-1", set)
        task = asyncio.create_task(status.run())
        await until(lambda: status.connected)
        await asyncio.sleep(0.3)  # what is said at the start is acknowledged
        line.freeze()
        await until(lambda: not status.connected)
        await until(lambda: status.connected and line.connections >= 2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with HalfOpenLine(broker.port) as line:
        asyncio.run(scenario(line))


def test_a_half_open_centre_is_found_out_within_the_time_out_and_all_is_sent_again(tmp_path: Path) -> None:
    centre, certificate = Centre(), write_certificate(tmp_path)

    def pending() -> int:
        return sum(lane.pending_batches for lane in outbox.status().lanes.values())

    async def scenario(line: HalfOpenLine) -> float:
        spool, url = EvidenceSpool(tmp_path / "spool"), f"https://127.0.0.1:{line.port}"
        forwarder = Forwarder(
            outbox, spool, url, ca_file=certificate, backoff_s_max=0.3, timeout_s=1.0, live_interval_s=0.05
        )
        task = asyncio.create_task(forwarder.run())
        outbox.commit([reading(1)], [event(1)])
        forwarder.wake()
        await until(lambda: not pending())
        line.freeze()  # the connections are kept for the next request
        started_s = time.monotonic()
        outbox.commit([reading(2)], [event(2)])
        forwarder.wake()
        await until(lambda: not pending())
        assert forwarder.failures >= 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return time.monotonic() - started_s

    with (
        make(tmp_path) as outbox,
        serving(centre, certificate) as url,
        HalfOpenLine(int(url.rpartition(":")[2])) as line,
    ):
        assert asyncio.run(scenario(line)) < 2 + SLACK_S


@pytest.mark.slow
def test_a_whole_chain_whose_line_to_the_centre_dies_silently_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    port = free_port()
    with (
        HalfOpenLine(port) as line,
        running_chain(tmp_path, sensors=8, timed=True, centre_port=port, line_port=line.port) as chain,
    ):
        numbers = NumberedPublisher(chain.broker.port, sensors=8, timed=True, rate_per_s=50)
        with publishing(numbers):
            for _ in range(2):
                stored = len(chain.stored_values())
                wait_for("numbers arrive", lambda stored=stored: len(chain.stored_values()) > stored + 50, POOL_S_MAX)
                before = line.freeze()
                wait_for("the box connects anew", lambda before=before: line.connections > before, POOL_S_MAX)
        check(chain, numbers)
