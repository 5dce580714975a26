"""What a box tells of itself every few minutes, kept as its newest status."""

from __future__ import annotations

from sqlalchemy.orm import Session

from server.models_boxes import BoxState
from telemetry.messages import Event

KIND = "heartbeat"


def note_heartbeat(db: Session, box_id: str, event: Event) -> None:
    """Keep *event* as the box's status when it is one and newer than the one on record."""
    if event.type != "box_status" or event.data.get("kind") != KIND:
        return
    state = db.get(BoxState, box_id)
    if state is None:
        db.add(BoxState(box_id=box_id, told_at=event.at, data=dict(event.data)))
    elif state.told_at <= event.at:
        state.told_at, state.data = event.at, dict(event.data)
