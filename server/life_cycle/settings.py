"""Which rules and which calendar count for the alerts of a centre; both are read when its settings are."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, model_validator

from server.life_cycle.calendar import FOLDER
from server.life_cycle.rules import DEFAULT, Rules, default_rules, load_rules
from server.settings_file import FilePath


class LifeCycleSettings(BaseModel):
    """``rules``: a file, ``calendar``: a folder, each instead of the product's own (in ``configs``)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: FilePath | None = None
    calendar: FilePath | None = None

    @model_validator(mode="after")
    def _readable(self) -> LifeCycleSettings:
        if self.rules or self.calendar:
            self.load()
        return self

    @property
    def calendar_folder(self) -> Path:
        return self.calendar or FOLDER

    def load(self) -> Rules:
        """The rules with their calendar; raises ValueError as ``file: path: what is wrong``."""
        if not self.rules and not self.calendar:
            return default_rules()
        return load_rules(self.rules or DEFAULT, self.calendar_folder)
