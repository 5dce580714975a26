"""What a box judged a sensor by: the limits that it tells whenever they change (`box_status` of kind ``limits``), and,
for a time before it told any, those that it named in its alerts.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.models import Alert, Box, StoredEvent
from server.reports.document import LimitPeriod

KIND = "limits"
TOLD_MAX = 500  # of one sensor and report; a box tells them at a start and at a change
BASIS_CHARACTERS_MAX = 160  # as of a card


class ToldLimits(NamedTuple):
    """The limits from ``at`` on, in °C; ``basis`` names the limit set and what the site changed in it."""

    at: datetime
    high_c: float | None
    low_c: float | None
    basis: str


def read_told_limits(db: Session, box_id: str, sensor_id: str, start: datetime, end: datetime) -> list[ToldLimits]:
    """What the box told to hold from *start* to before *end*, in order; the first may be from long before."""
    query = (
        select(StoredEvent.at, StoredEvent.data)
        .where(StoredEvent.box_id == box_id, StoredEvent.type == "box_status", StoredEvent.at < end)
        .where(StoredEvent.source_id == sensor_id)
        .order_by(StoredEvent.at.desc(), StoredEvent.event_id)
        .limit(TOLD_MAX)
    )
    found: list[ToldLimits] = []
    for at, data in db.execute(query):
        if data.get("kind") != KIND:
            continue
        found.append(ToldLimits(at, _celsius(data.get("high_c")), _celsius(data.get("low_c")), _basis(data)))
        if at <= start:
            break
    return found[::-1]


def stated_by_box(
    db: Session, box: Box, sensor_id: str, told: ToldLimits | None, since: datetime, until: datetime
) -> LimitPeriod:
    """The limits of a stretch in which no card states any; *told* is what the box had told by then."""
    high_c, low_c = _named_in_alerts(db, box, sensor_id, until) if told is None else (told.high_c, told.low_c)
    known = high_c is not None or low_c is not None
    return LimitPeriod(
        since=since,
        until=until,
        high_c=high_c,
        low_c=low_c,
        basis=told.basis if told is not None and known else "",
        source="box" if known else "none",
        stated_by=box.name if known else "",
    )


def _named_in_alerts(db: Session, box: Box, sensor_id: str, until: datetime) -> tuple[float | None, float | None]:
    """The newest limit of each side that an excursion of this sensor named before *until*."""
    query = select(Alert.data).where(
        Alert.box_id == box.id,
        Alert.source_id == sensor_id,
        Alert.kind == "temperature_excursion",
        Alert.opened_at < until,
    )
    sides: dict[str, float] = {}
    for data in db.scalars(query.order_by(Alert.opened_at.desc()).limit(100)):
        limit_c = _celsius(data.get("limit_c"))
        if limit_c is not None:
            sides.setdefault(str(data.get("side", "high")), limit_c)
    return sides.get("high"), sides.get("low")


def _celsius(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _basis(data: dict[str, Any]) -> str:
    changes = data.get("changes")
    parts = [data.get("limit_set"), *(changes if isinstance(changes, list) else [])]
    return "; ".join(part for part in parts if isinstance(part, str) and part)[:BASIS_CHARACTERS_MAX]
