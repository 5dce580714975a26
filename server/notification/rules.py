"""Who is told what, when and how, as data: a YAML file that is checked whole before anything starts."""

from __future__ import annotations

from datetime import time
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from server.rules_file import Section, read_section

Tier = Annotated[int, Field(ge=1, le=3)]
Level = Literal["station", "district", "city", "province"]
Delivery = Literal["now", "hourly", "daily"]
ChannelKind = Literal["mail", "wecombot", "dingtalk", "feishu", "json", "push"]
CHANNEL_KINDS: tuple[ChannelKind, ...] = ("push", "wecombot", "dingtalk", "feishu", "mail", "json")
Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
DEFAULT_RULES = Path(__file__).resolve().parents[2] / "configs" / "notification" / "default.yaml"


def _plain(value: time) -> time:
    if value.tzinfo is not None or value.microsecond:
        raise ValueError("must be a time of the day such as 21:00, in the site's zone")
    return value


DayTime = Annotated[time, AfterValidator(_plain)]


class QuietHours(Section):
    """In the site's zone; ``start`` after ``end`` runs over midnight, both the same is never."""

    start: DayTime
    end: DayTime

    def hold(self, at: time) -> bool:
        """Whether it is quiet at this time of the day."""
        if self.start <= self.end:
            return self.start <= at < self.end
        return at >= self.start or at < self.end


class Cap(Section):
    """What one channel gets at most: beyond it, one message sums up the rest.

    More than ``at_once`` faults together are one message. After ``messages`` within ``window_s`` nothing is sent until
    one of them is that old; a tier I fault is told even then, but summed up, and at most every ``urgent_every_s``.
    """

    at_once: Annotated[int, Field(ge=1, le=50)]
    messages: Annotated[int, Field(ge=1, le=1000)]
    window_s: Annotated[int, Field(ge=60, le=86_400)]
    urgent_every_s: Annotated[int, Field(ge=30, le=86_400)]


class Notice(Section):
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


class Rules(Section):
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
    return read_section(path, Rules)


@cache
def default_rules() -> Rules:
    """The rules that come with the product."""
    return load_rules(DEFAULT_RULES)
