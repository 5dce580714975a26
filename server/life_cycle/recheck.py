"""The second look after a rectification: the same camera, zone and kind again, or the sensor's own readings.

`ask_recheck` notes what is asked; whoever sends commands to boxes takes the rows in ``asked`` and calls
`answer_recheck` with what the box saw. A temperature is answered from the series by the centre itself, outside of any
transaction, as the series may be another store. The reviewer sees the answer beside the photos and decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.audit import SYSTEM, Actor
from server.audit import note as note_audit
from server.life_cycle.record import tell
from server.life_cycle.rules import Rules
from server.models import Alert
from server.models_life_cycle import Recheck
from server.queries import temperature_series
from server.series.port import SeriesStore

Result = Literal["violating", "compliant", "unknown"]
REASONS = ("no_limit", "readings_missing", "as_told", "late", "series_unavailable", "refused", "gone")
REASON_CHARACTERS_MAX = 200
GAP_S_MAX = 300.0  # transport and storage record at least each 5 minutes (GB/T 24616): a longer pause proves nothing


class RecheckOver(Exception):
    """The second look was answered already, or it was given up."""


def ask_recheck(db: Session, alert: Alert, rectification_id: int, rules: Rules, now: datetime) -> Recheck | None:
    """Ask for a second look in the way that the alert's kind has; None when its kind has none."""
    way = rules.kind(alert.kind).recheck
    if way == "none" or alert.box_id is None:
        return None
    zone = alert.data.get("zone")
    asked = Recheck(
        alert_id=alert.id,
        rectification_id=rectification_id,
        box_id=alert.box_id,
        way=way,
        source_id=alert.source_id,
        zone=zone[:64] if isinstance(zone, str) else "",
        kind=alert.kind,
        state="asked",
        asked_at=now,
        expires_at=now + timedelta(minutes=rules.file.recheck.answer_within_min),
    )
    db.add(asked)
    db.flush()
    if way == "ended":  # the box tells by itself when this is over
        over = alert.ended_at is not None
        answer_recheck(db, asked.id, "compliant" if over else "violating", now, reason="as_told")
    return asked


def answer_recheck(
    db: Session, recheck_id: int, result: Result, now: datetime, *, evidence_sha256: str = "", reason: str = "",
    actor: Actor = SYSTEM,
) -> Alert:  # fmt: skip
    """Note what was seen, in the caller's writing transaction; gives its alert. Raises RecheckOver.

    *reason* is one of REASONS, or what the box says or measured in its own words.
    *evidence_sha256*: of the snapshot, which came as evidence of the same incident. *actor* is the box or the centre.
    """
    asked = db.scalar(select(Recheck).where(Recheck.id == recheck_id).with_for_update())
    if asked is None or asked.state == "answered":  # one that was given up still takes a late answer
        raise RecheckOver
    asked.state, asked.result, asked.answered_at = "answered", result, now
    asked.evidence_sha256, asked.reason = evidence_sha256[:64], reason[:REASON_CHARACTERS_MAX]
    return _told(db, asked, actor, result)


def give_up_recheck(db: Session, recheck_id: int, reason: str, now: datetime) -> Alert:
    """Note that no second look is possible (the box refused, or is gone); raises RecheckOver."""
    asked = db.scalar(select(Recheck).where(Recheck.id == recheck_id).with_for_update())
    if asked is None or asked.state != "asked":
        raise RecheckOver
    asked.state, asked.answered_at, asked.reason = "unavailable", now, reason[:REASON_CHARACTERS_MAX]
    return _told(db, asked, SYSTEM, "unavailable")


def _told(db: Session, asked: Recheck, actor: Actor, result: str) -> Alert:
    alert = db.get_one(Alert, asked.alert_id)
    detail = {"recheck": asked.id, "result": result, "evidence": asked.evidence_sha256}
    note_audit(db, actor, "alert.recheck", ("alert", alert.id), detail, site_id=alert.site_id)
    tell(db, alert, "recheck")
    return alert


def look_at_series(series: SeriesStore, alert: Alert, rules: Rules, now: datetime) -> tuple[Result, str]:
    """Whether the sensor has been within the alert's limit for the hold time, and why; raises SeriesUnavailable."""
    hold = timedelta(minutes=rules.file.recheck.hold_min)
    box_id = alert.box_id
    points = temperature_series(series, box_id, alert.source_id, now - hold, now) if box_id else []
    return judge_points(points, alert.data.get("limit_c"), alert.data.get("side"), now - hold, now)


def judge_points(
    points: Sequence[tuple[datetime, float | None]], limit_c: object, side: object, start: datetime, end: datetime
) -> tuple[Result, str]:
    """The same of given readings from *start* to *end*, in order of time. Pure."""
    if isinstance(limit_c, bool) or not isinstance(limit_c, int | float) or not math.isfinite(limit_c):
        return "unknown", "no_limit"
    values = [(at, value) for at, value in points if value is not None]
    outside = [value for _, value in values if (value < limit_c if side == "low" else value > limit_c)]
    if outside:
        worst = min(outside) if side == "low" else max(outside)
        return "violating", f"{worst:.1f} °C, limit {limit_c:g} °C"
    times = [start, *(at for at, _ in values), end]
    if max((later - earlier).total_seconds() for earlier, later in pairwise(times)) > GAP_S_MAX or not values:
        return "unknown", "readings_missing"
    extreme = min(value for _, value in values) if side == "low" else max(value for _, value in values)
    return "compliant", f"{extreme:.1f} °C, limit {limit_c:g} °C"
