"""Where published heads go, so that they are held elsewhere as well."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from server.settings_file import FilePath

HEADS_FILE = "log-heads.jsonl"


def _address(value: str) -> str:
    if not value.startswith(("https://", "http://")):
        raise ValueError("must be an address such as https://witness.example/heads")
    return value


class LogSettings(BaseModel):
    """``heads_file``: gets a line for every head, ``DATA/log-heads.jsonl`` by default; put it on another machine.

    ``heads_url``: gets every head as a POST of its signed note; plain HTTP only to the notices' ``trusted_hosts``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    publish_every_s: Annotated[float, Field(ge=1, le=86_400)] = 3600.0
    heads_file: FilePath | None = None
    heads_url: Annotated[str, AfterValidator(_address), Field(max_length=400)] | None = None
