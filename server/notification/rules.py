"""Who is told what, when and how, as data: a YAML file that is checked whole before anything starts."""

from __future__ import annotations

from datetime import time
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

Tier = Annotated[int, Field(ge=1, le=3)]
Level = Literal["station", "district", "city", "province"]
Delivery = Literal["now", "hourly", "daily"]
ChannelKind = Literal["mail", "wecombot", "dingtalk", "feishu", "json", "push"]
CHANNEL_KINDS: tuple[ChannelKind, ...] = ("push", "wecombot", "dingtalk", "feishu", "mail", "json")
Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
DEFAULT_RULES = Path(__file__).resolve().parents[2] / "configs" / "notification" / "default.yaml"
FILE_BYTES_MAX = 256 * 1024


def _plain(value: time) -> time:
    if value.tzinfo is not None or value.microsecond:
        raise ValueError("must be a time of the day such as 21:00, in the site's zone")
    return value


DayTime = Annotated[time, AfterValidator(_plain)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class QuietHours(_Section):
    """In the site's zone; ``start`` after ``end`` runs over midnight, both the same is never."""

    start: DayTime
    end: DayTime

    def hold(self, at: time) -> bool:
        """Whether it is quiet at this time of the day."""
        if self.start <= self.end:
            return self.start <= at < self.end
        return at >= self.start or at < self.end


class Cap(_Section):
    """What one channel gets at most: beyond it, one message sums up the rest.

    More than ``at_once`` faults together are one message. After ``messages`` within ``window_s`` nothing is sent until
    one of them is that old; a tier I fault is told even then, but summed up, and at most every ``urgent_every_s``.
    """

    at_once: Annotated[int, Field(ge=1, le=50)]
    messages: Annotated[int, Field(ge=1, le=1000)]
    window_s: Annotated[int, Field(ge=60, le=86_400)]
    urgent_every_s: Annotated[int, Field(ge=30, le=86_400)]


class Notice(_Section):
    """These roles, at the site or at the level that the tier is routed to, hear of these changes."""

    tell: Literal["site", "regulator"]
    roles: Annotated[list[Word], Field(min_length=1, max_length=20)]
    tiers: Annotated[list[Tier], Field(min_length=1, max_length=3)]
    kinds: Literal["all"] | Annotated[list[Word], Field(min_length=1, max_length=200)] = "all"
    changes: Annotated[list[Word], Field(min_length=1, max_length=40)]
    channels: Literal["all"] | Annotated[list[ChannelKind], Field(min_length=1)] = "all"
    delivery: Delivery = "now"

    def fits(self, tier: int, kind: str, change: str) -> bool:
        """Whether the rule speaks of such a change."""
        return tier in self.tiers and change in self.changes and (self.kinds == "all" or kind in self.kinds)


class Rules(_Section):
    """``routing``: the level per tier; ``flap_window_s``: how long a fault that comes again is only counted."""

    quiet_hours: QuietHours
    daily_at: DayTime
    flap_window_s: Annotated[int, Field(ge=0, le=86_400)]
    age_max_s: Annotated[dict[Tier, Annotated[int, Field(ge=60, le=7 * 86_400)]], Field(min_length=3)]
    cap: Cap
    routing: Annotated[dict[Tier, Level], Field(min_length=3)]
    notices: Annotated[list[Notice], Field(min_length=1, max_length=200)]


def load_rules(path: Path) -> Rules:
    """The rules in a file; raises ValueError as ``file: path: what is wrong``."""
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({type(error).__name__})") from None
    if len(raw) > FILE_BYTES_MAX:
        raise ValueError(f"{path}: has more than {FILE_BYTES_MAX} bytes")
    try:
        return Rules.model_validate(yaml.safe_load(raw))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ValueError(f"{path}:{mark.line + 1 if mark else 1}: is no YAML") from None
    except ValidationError as error:
        found = [f"{path}: {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ValueError("\n".join(found)) from None


@cache
def default_rules() -> Rules:
    """The rules that come with the product."""
    return load_rules(DEFAULT_RULES)
