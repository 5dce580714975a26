"""Where the series are kept: one small YAML file, checked whole before anything starts; passwords stand outside of it.

Without a file they are in the record itself. Problems are told as ``file: path: what is wrong``; nothing here connects.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

from server.settings_file import check_certificates, read_yaml, secret_of
from telemetry.server_url import check_server_url

FILE_NAME = "series.yaml"
Url = Annotated[str, AfterValidator(check_server_url), Field(max_length=160)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_. /-]{0,63}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class RecordSeries(_Section):
    """In the record itself, written in the transaction that takes the batch."""

    type: Literal["record", "sqlite"] = "record"  # sqlite: its name before the record could be in PostgreSQL

    @property
    def in_record(self) -> bool:
        return True


class _Influx(_Section):
    """``ca_file`` is a private CA in PEM; ``timeout_s`` the longest wait for one answer."""

    url: Url
    ca_file: Annotated[Path, AfterValidator(check_certificates)] | None = None
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


SeriesSettings = Annotated[RecordSeries | Influx1Series | Influx2Series, Field(discriminator="type")]
_ADAPTER: TypeAdapter[RecordSeries | Influx1Series | Influx2Series] = TypeAdapter(SeriesSettings)


def load_series(given: Path | None, data_dir: Path) -> RecordSeries | Influx1Series | Influx2Series:
    """The settings in *given*, else in the data folder's ``series.yaml``, else the record; raises ValueError."""
    path = given or data_dir / FILE_NAME
    if given is None and not path.exists():
        return RecordSeries()
    data = read_yaml(path)
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
    """What ``{env: NAME}`` or ``{file: PATH}`` leads to; raises ValueError with the place, without showing it."""
    try:
        return secret_of(reference, path.parent)
    except ValueError as error:
        raise ValueError(f"{path}: {key}: {error}") from None
