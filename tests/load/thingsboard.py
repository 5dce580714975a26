"""ThingsBoard Gateway as a yardstick: its MQTT connector at the same broker with the same payloads as ours.

Its platform is played by the broker and by `Platform`: what the gateway publishes on ``v1/gateway/telemetry`` is what
it carried. Its rate limits are off, its queues large, its packs sent as it ships (``minPackSendDelayMS`` 50: with 0 it
spins and is slower). It acknowledges a message before it has stored it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

VERSION = "3.8.5"
TELEMETRY_TOPIC = "v1/gateway/telemetry"
REQUESTS, RESPONSES = "v1/devices/me/rpc/request/", "v1/devices/me/rpc/response/"
NO_LIMIT = "0:0,"
USER = "bench"
# The platform's broker delivers a session's requests to the platform alone; mosquitto would give them back to the
# gateway, which subscribes to the same topics, answers itself with an error and then never counts as connected.
ACL = f"""\
topic readwrite #
user {USER}
topic write v1/#
topic read {RESPONSES}+
topic read v1/devices/me/attributes/response/+
"""
SESSION_LIMITS = {"maxPayloadSize": 65536, "maxInflightMessages": 10000, "rateLimits": {}, "gatewayRateLimits": {}}
STORAGES: dict[str, dict[str, object]] = {
    "memory": {"type": "memory", "read_records_count": 1000, "max_records_count": 1_000_000},
    "file": {
        "type": "file", "data_folder_path": "./data/", "max_file_count": 1000, "max_read_records_count": 1000,
        "max_records_per_file": 10000,
    },
}  # fmt: skip


def install(folder: Path) -> Path:
    """Its own virtual environment in *folder* (it pins older packages than ours); gives the start command."""
    command = folder / "bin" / "thingsboard-gateway"
    if not command.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "pip"), "install", "--quiet", f"thingsboard-gateway=={VERSION}"]
        subprocess.run(pip, check=True)
    return command


def write_config(folder: Path, port: int, topic: str, storage: str) -> None:
    """Its configuration for a broker on 127.0.0.1:*port*; *topic* has one ``+`` for the sensor."""
    folder.mkdir(parents=True, exist_ok=True)
    limits = ("rateLimits", "dpRateLimits", "messagesRateLimits", "deviceMessagesRateLimits", "deviceRateLimits",
              "deviceDpRateLimits")  # fmt: skip
    main = {
        "thingsboard": {
            "host": "127.0.0.1", "port": port, "remoteShell": False, "remoteConfiguration": False,
            "statistics": {"enable": False, "statsSendPeriodInSeconds": 3600}, "maxPayloadSizeBytes": 65536,
            "minPackSendDelayMS": 50, "minPackSizeToSend": 500, "checkConnectorsConfigurationInSeconds": 60,
            "security": {"type": "accessToken", "accessToken": USER}, "qos": 1,
            "reportStrategy": {"type": "ON_RECEIVED"}, **dict.fromkeys(limits, NO_LIMIT),
        },
        "storage": STORAGES[storage],
        "grpc": {"enabled": False},
        "connectors": [{"type": "mqtt", "name": "bench", "configuration": "mqtt.json"}],
    }  # fmt: skip
    device = {
        "deviceNameExpressionSource": "topic", "deviceNameExpression": topic.replace("+", "(.*?)") + "$",
        "deviceProfileExpressionSource": "constant", "deviceProfileExpression": "Thermometer",
    }  # fmt: skip
    value = {"type": "double", "key": "temperature", "value": "${temperature}"}
    converter = {"type": "json", "deviceInfo": device, "timeout": 60000, "attributes": [], "timeseries": [value]}
    connector = {
        "broker": {
            "host": "127.0.0.1", "port": port, "clientId": "tb-bench", "version": 5, "cleanSession": True,
            "maxMessageNumberPerWorker": 10, "maxNumberOfWorkers": 100, "security": {"type": "anonymous"},
        },
        "mapping": [{"topicFilter": topic, "subscriptionQos": 1, "converter": converter}],
        "requestsMapping": {},
    }  # fmt: skip
    log = {"version": 1, "disable_existing_loggers": False, "root": {"level": "WARNING", "handlers": []}}
    for name, content in (("tb_gateway", main), ("mqtt", connector), ("logs", log)):
        (folder / f"{name}.json").write_text(json.dumps(content))


def values_in(payload: bytes) -> int:
    """How many values one message on TELEMETRY_TOPIC carries: ``{device: [{ts, values: {…}}, …], …}``."""
    return sum(len(point["values"]) for points in json.loads(payload).values() for point in points)


class Platform:
    """What the gateway takes for ThingsBoard: answers its question for limits, counts the values that arrive."""

    def __init__(self, port: int) -> None:
        self.values = 0
        self.first_s = self.last_s = 0.0
        self.asked = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.subscribe([(TELEMETRY_TOPIC, 1), (f"{REQUESTS}+", 1)])
        self._client.loop_start()

    def _on_message(self, client: Client, _userdata: object, message: MQTTMessage) -> None:
        if message.topic.startswith(REQUESTS):
            client.publish(RESPONSES + message.topic.removeprefix(REQUESTS), json.dumps(SESSION_LIMITS), 1)
            self.asked.set()
            return
        self.values += values_in(message.payload)
        self.last_s = time.monotonic()
        self.first_s = self.first_s or self.last_s

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextlib.contextmanager
def running_gateway(command: Path, folder: Path, port: int, topic: str, storage: str) -> Iterator[tuple[int, Platform]]:
    """The gateway up and connected at both ends; gives its process id and its platform."""
    write_config(folder / "config", port, topic, storage)
    platform = Platform(port)
    environment = {**os.environ, "TB_GW_CONFIG_DIR": str(folder / "config")}
    with (folder / "gateway.log").open("wb") as log:
        gateway = subprocess.Popen([str(command)], cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        if not platform.asked.wait(60):
            raise RuntimeError(f"the gateway never asked for its limits: {(folder / 'gateway.log').read_text()[-800:]}")
        yield gateway.pid, platform
    finally:
        platform.close()
        gateway.kill()
        gateway.wait()
