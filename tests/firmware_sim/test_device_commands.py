"""Each simulated device alone, by its command, read by the box with the very configuration that it announces."""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.commissioning import read_sensor
from edge.config import EdgeConfig
from firmware_sim.cli import _parser
from firmware_sim.device_commands import DEVICES, LINES, run_device
from firmware_sim.mqtt_station import STATIONS
from tests.edge.broker_watch import watching
from tests.edge.drivers.mosquitto import Mosquitto, mosquitto

DEADLINE_S = 30.0
QUICK = ("--interval", "0.1")
QUIET = ("--scenario", "steady")
BOX = {"box": {"name": "b", "data_dir": "box"}, "server": {"url": "https://centre.example"}}


@contextlib.contextmanager
def device(*arguments: str) -> Iterator[dict[str, Any]]:
    """The device of a command line, run in a thread; gives what it announces."""
    args, stop, told = _parser().parse_args(arguments), threading.Event(), queue.SimpleQueue()
    thread = threading.Thread(target=run_device, args=(args, stop, lambda source, config: told.put((source, config))))
    thread.start()
    try:
        source, config = told.get(timeout=DEADLINE_S)
        yield {"source": source, "config": config}
    finally:
        stop.set()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def read(announced: dict[str, Any]) -> float:
    """What the box reads, in °C."""
    config = EdgeConfig.model_validate(BOX | json.loads(json.dumps(announced["config"])))
    found = asyncio.run(read_sensor(config, config.sensors[0].id, DEADLINE_S))
    assert found.reading.quality == "good", found.reading
    assert found.reading.value is not None
    return found.reading.value


def test_modbus_tcp_is_read_as_it_says(tmp_path: Path) -> None:
    with device("modbus-tcp", *QUIET) as found:
        assert read(found) == pytest.approx(3.0, abs=1.5)


@pytest.mark.parametrize("style", LINES)
def test_a_talking_line_is_read_in_each_format(tmp_path: Path, style: str) -> None:
    with device("line", *QUIET, *QUICK, "--link", str(tmp_path / "tty"), "--format", style) as found:
        assert read(found) == pytest.approx(3.0, abs=1.5)
    assert not (tmp_path / "tty").is_symlink()


def test_a_one_wire_probe_is_read_and_leaves_the_bus_with_its_command(tmp_path: Path) -> None:
    with device("onewire", *QUIET, *QUICK, "--folder", str(tmp_path / "w1")) as found:
        assert read(found) == pytest.approx(3.0, abs=1.5)
    assert list((tmp_path / "w1").iterdir()) == []


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path_factory.mktemp("broker")) as server:
        yield server


@pytest.mark.parametrize("make", STATIONS)
def test_each_make_of_mqtt_probe_is_read_and_its_last_will_comes_with_its_end(broker: Mosquitto, make: str) -> None:
    with watching(broker.port) as seen:
        with device(
            "mqtt", *QUIET, *QUICK, "--port", str(broker.port), "--device", make, "--name", f"{make}-1"
        ) as found:
            assert read(found) == pytest.approx(3.0, abs=1.5)
        will = STATIONS[make](f"{make}-1").will()
        if will is not None:
            seen.wait(will[0], will[1].decode())


def test_numbered_sensors_count_at_the_broker(broker: Mosquitto) -> None:
    with device("numbered", "--port", str(broker.port), "--sensors", "2", "--rate", "20") as found:
        assert read(found) >= 1
        assert len(found["config"]["sensors"]) == 2


def test_a_device_started_at_the_console_announces_itself_in_one_line_and_ends_by_sigterm(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "firmware_sim.cli", "probes", *QUIET, "--link", str(tmp_path / "tty"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = json.loads(process.stdout.readline())
        assert found["source"] == str(tmp_path / "tty")
        assert read(found) == pytest.approx(3.0, abs=1.5)
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert process.wait(DEADLINE_S) == 0
    assert json.loads(rest)["reads"]["1"] >= 1


def test_every_command_is_tried_here_and_impossible_numbers_are_refused(tmp_path: Path) -> None:
    assert set(DEVICES) == {"probes", "modbus-tcp", "line", "onewire", "mqtt", "numbered"}
    args = _parser().parse_args(["onewire", "--folder", str(tmp_path), "--interval", "0"])
    with pytest.raises(ValueError, match="--interval"):
        run_device(args, threading.Event())
