"""Which records a site owes: due soon, due now or missing. Two queries, whatever the number of sites."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, func, select, true
from sqlalchemy.orm import Session

from server.models import Box, Site, User
from server.models_self_control import SelfControlRecord
from server.scope import within
from server.self_control.catalogue import Kind, Sheet, sheets
from server.self_control.periods import Period, due_at, periods_between

Stage = Literal["open", "soon", "missing"]
BACK_DAYS: dict[Kind, int] = {"daily": 14, "weekly": 56, "monthly": 186}
SITES_MAX = 5000


@dataclass(frozen=True)
class Owed:
    """A record that is not signed. ``open``: its time runs; ``soon``: due within hours; ``missing``: overdue."""

    site: Site
    period: Period
    due_at: datetime
    stage: Stage
    record_id: int | None


def owed(
    db: Session,
    viewer: User | None,
    now: datetime,
    site_id: int | None = None,
    rules: Mapping[Kind, Sheet] | None = None,
) -> list[Owed]:
    """What the sites within reach owe, the longest overdue first; without a *viewer*, all sites.

    A site owes records from the day on which its first box was enrolled; sites without a box owe none.
    """
    reach: ColumnElement[bool] = within(viewer, Site.id) if viewer is not None else true()
    boxes = select(Box.site_id, func.min(Box.enrolled_at).label("since")).group_by(Box.site_id).subquery()
    query = select(Site, boxes.c.since).join(boxes, boxes.c.site_id == Site.id).where(reach)
    if site_id is not None:
        query = query.where(Site.id == site_id)
    sites = [(row[0], row[1]) for row in db.execute(query.order_by(Site.name).limit(SITES_MAX))]
    oldest = (now - timedelta(days=max(BACK_DAYS.values()) + 32)).date()
    rows = db.execute(
        select(SelfControlRecord.site_id, SelfControlRecord.kind, SelfControlRecord.first_day, SelfControlRecord.id,
               SelfControlRecord.edition)
        .join(Site, Site.id == SelfControlRecord.site_id)
        .where(reach, SelfControlRecord.first_day >= oldest)
    )  # fmt: skip
    known = {(row[0], row[1], row[2]): (row[3], row[4]) for row in rows}
    found = [
        item
        for site, since in sites
        for kind, sheet in (rules or sheets()).items()
        for item in _owed(site, since, kind, sheet, known, now)
    ]
    return sorted(found, key=lambda item: (item.due_at, item.site.name))


def _owed(
    site: Site,
    since: datetime,
    kind: Kind,
    sheet: Sheet,
    known: Mapping[tuple[int, str, date], tuple[int, int]],
    now: datetime,
) -> list[Owed]:
    zone = ZoneInfo(site.time_zone)
    today = now.astimezone(zone).date()
    first = max(since.astimezone(zone).date(), today - timedelta(days=BACK_DAYS[kind]))
    found = []
    for period in periods_between(kind, first, today):
        record_id, edition = known.get((site.id, kind, period.first), (None, 0))
        if edition == 0:
            due = due_at(period, site.time_zone, sheet)
            found.append(Owed(site, period, due, _stage(due, sheet, now), record_id))
    return found


def _stage(due: datetime, sheet: Sheet, now: datetime) -> Stage:
    if now >= due:
        return "missing"
    return "soon" if now >= due - timedelta(hours=sheet.remind_before_h) else "open"
