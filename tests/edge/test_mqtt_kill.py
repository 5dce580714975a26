"""The whole box killed at random moments under a stream of MQTT messages: none is lost, none is recorded twice."""

from __future__ import annotations

import json
import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from telemetry.batch import open_batch
from telemetry.messages import Reading
from telemetry.outbox import Outbox
from telemetry.signing import Signer
from tests.edge.drivers.mosquitto import mosquitto, publisher
from tests.warm import WarmProcess

DEADLINE_S = 120.0
# the broker is not killed here, so it need not write after every message; it says who connects and who subscribes
FAST_BROKER = "autosave_interval 1800\nlog_type error\nlog_type notice\nlog_type subscribe"


class NumberedSensor:
    """Publishes 0, 1, 2 … with QoS 1 until stopped; `sent` is what the broker acknowledged."""

    def __init__(self, port: int, pause_s: float) -> None:
        self.sent = 0
        self._port, self._pause_s = port, pause_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with publisher(self._port) as client:
            while not self._stop.wait(self._pause_s):
                payload = json.dumps({"n": self.sent}).encode()
                client.publish("numbers", payload, qos=1).wait_for_publish(30)
                self.sent += 1

    def stop(self) -> int:
        self._stop.set()
        self._thread.join()
        return self.sent


def start(config: Path) -> WarmProcess:
    with (config.parent / "box.log").open("ab") as log:
        return WarmProcess("edge.cli", "run", str(config), stderr=log.fileno())


def start_connected(config: Path, broker_log: Callable[[], str]) -> WarmProcess:
    """Start the box and wait until its broker has seen it, so that it is past its start."""
    before = broker_log().count(" as box ")
    box = start(config)
    wait_until(lambda: broker_log().count(" as box ") > before)
    return box


def recorded(data: Path) -> list[float]:
    signer = Signer.load(data / "box.key")
    with Outbox.open(data / "outbox.sqlite", "box-1", signer, boot_id="test") as outbox:
        batches = [
            open_batch(item.raw, lambda _: signer.public_key)
            for item in outbox.pending("readings", records_max=10**7, bytes_max=10**9)
        ]
    records = [record for batch in batches for _, record in batch.records]
    return [item.value for item in records if isinstance(item, Reading) and item.value is not None]


def kill_again_and_again(enrolled: Path, tmp_path: Path, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    print(f"seed {seed}, {kills} kills")
    config = tmp_path / "box.yaml"
    with mosquitto(tmp_path / "broker", FAST_BROKER) as server:
        config.write_text(
            f"box: {{name: box, data_dir: {enrolled}}}\nserver: {{url: 'https://127.0.0.1:9'}}\n"
            f"brokers: [{{id: b, host: 127.0.0.1, port: {server.port}, client_id: box}}]\n"
            "sensors: [{type: mqtt, id: s, name: s, broker: b, topic: numbers, field: n}]\n"
        )
        box = start(config)
        sensor = None
        try:
            seen = lambda: (tmp_path / "broker" / "mosquitto.log").read_text("utf-8")  # noqa: E731
            wait_until(lambda: "box 1 numbers" in seen())  # client, QoS, topic: from here on nothing may be lost
            sensor = NumberedSensor(server.port, 0.002)
            for number in range(kills):
                threading.Event().wait(chance.uniform(0.02, 0.6))
                box.kill()
                box.wait()
                box = start_connected(config, seen)
                print(f"kill {number}: {sensor.sent} sent")
            sent = sensor.stop()
            until_s = monotonic() + DEADLINE_S
            while True:
                threading.Event().wait(2.0)
                box.send_signal(signal.SIGTERM)
                assert box.wait(30) == 0
                found = recorded(enrolled)
                if len(found) >= sent or monotonic() > until_s:
                    break
                box = start_connected(config, seen)
        finally:
            if sensor is not None:
                sensor.stop()
            if box.poll() is None:
                box.kill()
            box.wait()
    assert sorted(found) == [float(number) for number in range(sent)]
    assert sent >= kills * 10


def wait_until(happened: Callable[[], bool]) -> None:
    until_s = monotonic() + 30
    while not happened():
        assert monotonic() < until_s
        threading.Event().wait(0.02)


def test_nothing_is_lost_or_doubled_over_four_kills(enrolled: Path, tmp_path: Path) -> None:
    kill_again_and_again(enrolled, tmp_path, kills=4, seed=11)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_lost_or_doubled_over_twenty_kills(enrolled: Path, tmp_path: Path, seed: int) -> None:
    kill_again_and_again(enrolled, tmp_path, kills=20, seed=seed)
