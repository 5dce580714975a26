"""What a box has, as far as it told: the release of its configuration, and of each of its models, that is in force."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.rollout.models import Release, Rollout, RolloutBox
from telemetry.released_model import Mode


def in_force(db: Session, box_id: str, like: Release, modes: Sequence[Mode] = ("live",)) -> int | None:
    """The release that stands in the same place as *like* does: what the box applied last and was not taken back.

    None: its own file, or its own model. A candidate, which only looks along, counts with the mode ``shadow``.
    """
    query = (
        select(RolloutBox, Rollout.release_id)
        .join(Rollout, Rollout.id == RolloutBox.rollout_id)
        .join(Release, Release.id == Rollout.release_id)
        .where(
            RolloutBox.box_id == box_id,
            RolloutBox.state.in_(("applied", "back", "failed")),
            Release.kind == like.kind,
            Release.slot == like.slot,
            Rollout.mode.in_(modes),
        )
        .order_by(Rollout.id.desc())
        .limit(1)
    )
    last = db.execute(query).first()
    if last is None:
        return None
    return int(last[1]) if last[0].state == "applied" else last[0].previous_id
