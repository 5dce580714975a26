"""What an import would change, found out without changing anything, and then done in one transaction.

The same rows a second time change nothing. Whatever is wrong stands in the plan, and a plan with errors is not done.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.assets.cells import Value
from server.assets.register import IDS_PER_QUERY, Held, held_by
from server.assets.rows import Row, RowError, dump
from server.models import Box, Region, Site, User
from server.policy import SITE_ROLES
from server.regions import LEVELS, region_names
from server.scope import within

Action = Literal["add", "update"]


@dataclass(frozen=True)
class Change:
    """One row that is not on record as it stands in the file; *fields*: column → old and new value."""

    row: Row
    action: Action
    fields: Mapping[str, tuple[Value, Value]]


@dataclass
class Plan:
    """What would be done. *same* counts the rows that are on record already."""

    changes: list[Change] = field(default_factory=list)
    same: int = 0
    errors: list[RowError] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """Names what would be done, so that nothing else is done than what somebody looked at."""
        said = [
            [change.action, *dump([change.row]), {name: [str(old), str(new)] for name, (old, new) in fields.items()}]
            for change in self.changes
            for fields in [change.fields]
        ]
        return sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    def counts(self) -> dict[str, int]:
        """How many rows are added, changed, the same, and wrong."""
        added = sum(change.action == "add" for change in self.changes)
        return {"add": added, "update": len(self.changes) - added, "same": self.same, "errors": len(self.errors)}


class Planner:
    """Compares rows with the record. *user* is who wants it; None is the operator at the console."""

    def __init__(self, db: Session, user: User | None, rows: Iterable[Row]) -> None:
        self._db = db
        self._user = user
        self._rows = list(rows)
        self._plan = Plan()
        names = sorted({row.site for row in self._rows})
        self._sites = {site.name: site for site in _chunked(db, Site.name, names)}
        self._mine = self._visible()
        self._new = {row.site for row in self._rows if row.sheet.name == "sites"} - set(self._sites)
        self._held: Held = held_by(db, [site.id for site in self._sites.values()])
        boxes = {str(row.values["box_id"]) for row in self._rows if row.values.get("box_id")}
        self._boxes = {box.id: box.site_id for box in _chunked(db, Box.id, sorted(boxes))}
        self._own_region = region_names(db, user.region) if user and user.region else ""
        self._regions: dict[int, str] = {}

    def plan(self) -> Plan:
        """The plan of all rows."""
        for row in self._rows:
            site = self._sites.get(row.site)
            wrong = self._wrong_site(row, site) or self._wrong(row, site)
            if wrong:
                self._plan.errors.append(wrong)
                continue
            self._compare(row, site)
        return self._plan

    def _visible(self) -> set[int]:
        if self._user is None:
            return {site.id for site in self._sites.values()}
        ids = [site.id for site in self._sites.values()]
        found: set[int] = set()
        for start in range(0, len(ids), IDS_PER_QUERY):
            part = ids[start : start + IDS_PER_QUERY]
            found |= set(self._db.scalars(select(Site.id).where(Site.id.in_(part), within(self._user, Site.id))))
        return found

    def _wrong_site(self, row: Row, site: Site | None) -> RowError | None:
        may_add = self._user is None or self._user.role not in SITE_ROLES
        if site is not None and site.id not in self._mine:
            code = "site_taken" if row.sheet.name == "sites" and may_add else "site_unknown"
            return RowError(row.sheet.name, row.number, "site", code)
        if site is None and (row.site not in self._new or not may_add):
            return RowError(row.sheet.name, row.number, "site", "site_unknown")
        return None

    def _wrong(self, row: Row, site: Site | None) -> RowError | None:
        """What is wrong with a row beside the record; its cells for themselves are right."""
        values = row.values
        if row.sheet.name == "sites":
            code = self._wrong_region(str(values.get("region") or ""), site)
            return RowError(row.sheet.name, row.number, "region", code) if code else None
        box, source = values.get("box_id"), values.get("source_id")
        if bool(box) != bool(source):
            return RowError(row.sheet.name, row.number, "source_id" if box else "box_id", "link_half")
        if box and (site is None or self._boxes.get(str(box)) != site.id):
            return RowError(row.sheet.name, row.number, "box_id", "box_unknown")
        room = values.get("cold_room")
        if room and not self._has_room(row.site, site, str(room)):
            return RowError(row.sheet.name, row.number, "cold_room", "room_unknown")
        return None

    def _has_room(self, name: str, site: Site | None, room: str) -> bool:
        if site is not None and ("cold_rooms", site.id, room) in self._held:
            return True
        return any(row.sheet.name == "cold_rooms" and (row.site, *row.key) == (name, room) for row in self._rows)

    def _wrong_region(self, names: str, site: Site | None) -> str:
        if site is not None and (not names or names == self._region_of(site)):
            return ""
        parts = [part.strip() for part in names.split("/")] if names else []
        if len(parts) > len(LEVELS) or not all(0 < len(part) <= 80 for part in parts):
            return "region"
        if self._user is None or (self._user.role not in SITE_ROLES and not self._own_region):
            return ""
        inside = f"{names}/".startswith(f"{self._own_region}/") and self._user.role not in SITE_ROLES
        return "" if inside else "region_reach"

    def _region_of(self, site: Site) -> str:
        region: Region | None = site.region
        if region is None:
            return ""
        if region.id not in self._regions:
            self._regions[region.id] = region_names(self._db, region)
        return self._regions[region.id]

    def _compare(self, row: Row, site: Site | None) -> None:
        held = self._held.get((row.sheet.name, site.id, *row.key)) if site else None
        known = site is not None if row.sheet.name == "sites" else held is not None
        fields: dict[str, tuple[Value, Value]] = {}
        for column in row.sheet.columns:
            if column.name not in row.values:
                continue
            old = self._old(row, column.name, site, held)
            new = row.values[column.name]
            if column.name in row.sheet.extra and not new:
                continue  # a site always has a time zone, and a region is not left by an empty cell
            if old != new:
                fields[column.name] = (old, new)
        if known and not fields:
            self._plan.same += 1
        else:
            self._plan.changes.append(Change(row, "update" if known else "add", fields))

    def _old(self, row: Row, name: str, site: Site | None, held: Any) -> Value:
        if name == "region":
            return self._region_of(site) if site else ""
        if name == "time_zone":
            return site.time_zone if site else ""
        value: Value = getattr(held, name) if held is not None else None
        column = next(item for item in row.sheet.columns if item.name == name)
        return value if value is not None or column.kind == "date" else ""


def _chunked(db: Session, column: Any, values: list[str]) -> list[Any]:
    """The objects whose *column* is one of *values*, in questions of bounded size."""
    found: list[Any] = []
    for start in range(0, len(values), IDS_PER_QUERY):
        part = values[start : start + IDS_PER_QUERY]
        found += db.scalars(select(column.class_).where(column.in_(part)))
    return found


def make_plan(db: Session, user: User | None, rows: Iterable[Row]) -> Plan:
    """What these rows would change; changes nothing."""
    return Planner(db, user, rows).plan()
