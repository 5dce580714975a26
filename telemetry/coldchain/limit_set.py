"""Limit sets: legal and practice limits as data, each value with its source; a site may tighten one, and loosen it
for a reason.

The files are under configs/limits. Nothing here reads them: the caller parses YAML and hands the mapping over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Text = Annotated[str, Field(min_length=1, max_length=400)]
Degrees = Annotated[float, Field(ge=-100, le=200)]


class LimitError(ValueError):
    """A limit that may not be set so."""


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourcedValue(_Data):
    """One limit in °C. ``certainty``: seen in the official text, in a secondary text, or not verified."""

    value_c: Degrees
    source: Text
    certainty: Literal["official", "secondary", "unverified"]


class Title(_Data):
    """The set's name for people."""

    zh: Text
    en: Text


class LimitSet(_Data):
    """One set for one use; ``note`` says what the two numbers cannot."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{1,60}$")]
    title: Title
    use: Literal["storage", "transport", "receiving", "holding", "samples"]
    high: SourcedValue | None = None
    low: SourcedValue | None = None
    danger_zone: bool = False
    note: Text | None = None

    @model_validator(mode="after")
    def _has_a_limit(self) -> LimitSet:
        if self.high is None and self.low is None:
            raise ValueError("needs high or low")
        if self.high is not None and self.low is not None and self.low.value_c >= self.high.value_c:
            raise ValueError("low must be below high")
        return self


@dataclass(frozen=True)
class SiteLimits:
    """What holds at the site, and how it differs from its set: sentences for the record, empty when it does not."""

    high_c: float | None
    low_c: float | None
    changes: tuple[str, ...] = ()


def adapt(
    limits: LimitSet, high_c: float | None = None, low_c: float | None = None, reason: str | None = None
) -> SiteLimits:
    """The set with the site's own values. Tightening is free; loosening needs *reason* and is recorded (LimitError)."""
    changes = []
    values: list[float | None] = []
    for side, sign, base, own in (("high", 1, limits.high, high_c), ("low", -1, limits.low, low_c)):
        base_c = None if base is None else base.value_c
        if own is None or own == base_c:
            values.append(base_c)
            continue
        values.append(own)
        looser = base_c is not None and sign * (own - base_c) > 0
        if looser and not (reason and reason.strip()):
            raise LimitError(f"{side}_c {own:g} is looser than {base_c:g} of {limits.id}; state a loosen_reason")
        verb = "loosened" if looser else "tightened"
        was = "none" if base_c is None else f"{base_c:g} °C"
        changes.append(f"{side} limit {verb} from {was} to {own:g} °C" + (f": {reason}" if looser else ""))
    if values[0] is not None and values[1] is not None and values[1] >= values[0]:
        raise LimitError("low_c must be below high_c")
    return SiteLimits(values[0], values[1], tuple(changes))
