"""What is shown of boxes, cut to what the person may see."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from server.boxes.commands import commands_of
from server.boxes.keys import keys_since
from server.evidence_access import may_open
from server.gaps import Hole, find_holes
from server.models import Box, Evidence, StoredEvent, User
from server.models_boxes import BoxCommand, BoxSilence, BoxState
from server.models_notification import VendorSource
from server.scope import within

BOXES_MAX = 500
HOLES_MAX = 50
REPORTS_MAX = 400
CAMERAS_FRESH = timedelta(days=1)


@dataclass(frozen=True)
class ShownBox:
    """``told``: its newest status, empty before the first; ``waiting``: commands that it has not answered."""

    box: Box
    told: dict[str, Any]
    told_at: datetime | None
    silent_since: datetime | None
    waiting: int
    key_since: datetime

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.box.id, "name": self.box.name, "site": self.box.site.name, "last_seen_at": self.box.last_seen_at,
            "enrolled_at": self.box.enrolled_at, "status": self.told, "status_at": self.told_at,
            "revoked_at": self.box.revoked_at, "silent_since": self.silent_since, "commands_waiting": self.waiting,
            "key_since": self.key_since,
        }  # fmt: skip


@dataclass(frozen=True)
class ShownCamera:
    """A camera that reported lately, and the SHA-256 of the models that judged its pictures then."""

    camera_id: str
    name: str
    models: list[str]


@dataclass(frozen=True)
class BoxSheet:
    """One box in full: ``holes`` are batches that the centre lacks, the newest commands come first."""

    shown: ShownBox
    cameras: list[ShownCamera]
    holes: list[Hole]
    commands: list[BoxCommand]
    pictures: dict[str, list[Evidence]]  # by command, those that the viewer may open


def box_sheet(db: Session, viewer: User, box_id: str, now: datetime) -> BoxSheet | None:
    """A box with all that its page shows; None when this person may not see it."""
    found = _shown(db, viewer, now, box_id)
    if not found:
        return None
    commands = commands_of(db, box_id)
    holes = find_holes(db, box_id)[:HOLES_MAX]
    return BoxSheet(found[0], _cameras(db, box_id, now), holes, commands, _pictures(db, viewer, box_id, commands))


def _pictures(db: Session, viewer: User, box_id: str, commands: list[BoxCommand]) -> dict[str, list[Evidence]]:
    """What the box sent for the commands: evidence names the command as its incident."""
    ids = [row.id for row in commands]
    query = select(Evidence).where(Evidence.box_id == box_id, Evidence.incident_id.in_(ids))
    found: dict[str, list[Evidence]] = {}
    for row in db.scalars(query.order_by(Evidence.received_at)):
        if may_open(viewer, row):
            found.setdefault(row.incident_id, []).append(row)
    return found


def _cameras(db: Session, box_id: str, now: datetime) -> list[ShownCamera]:
    """From the newest reports of what was watched, which come every quarter of an hour."""
    query = (
        select(StoredEvent.source_id, StoredEvent.data)
        .where(StoredEvent.box_id == box_id, StoredEvent.type == "coverage", StoredEvent.at >= now - CAMERAS_FRESH)
        .order_by(StoredEvent.at.desc())
        .limit(REPORTS_MAX)
    )
    cameras: dict[str, ShownCamera] = {}
    for source_id, data in db.execute(query):
        if source_id not in cameras:
            models = data.get("models")
            told = [str(item) for item in models] if isinstance(models, list) else []
            name = str(data.get("camera_name") or source_id)[:80]
            cameras[source_id] = ShownCamera(source_id, name, told)
    return sorted(cameras.values(), key=lambda camera: camera.name)


def boxes_of(
    db: Session, viewer: User, now: datetime, after: str | None = None, rows: int = BOXES_MAX
) -> list[ShownBox]:
    """By site and name from behind the box *after*, in three queries; other vendors' systems are none."""
    return _shown(db, viewer, now, after=after, rows=rows)


def _shown(
    db: Session, viewer: User, now: datetime, box_id: str | None = None, after: str | None = None, rows: int = 1
) -> list[ShownBox]:
    query = (
        select(Box, BoxState, BoxSilence)
        .outerjoin(BoxState, BoxState.box_id == Box.id)
        .outerjoin(BoxSilence, BoxSilence.box_id == Box.id)
        .where(within(viewer, Box.site_id), Box.id.not_in(select(VendorSource.box_id)))
        .order_by(Box.site_id, Box.name, Box.id)
        .limit(rows)
    )
    if after is not None:
        last = select(Box.site_id, Box.name, Box.id).where(Box.id == after, within(viewer, Box.site_id))
        query = query.where(tuple_(Box.site_id, Box.name, Box.id) > last.scalar_subquery())
    waiting = select(BoxCommand.box_id, func.count()).where(BoxCommand.state == "queued", BoxCommand.expires_at > now)
    if box_id is not None:
        query, waiting = query.where(Box.id == box_id), waiting.where(BoxCommand.box_id == box_id)
    counts = {row[0]: row[1] for row in db.execute(waiting.group_by(BoxCommand.box_id))}
    since = keys_since(db)
    return [
        ShownBox(
            box, state.data if state else {}, state.told_at if state else None,
            silence.silent_since if silence else None, counts.get(box.id, 0),
            since.get(box.id, box.enrolled_at),
        )
        for box, state, silence in db.execute(query).unique()
    ]  # fmt: skip
