"""Takes a box out of service: nothing of it is taken any more, what it signed before stays as good as it was."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import update
from sqlalchemy.orm import Session

from server.audit import Actor, note
from server.models import Box
from server.models_boxes import BoxCommand


def revoke(db: Session, box: Box, actor: Actor) -> datetime:
    """Since when *box* is revoked: now, unless it was before. Commands that wait for it expire."""
    if box.revoked_at is not None:
        return box.revoked_at
    box.revoked_at = datetime.now(UTC)
    waiting = update(BoxCommand).where(BoxCommand.box_id == box.id, BoxCommand.state == "queued")
    db.execute(waiting.values(state="expired"))
    note(db, actor, "box.revoke", ("box", box.id), site_id=box.site_id)
    db.flush()
    return box.revoked_at
