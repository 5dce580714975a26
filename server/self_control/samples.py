"""Retained samples 留样: entering, ending and judging them. Rows are only added; a mistake is made void.

A sample is warned of when it weighs too little, was taken out too early, or its refrigerator was out of range while it
lay there, or told nothing. Limits are configs/self_control/samples.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from server.audit import note, person
from server.models import Box, Site, User
from server.models_self_control import RetainedSample, SampleRemoval
from server.scope import within
from server.self_control.catalogue import Meal, SampleRules, sample_rules
from server.self_control.refusals import Refused
from server.series.port import Point, SeriesKey, SeriesStore
from telemetry.messages import Message, UtcTime

LIST_MAX = 200
BACKDATED_MAX = timedelta(hours=24)
CLOCK_SKEW = timedelta(minutes=5)
REASON_CHARACTERS_MAX = 500


class NewSample(Message):
    """What somebody enters; ``box_id`` and ``sensor_id`` are the thermometer of its refrigerator."""

    meal: Meal
    dish: Annotated[str, Field(min_length=1, max_length=80)]
    weight_g: Annotated[float, Field(gt=0, le=10_000)]
    taken_at: UtcTime
    taken_by: Annotated[str, Field(min_length=1, max_length=80)]
    box_id: Annotated[str, Field(max_length=64)] = ""
    sensor_id: Annotated[str, Field(max_length=64)] = ""


@dataclass(frozen=True)
class Judged:
    """What is wrong with a sample, by code, and what its refrigerator was like; °C and minutes."""

    codes: list[str]
    min_c: float | None = None
    max_c: float | None = None
    outside_min: float = 0.0
    silent_min: float = 0.0


def add_sample(db: Session, user: User, site: Site, new: NewSample, now: datetime, remote: str) -> RetainedSample:
    """Enter a sample; raises Refused."""
    if not now - BACKDATED_MAX <= new.taken_at <= now + CLOCK_SKEW:
        raise Refused("sample_time", "a sample is entered within 24 hours after it was taken")
    if bool(new.box_id) != bool(new.sensor_id):
        raise Refused("sample_sensor", "give both box and sensor of the refrigerator, or neither")
    if new.box_id and db.scalar(select(Box.id).where(Box.id == new.box_id, Box.site_id == site.id)) is None:
        raise Refused("sample_sensor", "there is no such sensor at this site")
    sample = RetainedSample(
        **new.model_dump(exclude={"box_id"}), box_id=new.box_id or None, site_id=site.id, entered_at=now,
        entered_by_id=user.id,
    )  # fmt: skip
    db.add(sample)
    db.flush()
    said = {"dish": new.dish, "weight_g": new.weight_g}
    note(db, person(user, remote), "sample.add", ("sample", sample.id), said, site_id=site.id)
    return sample


def end_sample(
    db: Session,
    user: User,
    sample: RetainedSample,
    how: Literal["removed", "void"],
    reason: str,
    now: datetime,
    remote: str,
) -> SampleRemoval:
    """Say that a sample was taken out, or that it was entered by mistake; raises Refused.

    Taken out before its time needs a reason, and so does every mistake.
    """
    if sample.removal is not None:
        raise Refused("sample_ended", "this sample was ended already", status=409)
    early = how == "removed" and now < keep_until(sample)
    if (early or how == "void") and not reason.strip():
        raise Refused("sample_reason", "say why")
    removal = SampleRemoval(
        sample_id=sample.id, how=how, at=now, reason=reason.strip()[:REASON_CHARACTERS_MAX], user_id=user.id,
        entered_at=now,
    )  # fmt: skip
    db.add(removal)
    db.flush()
    said = {"dish": sample.dish, "reason": removal.reason, "early": early}
    note(db, person(user, remote), f"sample.{how}", ("sample", sample.id), said, site_id=sample.site_id)
    return removal


def keep_until(sample: RetainedSample, rules: SampleRules | None = None) -> datetime:
    """Until when it has to be kept."""
    return sample.taken_at + timedelta(hours=(rules or sample_rules()).keep_h)


def _visible(viewer: User) -> Select[RetainedSample]:
    return select(RetainedSample).where(within(viewer, RetainedSample.site_id))


def visible_sample(db: Session, viewer: User, sample_id: int) -> RetainedSample | None:
    return db.scalar(_visible(viewer).where(RetainedSample.id == sample_id))


def list_samples(db: Session, viewer: User, site_id: int, since: datetime) -> list[RetainedSample]:
    """The newest samples of a site taken since then, as far as this person may see them."""
    query = _visible(viewer).where(RetainedSample.site_id == site_id, RetainedSample.taken_at >= since)
    return list(db.scalars(query.order_by(RetainedSample.taken_at.desc(), RetainedSample.id.desc()).limit(LIST_MAX)))


def samples_between(db: Session, site_id: int, start: datetime, end: datetime) -> list[RetainedSample]:
    """The samples of a site taken in a time, in order."""
    query = select(RetainedSample).where(
        RetainedSample.site_id == site_id, RetainedSample.taken_at >= start, RetainedSample.taken_at < end
    )
    return list(db.scalars(query.order_by(RetainedSample.taken_at, RetainedSample.id).limit(LIST_MAX)))


def warnings_of(sample: RetainedSample, series: SeriesStore, now: datetime, rules: SampleRules | None = None) -> Judged:
    """What is wrong: underweight, early, warm, cold, silent, no_sensor. Raises SeriesUnavailable."""
    rules = rules or sample_rules()
    codes: list[str] = []
    if sample.weight_g < rules.weight_g_min:
        codes.append("underweight")
    removal = sample.removal
    if removal is not None and removal.how == "removed" and removal.at < keep_until(sample, rules):
        codes.append("early")
    until = min(removal.at if removal else now, keep_until(sample, rules))
    if sample.box_id is None:
        return Judged([*codes, "no_sensor"])
    start_ms, end_ms = int(sample.taken_at.timestamp() * 1000), int(until.timestamp() * 1000)
    key = SeriesKey(sample.box_id, sample.sensor_id, "temperature")
    judged = judge_series(list(series.range(key, start_ms, end_ms)), start_ms, end_ms, rules)
    return Judged([*codes, *judged.codes], judged.min_c, judged.max_c, judged.outside_min, judged.silent_min)


def judge_series(points: list[Point], start_ms: int, end_ms: int, rules: SampleRules) -> Judged:
    """Whether the refrigerator stayed in range; a value counts until the next, at most for ``silent_min``."""
    good = [(point.at_ms, point.value) for point in points if point.value is not None and point.quality != "bad"]
    marks = [start_ms, *(at_ms for at_ms, _ in good), end_ms]
    silent_min = max(((after - before) / 60_000 for before, after in pairwise(marks)), default=0.0)
    outside: dict[str, float] = {"warm": 0.0, "cold": 0.0}
    for number, (at_ms, value) in enumerate(good):
        until_ms = good[number + 1][0] if number + 1 < len(good) else end_ms
        length_min = min((until_ms - at_ms) / 60_000, rules.silent_min)
        if value > rules.high_c:
            outside["warm"] += length_min
        elif value < rules.low_c:
            outside["cold"] += length_min
    codes = [code for code, length_min in outside.items() if length_min > rules.tolerated_min]
    if silent_min > rules.silent_min:
        codes.append("silent")
    values = [value for _, value in good]
    return Judged(
        codes,
        min(values, default=None),
        max(values, default=None),
        round(sum(outside.values()), 1),
        round(silent_min, 1),
    )


def sample_json(sample: RetainedSample, judged: Judged) -> Mapping[str, object]:
    """A sample as the API shows it."""
    removal = sample.removal
    return {
        "id": sample.id, "site": sample.site.name, "meal": sample.meal, "dish": sample.dish,
        "weight_g": sample.weight_g, "taken_at": sample.taken_at, "taken_by": sample.taken_by,
        "keep_until": keep_until(sample), "box_id": sample.box_id, "sensor_id": sample.sensor_id,
        "warnings": judged.codes, "min_c": judged.min_c, "max_c": judged.max_c, "outside_min": judged.outside_min,
        "silent_min": judged.silent_min,
        "ended": {"how": removal.how, "at": removal.at, "reason": removal.reason} if removal else None,
    }  # fmt: skip
