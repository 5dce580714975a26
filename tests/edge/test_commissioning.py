"""`brightline-edge read` through the real console, on a box that is not enrolled; and which calibration is told."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from edge.calibration import calibration_events
from edge.config_sensors import OneWireSensor
from firmware_sim.ds18b20 import OneWireFolder, kernel_text, scratchpad
from firmware_sim.modbus_slave import Slave
from firmware_sim.modbus_tcp import TcpServer
from tests.edge.drivers.mosquitto import mosquitto, publisher
from tests.warm import run_warm

HEAD = "box: {name: a, data_dir: data}\nserver: {url: 'https://centre.example'}\n"
DEVICE = "28-0316a2794fff"


def read(folder: Path, config: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = folder / "box.yaml"
    path.write_text(HEAD + config, "utf-8")
    return run_warm("edge.cli", "read", *arguments, str(path))


def test_a_modbus_sensor_shows_value_raw_quality_and_latency(tmp_path: Path) -> None:
    with TcpServer({1: Slave(input_registers={0: lambda: 65500, 1: lambda: 0})}) as server:
        config = f"modbus_tcp: [{{id: p, host: 127.0.0.1, port: {server.port}}}]\nsensors:\n"
        config += " - {type: modbus, id: air, name: 冷藏库, port: p, unit: 1, register: 0, scale: 0.1,"
        config += " calibration_offset: 0.2}\n"
        found = read(tmp_path, config, "air")
        assert found.returncode == 0, found.stderr
        lines = dict(line.split(maxsplit=1) for line in found.stdout.splitlines())
        assert (lines["value"], lines["raw"], lines["quality"]) == ("-3.4 °C", "0xFFDC", "good")
        assert lines["latency"].endswith("ms from request to answer")
        assert not (tmp_path / "data").exists()


def test_json_holds_the_raw_value_and_a_bad_reading_is_exit_status_1(tmp_path: Path) -> None:
    bus = OneWireFolder(tmp_path / "w1")
    config = f"onewire: [{{folder: {tmp_path}/w1}}]\nsensors: [{{type: onewire, id: s, name: n, device: {DEVICE}}}]\n"
    bus.show(DEVICE, kernel_text(scratchpad(4.0)))
    found = read(tmp_path, config, "s", "--json")
    assert found.returncode == 0
    answer = json.loads(found.stdout)
    assert (answer["value"], answer["quality"], answer["asked"]) == (4.0, "good", True)
    assert "YES" in answer["raw"]
    bus.show(DEVICE, kernel_text(bytes(9)))
    found = read(tmp_path, config, "s")
    assert found.returncode == 1
    assert "quality  bad (the bus is shorted)" in found.stdout


def test_an_mqtt_sensor_is_read_beside_the_running_box_without_taking_its_session(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as server, publisher(server.port) as client:
        client.publish("t", b'{"v": 7}', retain=True, qos=1).wait_for_publish(20)
        config = f"brokers: [{{id: b, host: 127.0.0.1, port: {server.port}, client_id: box}}]\nsensors:\n"
        config += " - {type: mqtt, id: s, name: n, broker: b, topic: t, field: v, silence_s: 3}\n"
        found = read(tmp_path, config, "s", "--timeout", "20")
    assert found.returncode == 1  # a retained value is the broker's memory, no measurement
    assert "quality  bad (nothing came for 3 s)" in found.stdout
    assert found.stdout.splitlines()[-1].endswith("ms waited")


@pytest.mark.parametrize(
    ("sensor", "status", "problem"),
    [("other", 2, "no sensor 'other' in sensors; there are: s"), ("s", 1, "is not there")],
)
def test_what_cannot_be_read_is_said_in_one_line(tmp_path: Path, sensor: str, status: int, problem: str) -> None:
    config = "serial_ports: [{id: p, device: /dev/does-not-exist}]\nsensors:\n"
    config += " - {type: modbus, id: s, name: n, port: p, unit: 1, register: 0}\n"
    found = read(tmp_path, config, sensor)
    assert found.returncode == status
    assert problem in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_the_calibration_in_force_is_told_once_and_again_when_it_changes_or_runs_out() -> None:
    def probe(**options: object) -> OneWireSensor:
        values = {"type": "onewire", "id": "s", "name": "n", "device": DEVICE, "serial_number": "A1"}
        return OneWireSensor.model_validate(values | options)

    now = datetime(2026, 5, 1, 12, tzinfo=UTC)
    item = probe(calibration_offset=-0.2, certificate_expires_on=date(2026, 5, 31))
    events, state = calibration_events([item], {}, now)
    assert [event.type for event in events] == ["box_status"]
    assert events[0].severity == "info"
    told = {key: events[0].data[key] for key in ("kind", "serial_number", "calibration_offset", "certificate_expired")}
    assert told == {
        "kind": "calibration",
        "serial_number": "A1",
        "calibration_offset": -0.2,
        "certificate_expired": False,
    }
    saved = {key: str(value) for key, value in state.items()}
    assert calibration_events([item], saved, now) == ([], {})
    events, _ = calibration_events([probe(calibration_offset=0.1)], saved, now)
    assert events[0].data["calibration_offset"] == 0.1
    events, _ = calibration_events([item], saved, datetime(2026, 6, 1, tzinfo=UTC))
    assert (events[0].severity, events[0].data["certificate_expired"]) == ("warning", True)
