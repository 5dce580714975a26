"""What each record asks, who signs it and when it is due: data in configs/self_control, read whole and checked."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from server.policy import Role
from server.rules_file import Section, read_section

Kind = Literal["daily", "weekly", "monthly"]
KINDS: tuple[Kind, ...] = ("daily", "weekly", "monthly")
Meal = Literal["breakfast", "lunch", "dinner", "other"]
MEALS: tuple[Meal, ...] = ("breakfast", "lunch", "dinner", "other")
FOLDER = Path(__file__).resolve().parents[2] / "configs" / "self_control"
Code = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,23}$")]
Text = Annotated[str, Field(min_length=1, max_length=300)]
Hours = Annotated[int, Field(ge=0, le=24 * 31)]
Percent = Annotated[float, Field(ge=0, le=100)]


class Titled(Section):
    """Something with a title in both languages."""

    zh_CN: Text = Field(alias="zh-CN")
    en: Text

    def title(self, language: str) -> str:
        return self.en if language == "en" else self.zh_CN


class Item(Titled):
    """A point to check. ``kinds`` are the alerts that speak against it, ``seen_by`` the devices that judge it."""

    code: Code
    kinds: list[str] = []
    seen_by: Literal["cameras", "sensors"] | None = None
    samples: bool = False  # judged by the retained samples
    daily: bool = False  # judged by the daily records of the period


class FieldOf(Titled):
    """A text, or one of *choices*."""

    code: Code
    required: bool = False
    lines: Annotated[int, Field(ge=1, le=20)] = 1
    choices: list[Text] = []


class ZeroRisk(Section):
    """How much the devices must have watched for "no findings" to be said, in % of the time due."""

    camera_pct_min: Percent
    sensor_pct_min: Percent


class Sheet(Section):
    """One kind of record. Hours count from the end of the period, in the site's zone."""

    kind: Kind
    docs: Annotated[str, Field(min_length=3, max_length=600)]
    title: Titled
    signed_by: Annotated[list[Role], Field(min_length=1)]
    sign_from_h: Annotated[int, Field(ge=0, le=24)]
    due_after_h: Hours
    remind_before_h: Hours
    zero_risk: ZeroRisk
    items: Annotated[list[Item], Field(max_length=60)]
    fields: Annotated[list[FieldOf], Field(max_length=20)]


class SampleRules(Section):
    """What a retained sample must be: grams, hours, °C, minutes.

    ``missing_from_h``: from which hour of the site's day a meal without a sample lacks it; one that is not named never.
    """

    docs: Text
    weight_g_min: Annotated[float, Field(gt=0)]
    keep_h: Annotated[int, Field(gt=0, le=24 * 14)]
    low_c: float
    high_c: float
    tolerated_min: Annotated[float, Field(ge=0)]
    silent_min: Annotated[float, Field(gt=0)]
    missing_from_h: dict[Meal, Annotated[int, Field(ge=0, le=24)]]


def load_sheet(path: Path) -> Sheet:
    """The kind of record in a file; raises ValueError as ``file: path: what is wrong``."""
    sheet = read_section(path, Sheet)
    codes = [item.code for item in sheet.items] + [field.code for field in sheet.fields]
    if len(set(codes)) != len(codes):
        raise ValueError(f"{path}: two entries have the same code")
    return sheet


def load_sample_rules(path: Path) -> SampleRules:
    """The rules of retained samples in a file; raises ValueError."""
    return read_section(path, SampleRules)


@cache
def sheets() -> dict[Kind, Sheet]:
    """The records that come with the product; raises ValueError."""
    return {kind: load_sheet(FOLDER / f"{kind}.yaml") for kind in KINDS}


@cache
def sample_rules() -> SampleRules:
    """The rules of retained samples that come with the product; raises ValueError."""
    return load_sample_rules(FOLDER / "samples.yaml")
