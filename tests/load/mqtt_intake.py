"""How fast the box takes MQTT readings: mosquitto (QoS 1) → driver → outbox with fsync. Prints one JSON object.

Run: python tests/load/mqtt_intake.py [READINGS]. The messages wait at the broker before the clock starts, so the
publisher costs nothing; CPU seconds are those of this process alone (broker excluded), outbox and signing included.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from edge.config_ports import Broker
from edge.config_sensors import MqttSensor
from edge.drivers.mqtt import MqttDriver
from edge.recorder import Recorder
from telemetry.outbox import Outbox
from telemetry.signing import Signer
from tests.edge.drivers.mosquitto import mosquitto, publisher

SENSORS = 50
FAST_BROKER = "autosave_interval 1800"  # mosquitto would otherwise write its sessions after every message


def publish(port: int, count: int) -> None:
    with publisher(port) as client:
        sent = [
            client.publish(f"s/{number % SENSORS}", json.dumps({"t": number / 10}).encode(), qos=1)
            for number in range(count)
        ]
        for info in sent:
            info.wait_for_publish(120)


async def take(driver: MqttDriver, recorder: Recorder, count: int) -> int:
    """Record *count* readings; gives the number of commits."""
    found = commits = 0
    async with driver:
        async for delivery in driver.deliveries():
            await recorder.record(delivery.readings, (), delivery.state)
            delivery.confirm()
            found += len(delivery.readings)
            commits += 1
            if found >= count:
                break
    return commits


async def measure(folder: Path, port: int, protocol: str, count: int) -> dict[str, float]:
    broker = Broker.model_validate(
        {"id": "b", "host": "127.0.0.1", "port": port, "client_id": f"box-{protocol}", "protocol": protocol}
    )
    sensors = [
        MqttSensor.model_validate(
            {"type": "mqtt", "id": f"s{number}", "name": "s", "broker": "b", "topic": f"s/{number}", "field": "t"}
        )
        for number in range(SENSORS)
    ]
    async with MqttDriver(broker, sensors, lambda: True):
        await asyncio.sleep(1.5)  # its session and subscriptions
    await asyncio.to_thread(publish, port, count)
    with Outbox.open(folder / f"{protocol}.sqlite", "box", Signer.generate(), boot_id="bench") as outbox:
        recorder = Recorder(outbox, lambda: None)
        running = asyncio.create_task(recorder.run())
        wall_s, cpu_s = time.monotonic(), time.process_time()
        commits = await take(MqttDriver(broker, sensors, lambda: True), recorder, count)
        wall_s, cpu_s = time.monotonic() - wall_s, time.process_time() - cpu_s
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        recorder.close()
    return {
        "readings": count,
        "commits": commits,
        "readings_per_s": round(count / wall_s),
        "readings_per_core_s": round(count / cpu_s),
    }


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory() as name, mosquitto(Path(name) / "broker", FAST_BROKER) as server:
        found = {
            protocol: asyncio.run(measure(Path(name), server.port, protocol, count)) for protocol in ("5", "3.1.1")
        }
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
