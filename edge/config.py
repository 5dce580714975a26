"""The box's configuration: one YAML file, checked whole before anything starts.

Every problem is reported as ``file:line: path: what is wrong``, all of them at once. Nothing here opens a device
or a connection. Relative paths are relative to the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge.config_cameras import Camera
from telemetry.messages import Identifier, Severity
from telemetry.server_url import check_server_url

FILE_BYTES_MAX = 1024 * 1024
_CREDENTIALS = re.compile(r"//[^/@]*@")
Positive = Annotated[float, Field(gt=0, le=86_400)]


class ConfigurationError(Exception):
    """What is wrong with the configuration, one line a problem."""


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # OSError: a continent alone is a folder
        raise ValueError("is not a time zone such as Asia/Shanghai") from error
    return name


class Section(BaseModel):
    """Base of all sections: frozen, no unknown keys, no NaN (a limit of NaN would never alarm)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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

    @model_validator(mode="after")
    def _has_a_range(self) -> Plausible:
        if self.min >= self.max:
            raise ValueError("min must be below max")
        return self


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


class EdgeConfig(Section):
    """The whole file."""

    box: BoxSection
    server: ServerSection
    serial_ports: tuple[SerialPort, ...] = ()
    sensors: tuple[ModbusSensor, ...] = ()
    limits: tuple[Limit, ...] = ()
    cameras: tuple[Camera, ...] = ()


Path_ = tuple[str | int, ...]


def load(path: Path) -> EdgeConfig:
    """Read and check the file; raises ConfigurationError."""
    data, lines = _read(path)
    from edge.secrets import SecretError, resolve

    try:
        config = EdgeConfig.model_validate(resolve(data, path.parent))
    except SecretError as error:
        raise ConfigurationError(_problem(path, lines, error.place, str(error))) from error
    except ValidationError as error:
        problems = [_problem(path, lines, item["loc"], _sentence(item, data)) for item in error.errors()]
        raise ConfigurationError("\n".join(problems)) from None  # its cause would show the secrets
    config = _absolute(config, path.parent.resolve())
    problems = [_problem(path, lines, place, _with_given(text, place, data)) for place, text in _cross_check(config)]
    if problems:
        raise ConfigurationError("\n".join(problems))
    return config


def _read(path: Path) -> tuple[Any, dict[Path_, int]]:
    """The file's data and the line of each place in it; raises ConfigurationError."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigurationError(f"{path}:1: file: has more than {FILE_BYTES_MAX} bytes")
        text = path.read_text("utf-8")
        node = yaml.compose(text, Loader=_PlainLoader)
        if node is None:
            raise ConfigurationError(f"{path}:1: file: is empty; start from configs/edge-sample.yaml")
        return yaml.load(text, Loader=_PlainLoader), dict(_lines(node, ()))  # noqa: S506 - it is a SafeLoader
    except OSError as error:
        problem = f"cannot be read ({error.strerror}); give the path of a YAML file"
        raise ConfigurationError(f"{path}:1: file: {problem}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}:1: file: is not UTF-8 text") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
        raise ConfigurationError(f"{path}:{mark.line + 1 if mark else 1}: file: {problem}") from error
    except (ValueError, RecursionError) as error:  # a date such as 2026-13-01, brackets thousands deep
        problem = (
            "is nested too deeply" if isinstance(error, RecursionError) else f"holds an impossible value ({error})"
        )
        raise ConfigurationError(f"{path}:1: file: {problem}") from error


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader without aliases (they can grow for ever) and without double keys (YAML would keep the last)."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.get_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, "aliases are not allowed; write the value again", event.start_mark
            )
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.composer.ComposerError(None, None, f"{key.value!r} stands twice", key.start_mark)
            seen.add(str(key.value))
        return node


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


def _sentence(item: Any, data: Any) -> str:
    """What is wrong, with the text that stands in the file: never a resolved secret, never an address's password."""
    if item["type"] == "extra_forbidden":
        return "unknown key; remove it or check its spelling"
    if item["type"] == "missing":
        return "is missing"
    return _with_given(str(item["msg"]).removeprefix("Value error, "), item["loc"], data)


def _with_given(message: str, place: Path_, data: Any) -> str:
    """*message* and the text at *place* in the file; nothing where a section or a secret's reference stands."""
    given = data
    for part in place:
        known = part in given if isinstance(given, dict) else isinstance(given, list) and isinstance(part, int)
        given = given[part] if known else given
    if isinstance(given, dict | list):
        return message
    return f"{message} (it is {_CREDENTIALS.sub('//', repr(given))[:200]})"


def _cross_check(config: EdgeConfig) -> Iterator[tuple[Path_, str]]:
    ports = {port.id for port in config.serial_ports}
    sensors = {sensor.id for sensor in config.sensors}
    if config.server.ca_file is not None and not config.server.ca_file.is_file():
        yield ("server", "ca_file"), "is no file"
    for index, sensor in enumerate(config.sensors):
        if sensor.port not in ports:
            yield ("sensors", index, "port"), "is no id in serial_ports"
    for index, limit in enumerate(config.limits):
        if limit.sensor not in sensors:
            yield ("limits", index, "sensor"), "is no id in sensors"
    for name in ("serial_ports", "sensors", "cameras"):
        seen: set[str] = set()
        for index, item in enumerate(getattr(config, name)):
            if item.id in seen:
                yield (name, index, "id"), "is used twice"
            seen.add(item.id)


def _absolute(config: EdgeConfig, folder: Path) -> EdgeConfig:
    server = config.server
    if server.ca_file is not None:
        server = server.model_copy(update={"ca_file": folder / server.ca_file})
    cameras = tuple(camera.located(folder) for camera in config.cameras)
    box = config.box.model_copy(update={"data_dir": folder / config.box.data_dir})
    return config.model_copy(update={"box": box, "server": server, "cameras": cameras})
