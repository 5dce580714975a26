"""What the boxes saw of a period: alerts, temperatures, coverage of cameras, samples. Never typed in.

The series may lie elsewhere, so it is read outside of any transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import Select, Subquery, and_, func, or_, select
from sqlalchemy.orm import Session

from server.coverage import coverage_of
from server.models import Alert, AlertMove, Box, Site
from server.models_self_control import RetainedSample, SelfControlRecord
from server.reports.models import SensorCard
from server.self_control.document import FINDINGS_MAX, Seen, SeenAlert, SeenCamera, SeenSample, SeenSensor
from server.self_control.periods import Period, bounds
from server.self_control.samples import samples_between, warnings_of
from server.series.port import Point, SeriesKey, SeriesStore
from server.statistics.outcome import CLOSED, FINAL, outcome_of

POINTS_MAX = 1_000_000  # of all sensors together; the sensors that are left are named as not counted
SENSORS_MAX = 60
GAP_S_MIN, GAP_FACTOR = 60.0, 3.0  # as in reports: a pause of three usual intervals is a gap
QUANTITY = "temperature"
Reader = Callable[[Callable[[Session], "_Rows"]], "_Rows"]


@dataclass(frozen=True)
class _Rows:
    """What one reading transaction gives."""

    alerts: list[SeenAlert]
    closures: list[SeenAlert]
    counts: tuple[int, int, int]
    cameras: list[SeenCamera]
    excursions: dict[tuple[str, str], tuple[int, float]]
    names: dict[tuple[str, str], str]
    boxes: list[str]
    daily_signed: int
    samples: list[RetainedSample]


def look(read: Reader, series: SeriesStore, site: Site, period: Period, now: datetime) -> Seen:
    """What is known of *period* until *now*; *read* runs work in a reading transaction. Raises SeriesUnavailable."""
    start, end = bounds(period, site.time_zone)
    until = max(start, min(end, now))
    rows = read(lambda db: _rows(db, site, period, start, until))
    sensors, uncounted = _sensors(series, rows, start, until)
    opened, closed, standing = rows.counts
    return Seen(
        since=start, until=until, opened=opened, closed=closed, standing=standing, alerts=rows.alerts,
        closures=rows.closures, sensors=sensors, uncounted_sensors=uncounted, cameras=rows.cameras,
        samples=_samples(series, rows, now), daily_due=len(period.days), daily_signed=rows.daily_signed,
    )  # fmt: skip


def _samples(series: SeriesStore, rows: _Rows, now: datetime) -> list[SeenSample]:
    """The samples that were put aside, each with what is wrong with it; those entered by mistake left out."""
    return [
        SeenSample(
            sample_id=sample.id, meal=sample.meal, dish=sample.dish, weight_g=sample.weight_g,
            taken_at=sample.taken_at, taken_by=sample.taken_by, warnings=warnings_of(sample, series, now).codes,
        )
        for sample in rows.samples
        if sample.removal is None or sample.removal.how != "void"
    ]  # fmt: skip


def _rows(db: Session, site: Site, period: Period, start: datetime, until: datetime) -> _Rows:
    # what began before and lasted into the period is a finding of it, too
    lasting = or_(Alert.ended_at >= start, and_(Alert.ended_at.is_(None), Alert.state.not_in(FINAL)))
    touching = _with_closing().where(
        Alert.site_id == site.id, Alert.opened_at < until, or_(Alert.opened_at >= start, lasting)
    )
    alerts = [_seen(*row) for row in db.execute(touching.order_by(Alert.opened_at, Alert.id).limit(FINDINGS_MAX))]
    closing = _closing()
    done = (
        select(Alert, closing.c.at)
        .join(closing, closing.c.alert_id == Alert.id)
        .where(Alert.site_id == site.id, Alert.state == CLOSED, closing.c.at >= start, closing.c.at < until)
    )
    closures = [_seen(*row) for row in db.execute(done.order_by(closing.c.at, Alert.id).limit(FINDINGS_MAX))]
    boxes = list(db.scalars(select(Box.id).where(Box.site_id == site.id).order_by(Box.id)))
    signed = db.scalar(
        select(func.count()).where(
            SelfControlRecord.site_id == site.id,
            SelfControlRecord.kind == "daily",
            SelfControlRecord.first_day.between(period.first, period.last),
            SelfControlRecord.edition > 0,
        )
    )
    return _Rows(
        alerts, closures, _counts(db, site, start, until), _cameras(db, site, period),
        _excursions(db, site, start, until), _names(db, boxes), boxes, signed or 0,
        samples_between(db, site.id, start, until),
    )  # fmt: skip


def _closing() -> Subquery:
    """The last time that each alert was closed."""
    query = select(AlertMove.alert_id.label("alert_id"), func.max(AlertMove.at).label("at"))
    return query.where(AlertMove.new_state == CLOSED).group_by(AlertMove.alert_id).subquery()


def _with_closing() -> Select[Any]:
    closing = _closing()
    return select(Alert, closing.c.at).join(closing, closing.c.alert_id == Alert.id, isouter=True)


def _seen(alert: Alert, closed_at: datetime | None) -> SeenAlert:
    outcome = outcome_of(alert.state)
    return SeenAlert(
        alert_id=alert.id, kind=alert.kind, tier=alert.tier, place=alert.place, source=alert.source_name,
        opened_at=alert.opened_at, ended_at=alert.ended_at, deadline_at=alert.deadline_at, state=alert.state,
        outcome=outcome, closed_at=closed_at if outcome == "closed" else None,
    )  # fmt: skip


def _counts(db: Session, site: Site, start: datetime, until: datetime) -> tuple[int, int, int]:
    """Opened in the time, closed in it, and unfinished from before."""
    mine = select(func.count()).select_from(Alert).where(Alert.site_id == site.id)
    closing = _closing()
    done = mine.join(closing, closing.c.alert_id == Alert.id).where(
        Alert.state == CLOSED, closing.c.at >= start, closing.c.at < until
    )
    pending = Alert.state.not_in(FINAL)
    return (
        db.scalar(mine.where(Alert.opened_at >= start, Alert.opened_at < until)) or 0,
        db.scalar(done) or 0,
        db.scalar(mine.where(Alert.opened_at < start, pending)) or 0,
    )


def _cameras(db: Session, site: Site, period: Period) -> list[SeenCamera]:
    sums: dict[str, tuple[str, float, float]] = {}
    for day in period.days:
        for row in coverage_of(db, site, day):
            _, due_s, judged_s = sums.get(row.camera_id, ("", 0.0, 0.0))
            sums[row.camera_id] = (row.camera_name, due_s + row.due_s, judged_s + row.judged_s)
    return [
        SeenCamera(camera_id=camera, name=name, due_s=due_s, judged_s=judged_s, share_pct=_share(judged_s, due_s))
        for camera, (name, due_s, judged_s) in sorted(sums.items())
    ]


def _share(part: float, whole: float) -> float:
    """In %, rounded down: 100 is said only of all of it."""
    return int(1000 * part / whole) / 10 if whole > 0 else 0.0


def _excursions(db: Session, site: Site, start: datetime, until: datetime) -> dict[tuple[str, str], tuple[int, float]]:
    touching = select(Alert).where(
        Alert.site_id == site.id,
        Alert.kind == "temperature_excursion",
        and_(Alert.opened_at < until, or_(Alert.ended_at.is_(None), Alert.ended_at >= start)),
    )
    found: dict[tuple[str, str], tuple[int, float]] = {}
    for alert in db.scalars(touching):
        if alert.box_id is None:  # no sensor saw it
            continue
        inside_s = (min(alert.ended_at or until, until) - max(alert.opened_at, start)).total_seconds()
        count, length_s = found.get((alert.box_id, alert.source_id), (0, 0.0))
        found[alert.box_id, alert.source_id] = (count + 1, length_s + max(0.0, inside_s))
    return found


def _names(db: Session, boxes: Iterable[str]) -> dict[tuple[str, str], str]:
    cards = select(SensorCard).where(SensorCard.box_id.in_(list(boxes)))
    ordered = db.scalars(cards.order_by(SensorCard.valid_from, SensorCard.id))
    return {(card.box_id, card.sensor_id): card.name for card in ordered if card.name}


def _sensors(series: SeriesStore, rows: _Rows, start: datetime, until: datetime) -> tuple[list[SeenSensor], int]:
    keys = [key for box in rows.boxes for key in series.keys(box) if key.quantity == QUANTITY]
    found: list[SeenSensor] = []
    left = POINTS_MAX
    for key in keys[:SENSORS_MAX]:
        measured = _measure(series, key, start, until, left)
        if measured is None:
            break
        left -= measured.readings
        name = rows.names.get((key.box_id, key.sensor_id), key.sensor_id)
        count, length_s = rows.excursions.get((key.box_id, key.sensor_id), (0, 0.0))
        found.append(measured.model_copy(update={"name": name, "excursions": count, "excursion_s": length_s}))
    return found, len(keys) - len(found)


def _measure(series: SeriesStore, key: SeriesKey, start: datetime, until: datetime, most: int) -> SeenSensor | None:
    """The figures of one sensor; None when it has more than *most* readings."""
    points: list[Point] = []
    for point in series.range(key, int(start.timestamp() * 1000), int(until.timestamp() * 1000) - 1):
        points.append(point)
        if len(points) > most:
            return None
    good = [(point.at_ms, point.value) for point in points if point.value is not None and point.quality != "bad"]
    values = [value for _, value in good]
    covered_s = _covered_s([at_ms for at_ms, _ in good], until)
    return SeenSensor(
        box_id=key.box_id, sensor_id=key.sensor_id, name=key.sensor_id, readings=len(points),
        min_c=min(values, default=None), max_c=max(values, default=None), excursions=0, excursion_s=0.0,
        covered_pct=_share(covered_s, (until - start).total_seconds()),
    )  # fmt: skip


def _covered_s(times_ms: list[int], until: datetime) -> float:
    """The seconds for which readings stand: each until the next, at most until a gap begins."""
    if len(times_ms) < 2:
        return 0.0
    pauses = [(after - before) / 1000 for before, after in pairwise(times_ms)]
    usual_s = sorted(pauses)[len(pauses) // 2]
    longest_s = max(GAP_FACTOR * usual_s, GAP_S_MIN)
    last_s = min(until.timestamp() - times_ms[-1] / 1000, usual_s)
    return sum(pause if pause <= longest_s else usual_s for pause in pauses) + max(0.0, last_s)
