"""The facts behind the figures, read in a fixed number of queries, whatever the number of alerts or sites.

Only sites within the viewer's reach are read; months are those of each site's own clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from server.coverage import judged_sums
from server.models import Alert, AlertMove, Box, Region, Site, StoredEvent, User
from server.problems import Problem
from server.scope import within
from server.self_control.missing import owed
from server.statistics.measures import AlertFact
from server.statistics.outcome import CLOSED, outcome_of

ALERTS_MAX = 500_000
COVERAGE_MAX = 100_000  # reports: one camera sends 96 a day
MONTHS_MAX = 24
ZONE_SLACK = timedelta(hours=26)  # no site's month begins further from the UTC one


@dataclass(frozen=True)
class Wanted:
    """Months from *first* to *last* (their first days), and what is looked for: a kind, a site, a part of its name."""

    first: date
    last: date
    kind: str = ""
    site_id: int | None = None
    site_part: str = ""


@dataclass(frozen=True)
class SiteFact:
    """A site and the regions it lies in, from the province down."""

    site_id: int
    name: str
    zone: str
    regions: tuple[int, ...]


@dataclass
class Facts:
    """All that the figures are made of. ``coverage`` is (due, judged) seconds by site, kind and month."""

    alerts: list[AlertFact]
    sites: dict[int, SiteFact]
    regions: dict[int, str]
    coverage: dict[tuple[int, str, str], tuple[float, float]] = field(default_factory=dict)
    coverage_counted: bool = True
    records_missing: dict[int, int] = field(default_factory=dict)


def check_months(first: date, last: date) -> None:
    """Raises Problem unless there are 1 to 24 months."""
    months = (last.year - first.year) * 12 + last.month - first.month + 1
    if not 1 <= months <= MONTHS_MAX or not 1971 <= first.year <= 2200:
        raise Problem(422, "st_period", f"choose 1 to {MONTHS_MAX} months")


def read_facts(db: Session, viewer: User, wanted: Wanted, now: datetime) -> Facts:
    """Everything of the wanted months; raises Problem when there are too many alerts."""
    check_months(wanted.first, wanted.last)
    condition = _sites_where(viewer, wanted)
    sites, regions = _sites(db, condition)
    facts = Facts(_alerts(db, condition, sites, wanted), sites, regions)
    _read_coverage(db, condition, facts, wanted)
    for item in owed(db, viewer, now, wanted.site_id):
        if item.stage == "missing" and item.site.id in sites:
            facts.records_missing[item.site.id] = facts.records_missing.get(item.site.id, 0) + 1
    return facts


def _sites_where(viewer: User, wanted: Wanted) -> ColumnElement[bool]:
    condition: ColumnElement[bool] = within(viewer, Site.id)
    if wanted.site_id is not None:
        condition = condition & (Site.id == wanted.site_id)
    if wanted.site_part:
        condition = condition & Site.name.contains(wanted.site_part, autoescape=True)
    return condition


def _sites(db: Session, condition: ColumnElement[bool]) -> tuple[dict[int, SiteFact], dict[int, str]]:
    rows = db.execute(
        select(Site.id, Site.name, Site.time_zone, Region.path)
        .join(Region, Region.id == Site.region_id, isouter=True)
        .where(condition)
        .order_by(Site.name)
    )
    sites = {
        row[0]: SiteFact(
            row[0], row[1], row[2], tuple(int(part) for part in (row[3] or "").strip("/").split("/") if part)
        )
        for row in rows
    }
    wanted = {region for site in sites.values() for region in site.regions}
    regions = {row[0]: row[1] for row in db.execute(select(Region.id, Region.name)) if row[0] in wanted}
    return sites, regions


def bounds(wanted: Wanted) -> tuple[datetime, datetime]:
    """From before the first to after the last month, in UTC, whatever a site's zone."""
    start = datetime.combine(wanted.first, time(), UTC) - ZONE_SLACK
    return start, datetime.combine(next_month(wanted.last), time(), UTC) + ZONE_SLACK


def next_month(first: date) -> date:
    return (first.replace(day=1) + timedelta(days=31)).replace(day=1)


def month_of(at: datetime, zone: str) -> str:
    """YYYY-MM by the clock of the zone."""
    return at.astimezone(ZoneInfo(zone)).strftime("%Y-%m")


def _alerts(db: Session, condition: ColumnElement[bool], sites: dict[int, SiteFact], wanted: Wanted) -> list[AlertFact]:
    start, end = bounds(wanted)
    closing = (
        select(AlertMove.alert_id.label("alert_id"), func.max(AlertMove.at).label("at"))
        .where(AlertMove.new_state == CLOSED, AlertMove.at >= start)
        .group_by(AlertMove.alert_id)
        .subquery()
    )
    query = (
        select(Alert.id, Alert.site_id, Alert.kind, Alert.tier, Alert.state, Alert.opened_at, Alert.deadline_at,
               closing.c.at, Alert.repeat_of_id)
        .join(Site, Site.id == Alert.site_id)
        .join(closing, closing.c.alert_id == Alert.id, isouter=True)
        .where(condition, Alert.opened_at >= start, Alert.opened_at < end)
        .order_by(Alert.id)
        .limit(ALERTS_MAX + 1)
    )  # fmt: skip
    if wanted.kind:
        query = query.where(Alert.kind == wanted.kind)
    found = [_fact(row, sites) for row in db.execute(query)]
    if len(found) > ALERTS_MAX:
        raise Problem(422, "st_too_many", f"more than {ALERTS_MAX} alerts: choose fewer months or one site")
    first, last = f"{wanted.first:%Y-%m}", f"{wanted.last:%Y-%m}"
    return [fact for fact in found if first <= fact.month <= last]


def _fact(row: Sequence[Any], sites: dict[int, SiteFact]) -> AlertFact:
    alert_id, site_id, kind, tier, state, opened_at, deadline_at, closed_at, repeat_of_id = row
    outcome = outcome_of(state)
    return AlertFact(
        alert_id, site_id, kind, tier, month_of(opened_at, sites[site_id].zone), outcome, opened_at, deadline_at,
        closed_at if outcome == "closed" else None, repeat_of_id is not None,
    )  # fmt: skip


def _read_coverage(db: Session, condition: ColumnElement[bool], facts: Facts, wanted: Wanted) -> None:
    """Sums of the cameras' reports by site, kind and month; none when there are too many to read at once."""
    start, end = bounds(wanted)
    query = (
        select(StoredEvent.at, StoredEvent.data, Box.site_id)
        .join(Box, Box.id == StoredEvent.box_id)
        .join(Site, Site.id == Box.site_id)
        .where(condition, StoredEvent.type == "coverage", StoredEvent.at >= start, StoredEvent.at < end)
        .limit(COVERAGE_MAX + 1)
    )
    first, last = f"{wanted.first:%Y-%m}", f"{wanted.last:%Y-%m}"
    sums: dict[tuple[int, str, str], tuple[float, float]] = {}
    number = 0
    for at, data, site_id in db.execute(query):
        number += 1
        began, rows = judged_sums(at, data)
        if began is None or not first <= (month := month_of(began, facts.sites[site_id].zone)) <= last:
            continue
        for kind, due_s, judged_s in rows:
            if not wanted.kind or kind == wanted.kind:
                due, judged = sums.get((site_id, kind, month), (0.0, 0.0))
                sums[site_id, kind, month] = (due + due_s, judged + judged_s)
    facts.coverage_counted = number <= COVERAGE_MAX
    facts.coverage = sums if facts.coverage_counted else {}
