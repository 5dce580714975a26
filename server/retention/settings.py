"""Which rules of retention count, and whether the centre carries them out by itself."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from server.settings_file import FilePath


class RetentionSettings(BaseModel):
    """``rules``: a file instead of the product's own; ``automatic``: purge while serving, else only by command."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: FilePath | None = None
    automatic: bool = True
