"""What is shown of boxes, cut to what the person may see."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from server.models import Box, User
from server.models_boxes import BoxCommand, BoxSilence, BoxState
from server.models_notification import VendorSource
from server.scope import within

BOXES_MAX = 500


@dataclass(frozen=True)
class ShownBox:
    """``told``: its newest status, empty before the first; ``waiting``: commands that it has not answered."""

    box: Box
    told: dict[str, Any]
    told_at: datetime | None
    silent_since: datetime | None
    waiting: int

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.box.id, "name": self.box.name, "site": self.box.site.name, "last_seen_at": self.box.last_seen_at,
            "enrolled_at": self.box.enrolled_at, "status": self.told, "status_at": self.told_at,
            "revoked_at": self.box.revoked_at, "silent_since": self.silent_since, "commands_waiting": self.waiting,
        }  # fmt: skip


def boxes_of(db: Session, viewer: User, now: datetime) -> list[ShownBox]:
    """By site and name, at most BOXES_MAX, in two queries; other vendors' systems are none."""
    query = (
        select(Box, BoxState, BoxSilence)
        .outerjoin(BoxState, BoxState.box_id == Box.id)
        .outerjoin(BoxSilence, BoxSilence.box_id == Box.id)
        .where(within(viewer, Box.site_id), Box.id.not_in(select(VendorSource.box_id)))
        .order_by(Box.site_id, Box.name, Box.id)
        .limit(BOXES_MAX)
    )
    waiting = select(BoxCommand.box_id, func.count()).where(BoxCommand.state == "queued", BoxCommand.expires_at > now)
    counts = {row[0]: row[1] for row in db.execute(waiting.group_by(BoxCommand.box_id))}
    return [
        ShownBox(
            box, state.data if state else {}, state.told_at if state else None,
            silence.silent_since if silence else None, counts.get(box.id, 0),
        )
        for box, state, silence in db.execute(query).unique()
    ]  # fmt: skip
