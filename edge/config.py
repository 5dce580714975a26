"""The box's configuration: one YAML file, checked whole before anything starts.

Every problem is reported as ``file:line: path: what is wrong``, all of them at once. Nothing here opens a device
or a connection. Relative paths are relative to the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge.config_uplink import UplinkSection
from telemetry.messages import Identifier, Severity
from telemetry.server_url import check_server_url

FILE_BYTES_MAX = 1024 * 1024
Positive = Annotated[float, Field(gt=0, le=86_400)]


class ConfigurationError(Exception):
    """What is wrong with the configuration, one line a problem."""


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError) as error:
        raise ValueError("is not a time zone such as Asia/Shanghai") from error
    return name


class Section(BaseModel):
    """Base of all sections: frozen, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BoxSection(Section):
    """Who this box is and where it keeps its data."""

    name: Identifier
    data_dir: Path
    time_zone: Annotated[str, AfterValidator(_zone)] = "Asia/Shanghai"


class ServerSection(Section):
    """The centre; ``ca_file`` is a private CA in PEM."""

    url: Annotated[str, AfterValidator(check_server_url)]
    ca_file: Path | None = None


class SerialPort(Section):
    """One serial line; only one owner polls it. ``timeout_s`` is the wait for one answer."""

    id: Identifier
    device: Path
    baud: Annotated[int, Field(ge=300, le=4_000_000)] = 9600
    parity: Literal["N", "E", "O"] = "N"
    stop_bits: Literal[1, 2] = 1
    timeout_s: Annotated[float, Field(gt=0, le=10)] = 0.5


class Plausible(Section):
    """Values outside are marked ``suspect``, never dropped."""

    min: float
    max: float


class ModbusSensor(Section):
    """One value of a Modbus unit: ``value = raw × scale + calibration_offset``."""

    type: Literal["modbus"]
    id: Identifier
    name: Annotated[str, Field(min_length=1, max_length=80)]
    place: Annotated[str, Field(max_length=80)] = ""
    port: Identifier
    unit: Annotated[int, Field(ge=1, le=247)]
    register_address: Annotated[int, Field(ge=0, le=65_535, alias="register")]
    table: Literal["input", "holding", "coil", "discrete"] = "input"
    data_type: Literal["int16", "uint16", "int32", "uint32", "float32"] = "int16"
    word_order: Literal["big", "little"] = "big"
    scale: float = 1.0
    calibration_offset: float = 0.0
    quantity: Identifier = "temperature"
    unit_of_measure: Annotated[str, Field(max_length=16)] = "°C"
    poll_interval_s: Positive = 10.0
    plausible: Plausible | None = None


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


class Camera(Section):
    """A kitchen camera; ``source`` may be a secret reference because addresses hold passwords."""

    id: Identifier
    name: Annotated[str, Field(min_length=1, max_length=80)]
    place: Annotated[str, Field(max_length=80)] = ""
    source: str
    model: Path | None = None
    dwell_s: Positive = 3.0
    recover_s: Positive = 10.0
    rate_fps: Annotated[float, Field(gt=0, le=30)] = 5.0
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.4


class EdgeConfig(Section):
    """The whole file."""

    box: BoxSection
    server: ServerSection
    serial_ports: tuple[SerialPort, ...] = ()
    sensors: tuple[ModbusSensor, ...] = ()
    limits: tuple[Limit, ...] = ()
    cameras: tuple[Camera, ...] = ()
    uplink: UplinkSection = UplinkSection()


Path_ = tuple[str | int, ...]


def load(path: Path) -> EdgeConfig:
    """Read and check the file; raises ConfigurationError."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigurationError(f"{path}:1: the file has more than {FILE_BYTES_MAX} bytes")
        text = path.read_text("utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            raise ConfigurationError(f"{path}:1: the file is empty; start from configs/edge-sample.yaml")
        lines = dict(_lines(node, ()))
        data = yaml.safe_load(text)
    except OSError as error:
        raise ConfigurationError(
            f"{path}:1: cannot be read ({error.strerror}); give the path of a YAML file"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}:1: is not UTF-8 text") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "not YAML"
        raise ConfigurationError(f"{path}:{mark.line + 1 if mark else 1}: {problem}") from error
    from edge.secrets import SecretError, resolve

    try:
        config = EdgeConfig.model_validate(resolve(data, path.parent))
    except SecretError as error:
        raise ConfigurationError(_problem(path, lines, error.place, str(error))) from error
    except ValidationError as error:
        problems = [_problem(path, lines, item["loc"], _sentence(item)) for item in error.errors()]
        raise ConfigurationError("\n".join(problems)) from error
    problems = [_problem(path, lines, place, text) for place, text in _cross_check(config)]
    if problems:
        raise ConfigurationError("\n".join(problems))
    return _absolute(config, path.parent.resolve())


def _lines(node: yaml.Node, place: Path_) -> Iterator[tuple[Path_, int]]:
    yield place, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*place, str(key.value)), key.start_mark.line + 1
            yield from (
                (where, line)
                for where, line in _lines(value, (*place, str(key.value)))
                if where != (*place, str(key.value))
            )
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines(value, (*place, index))


def _problem(path: Path, lines: dict[Path_, int], place: Path_, text: str) -> str:
    known = place
    while known not in lines:
        known = known[:-1]
    name = ".".join(str(part) for part in place) or "file"
    return f"{path}:{lines[known]}: {name}: {text}"


def _sentence(item: Any) -> str:
    if item["type"] == "extra_forbidden":
        return "unknown key; remove it or check its spelling"
    if item["type"] == "missing":
        return "is missing"
    message = str(item["msg"]).removeprefix("Value error, ")
    given = item.get("input")
    return message if isinstance(given, dict | list) else f"{message} (it is {given!r})"


def _cross_check(config: EdgeConfig) -> Iterator[tuple[Path_, str]]:
    ports = {port.id for port in config.serial_ports}
    sensors = {sensor.id for sensor in config.sensors}
    for index, sensor in enumerate(config.sensors):
        if sensor.port not in ports:
            yield ("sensors", index, "port"), f"no serial port {sensor.port!r} in serial_ports"
    for index, limit in enumerate(config.limits):
        if limit.sensor not in sensors:
            yield ("limits", index, "sensor"), f"no sensor {limit.sensor!r} in sensors"
    for name in ("serial_ports", "sensors", "cameras"):
        seen: set[str] = set()
        for index, item in enumerate(getattr(config, name)):
            if item.id in seen:
                yield (name, index, "id"), f"{item.id!r} is used twice"
            seen.add(item.id)


def _absolute(config: EdgeConfig, folder: Path) -> EdgeConfig:
    server = config.server
    if server.ca_file is not None:
        server = server.model_copy(update={"ca_file": folder / server.ca_file})
    cameras = tuple(
        camera if camera.model is None else camera.model_copy(update={"model": folder / camera.model})
        for camera in config.cameras
    )
    box = config.box.model_copy(update={"data_dir": folder / config.box.data_dir})
    return config.model_copy(update={"box": box, "server": server, "cameras": cameras})
