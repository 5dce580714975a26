"""The rules of retention as data: a YAML file that is checked whole before anything starts. Pure.

The law's least time for records is a floor that no file can lower (DOMAIN.md: at least 2 years).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from server.settings_file import read_yaml

DEFAULT_RULES = Path(__file__).resolve().parents[2] / "configs" / "retention" / "default.yaml"
KEEP_DAYS_MIN = 2 * 365 + 1


class Rule(BaseModel):
    """``pictures`` of finished alerts (evidence and proof photos), or ``readings`` (the bytes of their batches)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,79}$")]
    what: Literal["pictures", "readings"]
    states: Annotated[list[Literal["closed", "dismissed"]], Field(max_length=2)] = []
    keep_days: Annotated[int, Field(ge=1, le=36_500)]
    basis: Annotated[str, Field(min_length=1, max_length=400)]

    @model_validator(mode="after")
    def _keeps_to_the_law(self) -> Rule:
        if (self.what == "pictures") != bool(self.states):
            raise ValueError("states are named for pictures, and for nothing else")
        if self.states != ["dismissed"] and self.keep_days < KEEP_DAYS_MIN:
            raise ValueError(f"keep_days must be at least {KEEP_DAYS_MIN} but for pictures of dismissed alerts")
        return self

    def before(self, now: datetime) -> datetime:
        """What is older than this is purged."""
        return now - timedelta(days=self.keep_days)


class RetentionRules(BaseModel):
    """What no rule names is kept for ever."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: Annotated[list[Rule], Field(max_length=100)]

    @model_validator(mode="after")
    def _names_once(self) -> RetentionRules:
        if len({rule.name for rule in self.rules}) != len(self.rules):
            raise ValueError("two rules have the same name")
        return self

    def of_state(self, state: str) -> list[Rule]:
        return [rule for rule in self.rules if state in rule.states]


def load_retention(path: Path) -> RetentionRules:
    """The rules in a file; raises ValueError as ``file: place: what is wrong``."""
    data = read_yaml(path)
    try:
        return RetentionRules.model_validate(data)
    except ValidationError as error:
        found = [f"{path}: {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ValueError("\n".join(found)) from None


@cache
def default_retention() -> RetentionRules:
    """The rules that come with the product."""
    return load_retention(DEFAULT_RULES)
