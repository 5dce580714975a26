"""A real mosquitto with the settings that configs/ ships, on a free port, with its sessions in a folder of the test."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, time

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from tests.services import require
from tests.waiting import wait_for

SAMPLE = Path(__file__).resolve().parents[3] / "configs" / "mosquitto.conf"
START_S = 20.0


class Mosquitto:
    """One broker; `kill` and `start` as often as needed, the port stays."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self._program = require("mosquitto")
        folder.mkdir(parents=True, exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        text = SAMPLE.read_text("utf-8")
        text = text.replace("listener 1883 127.0.0.1", f"listener {self.port} 127.0.0.1")
        text = text.replace("/var/lib/mosquitto/", f"{folder}/")
        user = pwd.getpwuid(os.getuid()).pw_name
        self._config = folder / "mosquitto.conf"
        self._config.write_text(f"{text}\nlog_dest stderr\nuser {user}\n{more}\n", "utf-8")
        self._log = folder / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([self._program, "-c", str(self._config)], stderr=log)
        until_s = monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if monotonic() > until_s or self._process.poll() is not None:
                    raise AssertionError(self._log.read_text("utf-8")) from None

    @property
    def pid(self) -> int:
        """The running broker's process id."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """End it in order: it writes its sessions first."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(START_S)

    def wait_for_save(self) -> None:
        """Until it has written its sessions and messages as they are now; it does so every two seconds."""
        saved, now_s = self._config.with_name("mosquitto.db"), time()
        wait_for("the broker saves", lambda: saved.exists() and saved.stat().st_mtime > now_s)

    def kill(self) -> None:
        """End it at once, as a power loss would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def mosquitto(folder: Path, more: str = "") -> Iterator[Mosquitto]:
    broker = Mosquitto(folder, more)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


@contextlib.contextmanager
def publisher(port: int) -> Iterator[Client]:
    """A sensor's client; `publish(...).wait_for_publish(20)` returns after the broker's PUBACK."""
    client = Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()
