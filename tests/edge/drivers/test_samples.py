"""Every driver ships a sample that loads, a page that describes it, and a place on the quality scale."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.config import ConfigurationError, load
from edge.config_ports import Broker
from edge.sensing import DRIVERS, list_sources, make_driver

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = ROOT / "configs" / "drivers"
DOCS = ROOT / "edge" / "drivers"


@pytest.mark.parametrize("kind", DRIVERS)
def test_the_sample_loads_and_makes_its_driver(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIGHTLINE_MQTT_PASSWORD", "not-shown")
    config = load(SAMPLES / f"{kind}.yaml")
    sources = list_sources(config)
    assert {source.kind for source in sources} == {kind}
    assert sum(len(source.sensors) for source in sources) == len(config.sensors)
    for source in sources:
        make_driver(source, lambda: True, {})
    assert "not-shown" not in repr(config)


def test_every_sensor_of_a_sample_has_the_plausible_range_of_its_quantity() -> None:
    config = load(SAMPLES / "modbus.yaml")
    ranges = {sensor.id: sensor.plausible for sensor in config.sensors}
    assert ranges["cold-room-air"] is not None
    assert (ranges["cold-room-air"].min, ranges["cold-room-air"].max) == (-45, 60)
    assert ranges["cold-room-door"] is None


@pytest.mark.parametrize("kind", DRIVERS)
def test_the_driver_has_a_page_and_a_line_on_the_quality_scale(kind: str) -> None:
    assert f"configs/drivers/{kind}.yaml" in (DOCS / "docs" / f"{kind}.md").read_text("utf-8")
    assert f"| [`{kind}`](docs/{kind}.md) |" in (DOCS / "README.md").read_text("utf-8")


def write(folder: Path, text: str) -> Path:
    path = folder / "box.yaml"
    path.write_text(f"box: {{name: a, data_dir: x}}\nserver: {{url: 'https://centre.example'}}\n{text}", "utf-8")
    return path


PORT = "serial_ports: [{id: p, device: /dev/ttyUSB0}]\n"
BROKER = "brokers: [{id: b, host: h, client_id: c}]\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            f"{PORT}sensors:\n - {{type: modbus, id: s, name: n, port: q, unit: 1, register: 0}}",
            ":5: sensors.0.port: is no id in serial_ports or modbus_tcp",
        ),
        (f"{PORT}sensors:\n - {{type: modbus, id: s, name: n, port: p, unit: 0, register: 0}}", ":5: sensors.0.unit: "),
        (
            f"{PORT}sensors:\n - {{type: modbus, id: s, name: n, port: p, unit: 255, register: 0}}",
            ":5: sensors.0.unit: is for Modbus TCP only",
        ),
        (f"{PORT}sensors:\n - {{id: s}}", ":5: sensors.0: type is missing; it is one of modbus,"),
        (
            f"{PORT}sensors:\n - {{type: modbus, id: s, name: n, port: p, unit: 1, register: 0}}\n"
            " - {type: serial_line, id: t, name: n, port: p, field: (.)}",
            ":6: sensors.1.port: is a modbus line already; a line has one owner",
        ),
        (
            "serial_ports:\n - {id: p, device: /dev/x}\n - {id: q, device: /dev/x}",
            ":5: serial_ports.1.device: is the device of p already",
        ),
        (f"{PORT}sensors:\n - {{type: serial_line, id: t, name: n, port: p, field: '('}}", "is no regular expression"),
        (f"{PORT}sensors:\n - {{type: serial_line, id: t, name: n, port: p, field: x}}", "exactly one group"),
        (
            "brokers:\n - {id: b, host: h, client_id: c, username: u, password: hunter2}",
            ":4: brokers.0.password: must not",
        ),
        ("brokers:\n - {id: b, host: h, client_id: c, password: {env: HOME}}", "a password needs a username"),
        (f"{BROKER}modbus_tcp: [{{id: b, host: h}}]", ": brokers.0.id: is used twice"),
        (
            f"{BROKER}sensors:\n - {{type: mqtt, id: s, name: n, broker: b, topic: a/#, field: t}}",
            ":5: sensors.0.topic: ",
        ),
        (
            f"{BROKER}sensors:\n - {{type: mqtt, id: s, name: n, broker: b, topic: a, field: t, decoder: sparkplug}}",
            "group/node",
        ),
        ("onewire: [{}]\nsensors:\n - {type: onewire, id: s, name: n, device: ../../etc}", ":5: sensors.0.device: "),
        (
            f"{PORT}sensors:\n - {{type: modbus, id: s, name: n, port: p, unit: 1, register: 0,"
            " plausible: {min: 2, max: 1}}",
            "min must be below max",
        ),
    ],
)
def test_a_wrong_configuration_says_where_and_what(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(write(tmp_path, text))
    assert problem in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_password_from_a_file_is_kept_secret(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("hunter2\n", "utf-8")
    config = load(write(tmp_path, "brokers: [{id: b, host: h, client_id: c, username: u, password: {file: pw}}]"))
    broker = config.brokers[0]
    assert isinstance(broker, Broker)
    assert broker.password is not None
    assert broker.password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(config)
