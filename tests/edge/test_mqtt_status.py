"""The status at a real broker: last will, retained states, events, a broker that dies, hangs, forgets or refuses."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.config import EdgeConfig
from edge.mqtt_status import EVENTS_MAX, MqttStatus
from edge.status_topics import OpenFlags
from telemetry.messages import Event, Reading
from tests.edge.broker_watch import BrokerWatch, watching
from tests.edge.drivers.mosquitto import Mosquitto, mosquitto, publisher
from tests.edge.drivers.test_mqtt_access import write_certificate
from tests.services import require
from tests.waiting import wait_for
from tests.warm import WarmProcess

AT = datetime(2026, 1, 2, tzinfo=UTC)
DEADLINE_S = 30.0
CONNACK = b"\x20\x02\x00\x00"  # accepted (MQTT 3.1.1, 3.2)
STATE = "brightline/box-1/sensor/air/state"
BOX = """\
box: {{name: b, data_dir: box}}
server: {{url: "http://127.0.0.1:9"}}
brokers: [{{id: m, host: 127.0.0.1, port: {port}, client_id: box}}]
sensors: [{{type: mqtt, id: air, name: 空气, place: 冷库, broker: m, topic: air, field: t}}]
limits: [{{sensor: air, high_c: 8, delay_s: 0}}]
status_mqtt: {{host: 127.0.0.1, port: {port}, interval_s: 0.1, home_assistant: true}}
"""


def config(port: int, **status: Any) -> EdgeConfig:
    sensor = {"type": "mqtt", "id": "air", "name": "air", "broker": "m", "topic": "air", "field": "t"}
    return EdgeConfig.model_validate(
        {
            "box": {"name": "b", "data_dir": "box"},
            "server": {"url": "http://127.0.0.1:9"},
            "sensors": [sensor],
            "status_mqtt": {"host": "127.0.0.1", "port": port, "interval_s": 0.1, **status},
        }
    )


def reading(value: float) -> Reading:
    return Reading(sensor_id="air", quantity="temperature", value=value, unit="°C", observed_at=AT)


def excursion(number: int, step: str = "opened") -> Event:
    return Event(
        event_id=f"i{number}.{step}", incident_id=f"i{number}", type=f"excursion_{step}", severity="critical",
        source_id="air", at=AT + timedelta(seconds=number), data={"kind": "temperature_excursion"},
    )  # fmt: skip


@asynccontextmanager
async def running(port: int, flags: OpenFlags | None = None, **options: Any) -> AsyncIterator[MqttStatus]:
    whole = config(port, **options)
    assert whole.status_mqtt is not None
    status = MqttStatus(whole.status_mqtt, whole, "box-1", lambda: flags or set())
    task = asyncio.create_task(status.run())
    try:
        yield status
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.02)


def start_box(folder: Path) -> WarmProcess:
    with (folder / "box.log").open("ab") as log:
        return WarmProcess("edge.cli", "run", str(folder / "box.yaml"), stderr=log.fileno())


def stop_box(box: WarmProcess, number: signal.Signals) -> None:
    box.send_signal(number)
    box.wait(DEADLINE_S)


def test_a_box_shows_values_alarms_and_events_and_its_last_will_says_that_it_was_killed(
    tmp_path: Path, enrolled: Path
) -> None:
    with mosquitto(tmp_path / "broker") as broker, watching(broker.port) as seen, publisher(broker.port) as sensor:
        (tmp_path / "box.yaml").write_text(BOX.format(port=broker.port), "utf-8")
        box = start_box(tmp_path)
        try:
            seen.wait("brightline/box-1/available", "online")
            seen.wait("brightline/box-1/sensor/air/alarm", "OFF")
            _warm(sensor, seen, 9.5, alarm="ON")
            stop_box(box, signal.SIGKILL)
            seen.wait("brightline/box-1/available", "offline")
            box = start_box(tmp_path)
            seen.wait("brightline/box-1/available", "online")
            with watching(broker.port) as late:  # who comes later is told what is
                late.wait("brightline/box-1/sensor/air/alarm", "ON")
                assert all(retained for topic, _, retained in late.messages if topic.startswith("brightline"))
            _warm(sensor, seen, 4.0, alarm="OFF")
            stop_box(box, signal.SIGTERM)
            assert box.returncode == 0
            seen.wait("brightline/box-1/available", "offline")
        finally:
            box.kill()
            box.wait()
        new, end = seen.all("brightline/box-1/events")
        [entity] = seen.all("homeassistant/sensor/box-1/air/config")[:1]
    assert (new["type"], new["before"]["false_positive"], new["after"]["false_positive"]) == ("new", True, False)
    assert (end["type"], end["after"]["id"]) == ("end", new["after"]["id"])
    assert new["after"]["end_time"] is None
    assert end["after"]["end_time"] >= new["after"]["start_time"]
    assert (entity["device_class"], entity["unit_of_measurement"]) == ("temperature", "°C")


def _warm(sensor: Any, seen: BrokerWatch, value: float, *, alarm: str) -> None:
    sensor.publish("air", json.dumps({"t": value}), qos=1).wait_for_publish(20)
    seen.wait("brightline/box-1/sensor/air/alarm", alarm)
    wanted = {"value": value, "quality": "good", "unit": "°C"}  # it may come after the alarm
    states = "brightline/box-1/sensor/air/state"
    wait_for("its state says so", lambda: any(wanted.items() <= state.items() for state in seen.all(states)[-1:]))


def test_a_broker_that_went_is_told_everything_again_and_its_loss_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def scenario(broker: Mosquitto, seen: BrokerWatch) -> None:
        async with running(broker.port, {("air", "alarm")}) as status:
            await until(lambda: status.connected)
            status.show([reading(3.0)], [excursion(1)])
            await until(lambda: seen.all(STATE) and seen.all("brightline/box-1/events"))
            await asyncio.to_thread(broker.stop)
            await until(lambda: any("is lost" in item.getMessage() for item in caplog.records))
            assert not status.connected
            seen.messages.clear()
            status.show([reading(4.0)], [])
            status.show([reading(5.0)], [excursion(2), excursion(1, "closed")])
            await asyncio.to_thread(broker.start)
            await until(lambda: seen.all(STATE) and len(seen.all("brightline/box-1/events")) >= 2)

    with mosquitto(tmp_path / "broker") as broker, watching(broker.port) as seen:
        asyncio.run(scenario(broker, seen))
        seen.wait("brightline/box-1/available", "offline")
        fresh = {topic: text for topic, text, retained in seen.messages if not retained}
        told_events = [(item["type"], item["after"]["id"]) for item in seen.all("brightline/box-1/events")]
    assert json.loads(fresh[STATE])["value"] == 5.0
    assert fresh["brightline/box-1/sensor/air/alarm"] == "ON"
    assert told_events == [("new", "i2"), ("end", "i1")]
    told = [item.getMessage() for item in caplog.records if item.name == "edge.mqtt_status"]
    assert len(told) == 2
    assert "is lost" in told[0]
    assert "connected again" in told[1]


def test_while_the_broker_acknowledges_nothing_showing_costs_nothing_and_what_waits_is_bounded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> MqttStatus:
        async def greet_and_fall_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(CONNACK)
            while await reader.read(65_536):
                pass
            writer.close()

        mute = await asyncio.start_server(greet_and_fall_silent, "127.0.0.1", 0)
        async with mute, running(mute.sockets[0].getsockname()[1]) as status:
            await until(lambda: status.connected)
            start_s = time.monotonic()
            for number in range(4 * EVENTS_MAX):
                status.show([reading(float(number))], [excursion(number)])
            assert time.monotonic() - start_s < 2, "2,000 commits are shown without waiting"
            await asyncio.sleep(0)
            return status

    status = asyncio.run(scenario())
    assert status._readings == {"air": reading(4.0 * EVENTS_MAX - 1)}
    assert len(status._events) == EVENTS_MAX
    assert status.events_dropped == 3 * EVENTS_MAX
    assert status._events[-1]["after"]["id"] == f"i{4 * EVENTS_MAX - 1}"
    assert len([item for item in caplog.records if "the oldest are not shown" in item.getMessage()]) == 1


def test_it_connects_over_tls_with_a_password_and_a_refusal_shows_no_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = write_certificate(tmp_path, "authority", None)
    write_certificate(tmp_path, "server", authority)
    passwords = tmp_path / "passwords"
    passwords.touch()
    subprocess.run([require("mosquitto_passwd"), "-b", str(passwords), "box", "right secret"], check=True)
    more = (
        f"allow_anonymous false\npassword_file {passwords}\ncertfile {tmp_path}/server.pem\n"
        f"keyfile {tmp_path}/server.key\n"
    )
    options = {"username": "box", "tls": {"ca_file": str(tmp_path / "authority.pem")}}

    async def connects(port: int, password: str) -> None:
        async with running(port, password=password, **options) as status:
            await until(lambda: status.connected or caplog.records)

    with mosquitto(tmp_path / "broker", more) as broker:
        asyncio.run(connects(broker.port, "right secret"))
        assert caplog.records == []
        asyncio.run(connects(broker.port, "wrong secret"))
    told = [item.getMessage() for item in caplog.records]
    assert len(told) == 1
    assert "is lost" in told[0]
    assert "secret" not in told[0]


def test_a_slow_sensor_is_published_once_however_often_others_are(tmp_path: Path) -> None:
    async def scenario(broker: Mosquitto) -> None:
        with watching(broker.port) as seen:
            async with running(broker.port) as status:
                await until(lambda: status.connected)
                for value in (1.0, 2.0, 2.0, 3.0):
                    status.show([reading(value)], [])
                    await until(lambda value=value: status._published.get(STATE) == reading(value))
            await until(lambda: seen.last("brightline/box-1/available") == "offline")
            assert [item["value"] for item in seen.all(STATE)] == [1.0, 2.0, 3.0]
            assert [text for topic, text, _ in seen.messages if topic.endswith("/alarm")] == ["OFF"]

    with mosquitto(tmp_path / "broker") as broker:
        asyncio.run(scenario(broker))
