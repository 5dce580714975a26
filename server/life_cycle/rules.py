"""Tiers, deadlines, escalation and proof as data: `configs/lifecycle/default.yaml`, checked whole when it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, get_args
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from server.life_cycle.calendar import FOLDER, WorkingCalendar, load_calendar
from server.life_cycle.deadline import Clock, SameDay, Within, deadline
from server.regions import Level
from server.rules_file import Section, read_section

DEFAULT = Path(__file__).resolve().parents[2] / "configs" / "lifecycle" / "default.yaml"
Tier = Annotated[int, Field(ge=1, le=3)]
Hours = Annotated[float, Field(gt=0, le=24 * 365)]
Minutes = Annotated[int, Field(gt=0, le=60 * 24 * 30)]
Days = Annotated[int, Field(ge=0, le=366)]
RecheckWay = Literal["box", "series", "ended", "none"]
InterviewReason = Literal["repeat", "overdue"]
REASONS: tuple[InterviewReason, ...] = get_args(InterviewReason)
Docs = Annotated[str, Field(min_length=3, max_length=400)]


class Cards(Section):
    """How long after the deadline each card falls, on the clock of the world."""

    yellow_after_h: Hours
    red_after_h: Hours

    @model_validator(mode="after")
    def _in_order(self) -> Cards:
        if self.yellow_after_h >= self.red_after_h:
            raise ValueError("the red card must come after the yellow one")
        return self


class TierRule(Section):
    """What holds for all kinds of a tier that say nothing else."""

    docs: Docs
    level: Level
    clock: Clock
    acknowledge_within_min: Minutes
    rectify_within_h: Hours | None = None
    same_day: bool = False
    review_within_h: Hours | None = None
    escalate_every_h: Hours
    cards: Cards | None = None

    @model_validator(mode="after")
    def _one_span(self) -> TierRule:
        if self.same_day == (self.rectify_within_h is not None):
            raise ValueError("give either rectify_within_h or same_day")
        return self


class KindRule(Section):
    """What holds for one kind; what it leaves out its tier says."""

    docs: Docs
    tier: Tier
    confirm_within_min: Minutes | None = None
    acknowledge_within_min: Minutes | None = None
    rectify_within_h: Hours | None = None
    same_day: bool = False
    recheck: RecheckWay = "none"
    repeat_within_d: Days | None = None

    @model_validator(mode="after")
    def _one_span(self) -> KindRule:
        if self.same_day and self.rectify_within_h is not None:
            raise ValueError("give either rectify_within_h or same_day")
        return self


class InterviewRule(Section):
    """So many within so many days."""

    count: Annotated[int, Field(ge=1, le=1000)]
    within_d: Annotated[int, Field(ge=1, le=366)]
    tiers: Annotated[frozenset[Tier], Field(min_length=1)]


class PhotoRule(Section):
    """``duplicate_distance_max``: of 64 bits; see `server.life_cycle.likeness`."""

    count_max: Annotated[int, Field(ge=1, le=6)]
    clock_skew_min: Annotated[int, Field(ge=0, le=60)]
    duplicate_distance_max: Annotated[int, Field(ge=0, le=7)]


class RecheckRule(Section):
    """How long a box has to answer, and how long a temperature must have been within its limit."""

    answer_within_min: Minutes
    hold_min: Minutes


class RulesFile(Section):
    """What the file says."""

    calendar: str
    ladder: Annotated[list[Level], Field(min_length=1, max_length=4)]
    tiers: dict[Tier, TierRule]
    other_kinds: KindRule
    kinds: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")], KindRule]
    interviews: dict[InterviewReason, InterviewRule]
    repeat_within_d: Days
    photos: PhotoRule
    recheck: RecheckRule

    @model_validator(mode="after")
    def _whole(self) -> RulesFile:
        if set(self.tiers) != {1, 2, 3} or set(self.interviews) != set(REASONS):
            raise ValueError("tiers 1, 2 and 3 and the interviews repeat and overdue are needed")
        if len(set(self.ladder)) != len(self.ladder):
            raise ValueError("a level stands in the ladder twice")
        if any(tier.level not in self.ladder for tier in self.tiers.values()):
            raise ValueError("the level of a tier is not in the ladder")
        return self


@dataclass(frozen=True)
class Deadlines:
    """Until when an alert has to be confirmed (None: needless), acknowledged and rectified; UTC."""

    confirm_by_at: datetime | None
    acknowledge_by_at: datetime
    rectify_by_at: datetime


@dataclass(frozen=True)
class Rules:
    """The rules and the calendar that they name."""

    file: RulesFile
    calendar: WorkingCalendar

    def kind(self, kind: str) -> KindRule:
        return self.file.kinds.get(kind, self.file.other_kinds)

    def tier(self, tier: int) -> TierRule:
        return self.file.tiers[tier]

    def repeat_within(self, kind: str) -> timedelta:
        own = self.kind(kind).repeat_within_d
        return timedelta(days=self.file.repeat_within_d if own is None else own)

    def level_above(self, level: str) -> str:
        """The next level of the ladder; the last stays."""
        ladder: list[str] = list(self.file.ladder)
        place = ladder.index(level) if level in ladder else -1
        return ladder[min(place + 1, len(ladder) - 1)]

    def deadlines(self, kind: str, tier: int, start: datetime, zone: ZoneInfo) -> Deadlines:
        """Of an alert of this kind and tier that is told at *start*, or is due again from then on."""
        own, general = self.kind(kind), self.tier(tier)

        def by(span: timedelta | SameDay, clock: Clock = general.clock) -> datetime:
            return deadline(start, Within(span, clock), zone, self.calendar)

        hours = own.rectify_within_h if own.rectify_within_h is not None else general.rectify_within_h
        same_day = own.same_day or (own.rectify_within_h is None and general.same_day)
        minutes = own.acknowledge_within_min or general.acknowledge_within_min
        confirm = own.confirm_within_min
        return Deadlines(
            None if confirm is None else by(timedelta(minutes=confirm), "always"),
            by(timedelta(minutes=minutes)),
            by("same_day" if same_day or hours is None else timedelta(hours=hours)),
        )

    def review_by(self, tier: int, start: datetime, zone: ZoneInfo) -> datetime | None:
        """Until when what was submitted at *start* has to be reviewed (UTC); None: reviewers have no deadline."""
        own = self.tier(tier)
        if own.review_within_h is None:
            return None
        return deadline(start, Within(timedelta(hours=own.review_within_h), own.clock), zone, self.calendar)


def load_rules(path: Path = DEFAULT, calendars: Path = FOLDER) -> Rules:
    """The rules of a file, with their calendar from a folder; raises ValueError as ``file: path: what is wrong``."""
    file = read_section(path, RulesFile)
    return Rules(file, load_calendar(file.calendar, calendars))


@cache
def default_rules() -> Rules:
    """The rules that come with the product."""
    return load_rules()


class _InForce:
    """What the settings of this process's centre name: how to read it, and what was read."""

    load: Callable[[], Rules] = staticmethod(default_rules)
    rules: Rules | None = None


def put_in_force(load: Callable[[], Rules]) -> None:
    """Let these rules count in this process: an alert may be raised by a box, a gateway, a watch or a command."""
    _InForce.load, _InForce.rules = staticmethod(load), None


def rules_in_force() -> Rules:
    """The rules that count in this process, read when they are first needed."""
    if _InForce.rules is None:
        _InForce.rules = _InForce.load()
    return _InForce.rules
