"""How a server instance is set up: where it keeps its data and how it is reached."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import URL

from server.boxes.settings import BoxSettings
from server.notification.settings import NotificationSettings
from server.series.settings import Influx1Series, Influx2Series, SqliteSeries


class Settings(BaseModel):
    """``secure_cookies`` is off only behind plain HTTP on this machine itself; ``series``: where points are kept;
    ``notification``: how people and platforms are told; ``boxes``: how boxes are looked after."""

    model_config = ConfigDict(frozen=True)

    data_dir: Path
    secure_cookies: bool = True
    series: SqliteSeries | Influx1Series | Influx2Series = SqliteSeries()
    notification: NotificationSettings = Field(default_factory=NotificationSettings)
    boxes: BoxSettings = BoxSettings()

    @property
    def database_url(self) -> URL:
        return URL.create("sqlite", database=str(self.data_dir / "record.sqlite"))

    @property
    def blob_dir(self) -> Path:
        return self.data_dir / "blobs"
