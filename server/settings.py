"""How a centre is set up: where it keeps its record and its pictures, and how it is reached.

One YAML file, ``DATA/centre.yaml`` or ``--settings FILE``, checked whole before anything starts. Without one: SQLite
and a folder of pictures in the data folder. Nothing here connects.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from server.boxes.settings import BoxSettings
from server.life_cycle.settings import LifeCycleSettings
from server.limits import Limits
from server.merkle.settings import LogSettings
from server.notification.settings import NotificationSettings
from server.oidc.settings import OidcSettings
from server.policy import Role
from server.reports.fonts import Font, find_font
from server.retention.settings import RetentionSettings
from server.series.settings import Influx1Series, Influx2Series, RecordSeries
from server.settings_file import CaFile, FilePath, Secret, read_yaml
from telemetry.server_url import check_server_url

FILE_NAME = "centre.yaml"
Mode = Literal["development", "production"]


def _postgres_url(text: str) -> str:
    form = "must be postgresql+psycopg://user@host:port/database"
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError(form) from None
    if url.password is not None:
        raise ValueError("holds a password; give it as password: {env: NAME} or {file: PATH}")
    if url.drivername != "postgresql+psycopg" or not (url.username and url.host and url.database) or url.query:
        raise ValueError(form)
    return text


Seconds = Annotated[float, Field(gt=0, le=600)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SqliteRecord(_Section):
    """One file in the data folder, for one process that serves."""

    type: Literal["sqlite"] = "sqlite"


class PostgresRecord(_Section):
    """PostgreSQL 15 or newer, for any number of replicas. Nothing of it is waited for without end."""

    type: Literal["postgresql"]
    url: Annotated[str, Field(max_length=400), AfterValidator(_postgres_url)]
    password: Secret | None = None
    sslmode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = "prefer"
    ca_file: CaFile | None = None
    pool_size: Annotated[int, Field(ge=2, le=200)] = 20
    pool_timeout_s: Seconds = 10.0
    connect_timeout_s: Seconds = 5.0
    statement_timeout_s: Seconds = 60.0
    lock_timeout_s: Seconds = 15.0

    @property
    def sqlalchemy_url(self) -> URL:
        url = make_url(self.url)
        return url.set(password=self.password.get_secret_value()) if self.password else url


class FolderBlobs(_Section):
    """The folder ``blobs`` of the data folder, or another one; several replicas share it."""

    type: Literal["folder"] = "folder"
    folder: FilePath | None = None


class S3Blobs(_Section):
    """A bucket of an S3 service that exists already. ``prefix``: what the keys of the blobs begin with."""

    type: Literal["s3"]
    url: Annotated[str, AfterValidator(check_server_url), Field(max_length=160)]
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    prefix: Annotated[str, Field(pattern=r"^([A-Za-z0-9_-]{1,64}/)?$")] = ""
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")] = "us-east-1"
    access_key: Secret
    secret_key: Secret
    ca_file: CaFile | None = None
    connect_timeout_s: Seconds = 3.0
    timeout_s: Seconds = 15.0


Record = Annotated[SqliteRecord | PostgresRecord, Field(discriminator="type")]
Blobs = Annotated[FolderBlobs | S3Blobs, Field(discriminator="type")]


class CentreFile(_Section):
    """What stands in the settings file."""

    mode: Mode = "development"
    database: Record = SqliteRecord()
    blobs: Blobs = FolderBlobs()
    log: LogSettings = LogSettings()
    retention: RetentionSettings = RetentionSettings()
    life_cycle: LifeCycleSettings = LifeCycleSettings()
    limits: Limits = Limits()
    second_factor_roles: frozenset[Role] = frozenset()
    report_font: Font | None = None
    oidc: OidcSettings | None = None


class Settings(CentreFile):
    """What stands in the file, with what comes from elsewhere. ``secure_cookies`` is off only behind plain HTTP on this
    machine itself; ``series``: where points are kept; ``notification``: how people and platforms are told;
    ``boxes``: how boxes are looked after; ``second_factor_roles``: who may do nothing before a second factor is set up;
    ``report_font``: of PDFs, in place of an installed one; ``oidc``: a provider of identities to sign in with."""

    data_dir: Path
    secure_cookies: bool = True
    series: RecordSeries | Influx1Series | Influx2Series = RecordSeries()
    notification: NotificationSettings = Field(default_factory=NotificationSettings)
    boxes: BoxSettings = BoxSettings()

    @property
    def database_url(self) -> URL:
        """Of the SQLite record."""
        return URL.create("sqlite", database=str(self.data_dir / "record.sqlite"))

    @property
    def font(self) -> Font | None:
        """The font of PDFs; None: no installed one has Chinese characters."""
        return self.report_font or find_font()

    @property
    def blob_dir(self) -> Path:
        """Of pictures in a folder."""
        return (
            self.blobs.folder if isinstance(self.blobs, FolderBlobs) and self.blobs.folder else self.data_dir / "blobs"
        )


def load_settings(given: Path | None, data_dir: Path) -> CentreFile:
    """The settings in *given*, else in the data folder's ``centre.yaml``, else the defaults; raises ValueError."""
    path = given or data_dir / FILE_NAME
    if given is None and not path.exists():
        return CentreFile()
    data: Any = read_yaml(path)
    try:
        return CentreFile.model_validate({} if data is None else data, context={"folder": path.parent.absolute()})
    except ValidationError as error:
        found = [f"{path}: {_place(item['loc'])}{item['msg'].removeprefix('Value error, ')}" for item in error.errors()]
        raise ValueError("\n".join(found)) from None


def _place(where: tuple[int | str, ...]) -> str:
    """``database.url: ``, without the names of the kinds that pydantic puts between."""
    parts = [str(part) for part in where if part not in ("sqlite", "postgresql", "folder", "s3") or part == where[-1]]
    return f"{'.'.join(parts)}: " if parts else ""
