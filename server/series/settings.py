"""Where the series are kept: one small YAML file, checked whole before anything starts; passwords stand outside of it.

Without a file they are in the record itself. Problems are told as ``file: path: what is wrong``; nothing here connects.
"""

from __future__ import annotations

import os
import re
import ssl
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

from telemetry.server_url import check_server_url

FILE_NAME = "series.yaml"
FILE_BYTES_MAX = 64 * 1024
SECRET_BYTES_MAX = 4096
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
Url = Annotated[str, AfterValidator(check_server_url), Field(max_length=160)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_. /-]{0,63}$")]


def _certificates(path: Path) -> Path:
    try:
        ssl.create_default_context(cafile=str(path))
    except OSError as error:
        raise ValueError("holds no certificates in PEM") from error
    return path


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SqliteSeries(_Section):
    """In the record itself, written in the transaction that takes the batch."""

    type: Literal["sqlite"] = "sqlite"

    @property
    def in_record(self) -> bool:
        return True


class _Influx(_Section):
    """``ca_file`` is a private CA in PEM; ``timeout_s`` the longest wait for one answer."""

    url: Url
    ca_file: Annotated[Path, AfterValidator(_certificates)] | None = None
    timeout_s: Annotated[float, Field(gt=0, le=300)] = 15.0

    @property
    def in_record(self) -> bool:
        return False


class Influx1Series(_Influx):
    """InfluxDB 1.x: ``/write``, and Basic authentication where a user is named."""

    type: Literal["influxdb1"]
    database: Name
    username: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    password: SecretStr | None = None

    @property
    def name(self) -> str:
        return f"{self.type} {self.url} {self.database}"


class Influx2Series(_Influx):
    """InfluxDB 2.x and 3.x: ``/api/v2/write`` through influxdb-client; the bucket is also the database for InfluxQL."""

    type: Literal["influxdb2"]
    org: Annotated[str, Field(min_length=1, max_length=64)] = "-"  # 3.x does not look at it
    bucket: Name
    token: SecretStr | None = None

    @property
    def name(self) -> str:
        return f"{self.type} {self.url} {self.bucket}"


SeriesSettings = Annotated[SqliteSeries | Influx1Series | Influx2Series, Field(discriminator="type")]
_ADAPTER: TypeAdapter[SqliteSeries | Influx1Series | Influx2Series] = TypeAdapter(SeriesSettings)


def load_series(given: Path | None, data_dir: Path) -> SqliteSeries | Influx1Series | Influx2Series:
    """The settings in *given*, else in the data folder's ``series.yaml``, else the record; raises ValueError."""
    path = given or data_dir / FILE_NAME
    if given is None and not path.exists():
        return SqliteSeries()
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({type(error).__name__})") from None
    if len(raw) > FILE_BYTES_MAX:
        raise ValueError(f"{path}: has more than {FILE_BYTES_MAX} bytes")
    try:
        data = yaml.safe_load(raw)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        raise ValueError(
            f"{path}:{mark.line + 1 if mark else 1}: is no YAML"
        ) from None  # not shown: it may hold a secret
    if not isinstance(data, dict):
        raise ValueError(f"{path}: must hold a type and its settings")
    for key in ("password", "token"):
        if data.get(key) is not None:
            data[key] = read_secret(data[key], path, key)
    if data.get("ca_file"):
        data["ca_file"] = path.parent / str(data["ca_file"])
    try:
        return _ADAPTER.validate_python(data)
    except ValidationError as error:
        found = [f"{path}: {_place(item['loc'])}: {item['msg']}" for item in error.errors()]
        raise ValueError("\n".join(found)) from None


def _place(where: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in where[1:] or where) or "type"


def read_secret(reference: Any, path: Path, key: str) -> str:
    """What ``{env: NAME}`` or ``{file: PATH}`` leads to; raises ValueError without showing it."""
    if isinstance(reference, dict) and set(reference) == {"env"}:
        name = str(reference["env"])
        if not _VARIABLE.fullmatch(name):  # not shown: somebody may have put the secret itself here
            raise ValueError(f"{path}: {key}: env takes the name of an environment variable: letters, digits and _")
        if name not in os.environ:
            raise ValueError(f"{path}: {key}: the environment has no variable {name}; set it for the service")
        return os.environ[name]
    if isinstance(reference, dict) and set(reference) == {"file"}:
        try:
            with (path.parent / str(reference["file"])).open("rb") as file:
                raw = file.read(SECRET_BYTES_MAX + 1)
            if len(raw) > SECRET_BYTES_MAX:
                raise ValueError
            return raw.decode().rstrip("\r\n")
        except (OSError, ValueError):
            raise ValueError(
                f"{path}: {key}: the secret file cannot be read, or has over {SECRET_BYTES_MAX} bytes"
            ) from None
    raise ValueError(f"{path}: {key}: must be {{env: NAME}} or {{file: PATH}}; a secret does not stand in this file")
