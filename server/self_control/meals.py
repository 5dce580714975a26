"""Whether today's meals have their retained samples 留样, as everybody may know it: in numbers, without a name.

A site serves a meal on a weekday on which it kept samples of it in the last two weeks: nobody enters a timetable, and a
school that is closed at weekends is not blamed for them. A day without service, by the daily record, owes none.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from server.models import Site
from server.models_self_control import RetainedSample, SampleRemoval, SelfControlRecord
from server.self_control.catalogue import MEALS, Meal, SampleRules, sample_rules

BACK_DAYS = 14
ROWS_MAX = 5_000
State = Literal["kept", "short", "missing", "open", "closed"]


@dataclass(frozen=True)
class MealKept:
    """``dishes``: samples of today; ``short``: some weigh too little or went too early; ``open``: its time is not over;
    ``closed``: no service today."""

    meal: Meal
    state: State
    dishes: int


@dataclass(frozen=True)
class _Sample:
    meal: str
    day: date
    whole: bool


def meals_today(db: Session, site: Site, now: datetime, rules: SampleRules | None = None) -> tuple[MealKept, ...]:
    """The meals that have samples today or should, in the order of the day; two queries."""
    rules = rules or sample_rules()
    local = now.astimezone(ZoneInfo(site.time_zone))
    today = local.date()
    counts: dict[str, list[_Sample]] = defaultdict(list)
    served: set[str] = set()
    for sample in _samples(db, site, today, rules):
        if sample.day == today:
            counts[sample.meal].append(sample)
        elif sample.day.weekday() == today.weekday():
            served.add(sample.meal)
    closed = _closed(db, site, today)
    found = []
    for meal in MEALS:
        kept = counts[meal]
        if not kept and meal not in served:
            continue
        late = local.hour >= rules.missing_from_h.get(meal, 24)
        without: State = "closed" if closed else "missing" if late else "open"
        state: State = without if not kept else "kept" if all(sample.whole for sample in kept) else "short"
        found.append(MealKept(meal, state, len(kept)))
    return tuple(found)


def _samples(db: Session, site: Site, today: date, rules: SampleRules) -> list[_Sample]:
    """The samples of today and of the days before it; those entered by mistake are none."""
    zone = ZoneInfo(site.time_zone)
    since = datetime.combine(today - timedelta(days=BACK_DAYS), time(), zone).astimezone(UTC)
    query = (
        select(RetainedSample.meal, RetainedSample.taken_at, RetainedSample.weight_g, SampleRemoval.at)
        .outerjoin(SampleRemoval, SampleRemoval.sample_id == RetainedSample.id)
        .where(RetainedSample.site_id == site.id, RetainedSample.taken_at >= since)
        .where(or_(SampleRemoval.how.is_(None), SampleRemoval.how != "void"))
        .order_by(RetainedSample.taken_at.desc())
        .limit(ROWS_MAX)
    )
    keep = timedelta(hours=rules.keep_h)
    return [
        _Sample(
            meal,
            taken_at.astimezone(zone).date(),
            weight_g >= rules.weight_g_min and (removed_at is None or removed_at >= taken_at + keep),
        )
        for meal, taken_at, weight_g, removed_at in db.execute(query)
    ]


def _closed(db: Session, site: Site, today: date) -> bool:
    """Whether the daily record, also as a draft, says that there is no service today."""
    form = db.scalar(
        select(SelfControlRecord.form).where(
            SelfControlRecord.site_id == site.id, SelfControlRecord.kind == "daily",
            SelfControlRecord.first_day == today,
        )
    )  # fmt: skip
    return form is not None and form.get("operating") is False
