"""The MQTT driver against a real mosquitto: acknowledged is on disk, repeats are recognised, wills are told."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage

from edge.config_ports import Broker
from edge.config_sensors import MqttSensor
from edge.drivers.decoders.protobuf import read_fields
from edge.drivers.mqtt import MqttDriver
from edge.drivers.port import Delivery
from firmware_sim import mqtt_devices
from firmware_sim.sparkplug_node import FLOAT, MetricType, SparkplugEdgeNode
from telemetry.messages import Reading
from tests.edge.drivers.mosquitto import Mosquitto, mosquitto, publisher

DEADLINE_S = 40.0
Until = Callable[[list[Reading]], bool]


def broker(port: int, **options: Any) -> Broker:
    values = {"id": "local", "host": "127.0.0.1", "port": port, "client_id": "box-1"}
    return Broker.model_validate(values | options)


def sensor(name: str, **options: Any) -> MqttSensor:
    values = {"type": "mqtt", "id": name, "name": name, "broker": "local", "topic": name, "field": "t"}
    return MqttSensor.model_validate(values | options)


class Disk:
    """Stands for the outbox: keeps what deliveries committed."""

    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self.state: dict[str, str] = {}

    def commit(self, delivery: Delivery) -> None:
        self.readings += delivery.readings
        self.state |= {key: value for key, value in delivery.state.items() if value is not None}


async def drive(driver: MqttDriver, disk: Disk, until: Callable[[], bool], *, confirm: bool = True) -> None:
    async with asyncio.timeout(DEADLINE_S), driver:
        deliveries = driver.deliveries()
        while not until():
            delivery = await anext(deliveries)
            disk.commit(delivery)
            if confirm:
                delivery.confirm()


async def drive_beside(driver: MqttDriver, disk: Disk, until: Callable[[], bool]) -> None:
    """As `drive`, for what comes about without a further delivery."""
    async with asyncio.timeout(DEADLINE_S):
        driving = asyncio.create_task(drive(driver, disk, lambda: False))
        while not until():
            await asyncio.sleep(0.05)
        driving.cancel()
        await asyncio.gather(driving, return_exceptions=True)


def subscribe_first(port: int, sensors: list[MqttSensor], **options: Any) -> None:
    """Make the session known to the broker, as a box that was there before."""

    async def visit() -> None:
        disk = Disk()
        probe = sensor("probe", topic="probe")
        driver = MqttDriver(broker(port, **options), [*sensors, probe], lambda: True)
        with publisher(port) as client:
            async with asyncio.timeout(DEADLINE_S), driver:
                task = asyncio.create_task(_first(driver, disk))
                while not task.done():
                    client.publish("probe", b'{"t": 1}', qos=1).wait_for_publish(20)
                    await asyncio.sleep(0.05)
                task.result()

    asyncio.run(visit())


async def _first(driver: MqttDriver, disk: Disk) -> None:
    async for delivery in driver.deliveries():
        disk.commit(delivery)
        delivery.confirm()
        if disk.readings:
            return


def publish(port: int, *messages: tuple[str, bytes], qos: int = 1, retain: bool = False) -> None:
    with publisher(port) as client:
        for topic, payload in messages:
            client.publish(topic, payload, qos=qos, retain=retain).wait_for_publish(20)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_every_family_of_devices_is_read(tmp_path: Path, protocol: str) -> None:
    at = datetime.now(UTC) - timedelta(minutes=3)
    sensors = [
        sensor("plain", topic="plant/1", field="probes.0.t", scale=0.1, calibration_offset=0.05, time_field="at"),
        sensor("zigbee", topic="zigbee2mqtt/fridge", decoder="zigbee2mqtt", field="temperature"),
        sensor("humidity", topic="zigbee2mqtt/fridge", decoder="zigbee2mqtt", field="humidity", quantity="humidity"),
        sensor("lora", topic="application/a/device/0102/event/up", decoder="chirpstack", field="TempC_SHT"),
        sensor("plug", topic="tele/plug/SENSOR", decoder="tasmota", field="DS18B20.Temperature"),
    ]
    with mosquitto(tmp_path / "broker") as server:
        subscribe_first(server.port, sensors, protocol=protocol)
        publish(
            server.port,
            ("plant/1", json.dumps({"probes": [{"t": 34}], "at": at.timestamp()}).encode()),
            mqtt_devices.zigbee2mqtt_state("fridge", 3.4),
            mqtt_devices.chirpstack_uplink("a", "0102", "one", -18.5, at),
            mqtt_devices.chirpstack_uplink("a", "0102", "one", -18.5, at),
            mqtt_devices.tasmota_sensor("plug", 21.5),
        )
        disk = Disk()
        driver = MqttDriver(broker(server.port, protocol=protocol), sensors, lambda: True)
        asyncio.run(drive(driver, disk, lambda: driver.router.repeated == 1 and len(disk.readings) >= 5))
    values = {reading.sensor_id: reading.value for reading in disk.readings}
    assert values == {"plain": 3.45, "zigbee": 3.4, "humidity": 61.2, "lora": -18.5, "plug": 21.5}
    times = {reading.sensor_id: reading.observed_at for reading in disk.readings}
    assert abs(times["plain"] - at) < timedelta(milliseconds=1)
    assert abs(times["lora"] - at) < timedelta(milliseconds=1)
    assert datetime.now(UTC) - times["plug"] < timedelta(minutes=1)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_what_was_not_confirmed_comes_again_and_what_was_confirmed_does_not(tmp_path: Path, protocol: str) -> None:
    sensors = [sensor("s")]
    with mosquitto(tmp_path / "broker") as server:
        subscribe_first(server.port, sensors, protocol=protocol)
        publish(server.port, *[("s", json.dumps({"t": number}).encode()) for number in range(30)])
        port = broker(server.port, protocol=protocol)
        for confirm in (False, True):  # the first box dies before its commit
            disk = Disk()
            driver = MqttDriver(port, sensors, lambda: True)
            asyncio.run(drive(driver, disk, lambda found=disk: len(found.readings) >= 30, confirm=confirm))
            assert [reading.value for reading in disk.readings] == [float(number) for number in range(30)]
            assert len({reading.observed_at for reading in disk.readings}) == 30
        publish(server.port, ("s", b'{"t": 99}'))
        after = Disk()  # a PUBACK may get lost when the connection ends; then the committed digests tell
        driver = MqttDriver(port, sensors, lambda: True, disk.state)
        asyncio.run(drive(driver, after, lambda: bool(after.readings)))
        assert [reading.value for reading in after.readings] == [99.0]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_what_was_committed_but_not_acknowledged_is_not_recorded_twice(tmp_path: Path, protocol: str) -> None:
    """A box killed between commit and PUBACK: the broker repeats, the committed digests tell."""
    sensors = [sensor("s")]
    with mosquitto(tmp_path / "broker") as server:
        subscribe_first(server.port, sensors, protocol=protocol)
        publish(server.port, *[("s", json.dumps({"t": number}).encode()) for number in range(600)])
        disk = Disk()
        driver = MqttDriver(broker(server.port, protocol=protocol), sensors, lambda: True)
        asyncio.run(drive(driver, disk, lambda: len(disk.readings) >= 600, confirm=False))
        publish(server.port, ("s", b'{"t": 600}'), ("s", b'{"t": 600}'))
        again = MqttDriver(broker(server.port, protocol=protocol), sensors, lambda: True, disk.state)
        asyncio.run(drive(again, disk, lambda: len(disk.readings) >= 602))
        assert again.router.repeated == 600
    assert [reading.value for reading in disk.readings] == [float(min(number, 600)) for number in range(602)]


def test_a_broker_killed_twice_loses_nothing_that_it_acknowledged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "edge")
    sensors = [sensor("s")]

    async def outlive(server: Mosquitto) -> Disk:
        disk = Disk()
        driver = MqttDriver(broker(server.port), sensors, lambda: True)
        values = iter(range(10_000))
        sent: list[int] = []

        async def feed(count: int) -> None:
            with publisher(server.port) as client:
                for _ in range(count):
                    value = next(values)
                    info = client.publish("s", json.dumps({"t": value}).encode(), qos=1)
                    await asyncio.to_thread(info.wait_for_publish, 20)
                    if info.is_published():
                        sent.append(value)

        async def restart() -> None:
            for _ in range(2):
                await feed(50)
                await asyncio.to_thread(server.wait_for_save)  # a session younger than that would be forgotten
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
            await feed(50)

        feeding = asyncio.create_task(restart())
        done = lambda: feeding.done() and set(sent) <= {reading.value for reading in disk.readings}  # noqa: E731
        await drive_beside(driver, disk, done)  # the last delivery may come before the feeder knows that it is done
        feeding.result()
        assert len(sent) == 150
        return disk

    with mosquitto(tmp_path / "broker") as server:
        subscribe_first(server.port, sensors)
        caplog.clear()
        disk = asyncio.run(outlive(server))
    values = [reading.value for reading in disk.readings if reading.value is not None]
    assert set(values) == {float(number) for number in range(150)}
    lost = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(lost) == 2, [record.getMessage() for record in lost]
    assert len([record for record in caplog.records if "connected again" in record.getMessage()]) == 2


def test_last_wills_and_silence_are_bad_readings_with_the_reason(tmp_path: Path) -> None:
    sensors = [
        sensor("zigbee", topic="zigbee2mqtt/fridge", decoder="zigbee2mqtt", field="temperature"),
        sensor("plug", topic="tele/plug/SENSOR", decoder="tasmota", field="DS18B20.Temperature"),
        sensor("own", topic="own/t", availability_topic="own/status", offline_payload="gone"),
        sensor("quiet", topic="quiet", silence_s=0.5),
    ]
    with mosquitto(tmp_path / "broker") as server:
        subscribe_first(server.port, sensors)
        publish(
            server.port,
            mqtt_devices.zigbee2mqtt_availability("fridge", online=True),
            mqtt_devices.zigbee2mqtt_availability("fridge", online=False),
            mqtt_devices.tasmota_will("plug", online=False),
            ("own/status", b"gone"),
        )
        disk = Disk()
        driver = MqttDriver(broker(server.port), sensors, lambda: True)
        names = lambda: {reading.sensor_id for reading in disk.readings}  # noqa: E731
        asyncio.run(drive(driver, disk, lambda: names() == {"zigbee", "plug", "own", "quiet"}))
    assert {reading.quality for reading in disk.readings} == {"bad"}
    reasons = {reading.sensor_id: reading.reason for reading in disk.readings}
    assert {reasons[name] for name in ("zigbee", "plug", "own")} == {"offline (last will)"}
    assert reasons["quiet"] in ("nothing came for 0.5 s", "the broker is lost")


def test_poison_is_told_once_acknowledged_counted_and_blocks_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sensors = [sensor("s"), sensor("r", topic="retained")]
    poison = [b"\xff\xfe", b"[" * 5000, b'{"t": null}', b'{"t": "x"}', b"{}"]
    with mosquitto(tmp_path / "broker") as server:
        publish(server.port, ("retained", b'{"t": 8}'), retain=True)
        subscribe_first(server.port, sensors)
        caplog.clear()
        publish(server.port, *[("s", payload) for payload in poison], ("s", b'{"t": 5}'), ("retained", b'{"t": 6}'))
        disk = Disk()
        driver = MqttDriver(broker(server.port), sensors, lambda: True)
        asyncio.run(drive(driver, disk, lambda: len(disk.readings) >= 7 and driver.router.retained >= 1))
        assert driver.router.poison == 5
        publish(server.port, ("s", b'{"t": 7}'))
        after = Disk()
        driver = MqttDriver(broker(server.port), sensors, lambda: True, disk.state)
        asyncio.run(drive(driver, after, lambda: bool(after.readings)))
        assert [reading.value for reading in after.readings] == [7.0]
    assert [reading.value for reading in disk.readings] == [None] * 5 + [5.0, 6.0]
    assert len([record for record in caplog.records if "not understood" in record.getMessage()]) == 1


def test_sparkplug_nodes_are_born_lose_messages_and_die(tmp_path: Path) -> None:
    kind = [MetricType("Temperature", 4, FLOAT)]
    device = SparkplugEdgeNode("canteen", "gw", [], {"cold": kind})
    sensors = [sensor("cold", topic="canteen/gw/cold", decoder="sparkplug", field="Temperature")]
    now_ms = round(datetime.now(UTC).timestamp() * 1000)
    commands: list[bytes] = []

    def remember(_client: Client, _userdata: object, message: MQTTMessage) -> None:
        commands.append(message.payload)

    with mosquitto(tmp_path / "broker") as server, publisher(server.port) as host:
        host.on_message = remember
        host.subscribe("spBv1.0/canteen/NCMD/gw", qos=1)
        subscribe_first(server.port, sensors)
        messages = [
            device.birth({}, now_ms),
            device.device_birth("cold", {"Temperature": 3.0}, now_ms),
            device.data("cold", {"Temperature": 4.0}, now_ms + 1),
        ]
        device.data("cold", {"Temperature": 5.0}, now_ms + 2)  # lost
        messages += [device.data("cold", {"Temperature": 6.0}, now_ms + 3), device.death()]
        publish(server.port, *messages)
        disk = Disk()
        driver = MqttDriver(broker(server.port), sensors, lambda: True)
        asyncio.run(drive_beside(driver, disk, lambda: len(disk.readings) >= 4 and bool(commands)))
    assert [(reading.value, reading.quality) for reading in disk.readings] == [
        (3.0, "good"),
        (4.0, "good"),
        (6.0, "suspect"),
        (None, "bad"),
    ]
    assert disk.readings[1].observed_at.timestamp() == pytest.approx((now_ms + 1) / 1000)
    assert disk.readings[3].reason == "offline (death certificate)"
    assert 2 in dict(read_fields(commands[0]))
    assert any("sparkplug" in key for key in disk.state)


def test_a_devices_wrong_clock_is_not_believed(tmp_path: Path) -> None:
    sensors = [sensor("s", time_field="at")]
    with mosquitto(tmp_path / "broker") as server:
        subscribe_first(server.port, sensors)
        publish(server.port, ("s", b'{"t": 1, "at": 86400}'))
        disk = Disk()
        asyncio.run(drive(MqttDriver(broker(server.port), sensors, lambda: True), disk, lambda: bool(disk.readings)))
    assert (disk.readings[0].quality, disk.readings[0].reason) == ("suspect", "the device's clock is wrong")
    assert datetime.now(UTC) - disk.readings[0].observed_at < timedelta(minutes=1)
