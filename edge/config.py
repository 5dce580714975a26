"""The box's configuration: one YAML file, checked whole before anything starts.

Every problem is reported as ``file:line: path: what is wrong``, all of them at once. Nothing here opens a device
or a connection. Relative paths are relative to the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, PrivateAttr, ValidationError, model_validator

from edge.config_cameras import Camera
from edge.config_checks import bare_secrets, cross_check
from edge.config_coldchain import ColdChainEntry
from edge.config_evidence import EvidenceSection
from edge.config_file import ConfigurationError, problem_at, read_yaml, sentence_of, with_given
from edge.config_ports import Broker, BrokerTls, ModbusTcpPort, OneWireBus, Port, ReplayFile, SerialPort
from edge.config_remote import RemoteSection
from edge.config_sensors import AnySensor, ModbusSensor, Plausible, Sensor
from edge.config_site import SiteSection, inherit
from edge.config_status import StatusMqttSection
from edge.config_uplink import UplinkSection
from edge.section import Section
from telemetry.messages import Identifier, Severity
from telemetry.releases import ReleaseError, merge_release
from telemetry.server_url import check_server_url

__all__ = [
    "Camera", "ConfigurationError", "EdgeConfig", "Limit", "ModbusSensor", "Plausible", "Port", "Section", "Sensor",
    "SerialPort", "load",
]  # fmt: skip


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # OSError: a continent alone is a folder
        raise ValueError("is not a time zone such as Asia/Shanghai") from error
    return name


class BoxSection(Section):
    """Who this box is and where it keeps its data."""

    name: Identifier
    data_dir: Path
    time_zone: Annotated[str, AfterValidator(_zone)] = "Asia/Shanghai"


class ServerSection(Section):
    """The centre; ``ca_file`` is a private CA in PEM."""

    url: Annotated[str, AfterValidator(check_server_url)]
    ca_file: Path | None = None


class Limit(Section):
    """Alarm when the value stays outside for ``delay_s``; over when it is inside by ``hysteresis_c``."""

    sensor: Identifier
    high_c: float | None = None
    low_c: float | None = None
    delay_s: Annotated[float, Field(ge=0, le=86_400)]
    hysteresis_c: Annotated[float, Field(ge=0, le=10)] = 0.5
    severity: Severity = "critical"

    @model_validator(mode="after")
    def _has_a_side(self) -> Limit:
        if self.high_c is None and self.low_c is None:
            raise ValueError("needs high_c or low_c")
        if self.high_c is not None and self.low_c is not None and self.low_c >= self.high_c:
            raise ValueError("low_c must be below high_c")
        return self


class EdgeConfig(Section):
    """The whole file."""

    box: BoxSection
    server: ServerSection
    serial_ports: tuple[SerialPort, ...] = ()
    modbus_tcp: tuple[ModbusTcpPort, ...] = ()
    brokers: tuple[Broker, ...] = ()
    onewire: tuple[OneWireBus, ...] = ()
    replays: tuple[ReplayFile, ...] = ()
    plausible: dict[Identifier, Plausible] = {}
    sensors: tuple[AnySensor, ...] = ()
    limits: tuple[Limit, ...] = ()
    cold_chain: dict[Identifier, ColdChainEntry] = {}
    site: SiteSection = SiteSection()
    cameras: tuple[Camera, ...] = ()
    evidence: EvidenceSection = EvidenceSection()
    uplink: UplinkSection = UplinkSection()
    status_mqtt: StatusMqttSection | None = None
    remote: RemoteSection = RemoteSection()
    _folder: Path = PrivateAttr(default_factory=Path)
    _sha256: str = PrivateAttr(default="")
    _path: Path | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path:
        """Where the file lies: limit sets of the site's own are in ``limits/`` beside it."""
        return self._folder

    @property
    def path(self) -> Path | None:
        """The file; None when there was none."""
        return self._path

    @property
    def sha256(self) -> str:
        """Digest of the file's bytes; empty when there was no file."""
        return self._sha256


def load(path: Path, released: Mapping[str, Any] | None = None) -> EdgeConfig:
    """Read and check the file, with the sections of a release over it; raises ConfigurationError."""
    data, lines = read_yaml(path)
    from edge.secrets import SecretError, resolve

    try:
        data = merge_release(data, released or {})
    except ReleaseError as error:
        raise ConfigurationError(problem_at(path, lines, (), str(error))) from error
    problems = [problem_at(path, lines, place, text) for place, text in bare_secrets(data)]
    if problems:
        raise ConfigurationError("\n".join(problems))
    try:
        config = EdgeConfig.model_validate(resolve(data, path.parent))
    except SecretError as error:
        raise ConfigurationError(problem_at(path, lines, error.place, str(error))) from error
    except ValidationError as error:
        problems = [problem_at(path, lines, item["loc"], sentence_of(item, data)) for item in error.errors()]
        raise ConfigurationError("\n".join(problems)) from None  # its cause would show the secrets
    config = _complete(config, path.parent.resolve())
    config._path = path.resolve()
    config._sha256 = sha256(path.read_bytes()).hexdigest()
    problems = [problem_at(path, lines, place, with_given(text, place, data)) for place, text in cross_check(config)]
    if problems:
        raise ConfigurationError("\n".join(problems))
    return config


def _complete(config: EdgeConfig, folder: Path) -> EdgeConfig:
    """Paths made absolute, and each sensor with the plausible range of its quantity unless it has its own."""
    server = config.server
    if server.ca_file is not None:
        server = server.model_copy(update={"ca_file": folder / server.ca_file})
    cameras = tuple(inherit(camera.located(folder), config.site, config.box.time_zone) for camera in config.cameras)
    sensors = tuple(
        sensor.model_copy(update={"plausible": sensor.plausible or config.plausible.get(sensor.quantity)})
        for sensor in config.sensors
    )
    replays = tuple(replay.model_copy(update={"file": folder / replay.file}) for replay in config.replays)
    brokers = tuple(broker.model_copy(update={"tls": _tls(broker.tls, folder)}) for broker in config.brokers)
    status = config.status_mqtt and config.status_mqtt.model_copy(update={"tls": _tls(config.status_mqtt.tls, folder)})
    box = config.box.model_copy(update={"data_dir": folder / config.box.data_dir})
    complete = config.model_copy(
        update={
            "box": box,
            "server": server,
            "cameras": cameras,
            "evidence": config.evidence.located(folder),
            "sensors": sensors,
            "replays": replays,
            "brokers": brokers,
            "status_mqtt": status,
        }
    )
    complete._folder = folder
    return complete


def _tls(tls: BrokerTls | None, folder: Path) -> BrokerTls | None:
    if tls is None:
        return None
    files = {name: folder / file for name, file in tls if file is not None}
    return tls.model_copy(update=files)
