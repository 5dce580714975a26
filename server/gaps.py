"""Gap proof: which batches of a box the centre lacks, and which of them the box has told as lost.

A box numbers its batches without a hole, so a hole in the numbers is a loss or a batch still on its way. A box that
asks is told its holes; it sends again what it has and tells the rest in `data_gap` events. What was told counts as
explained, so the same question is not asked for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from server.dialects import insert_new
from server.models import StoredBatch, StoredEvent
from server.models_uplink import LanePosition
from telemetry.batch import BatchHeader
from telemetry.messages import SeqRange

ANSWER_RANGES_MAX = 100


@dataclass(frozen=True)
class Hole:
    """Batches ``first_seq`` to ``last_seq`` of a lane that are not here; ``told``: the reason that the box gave."""

    box_id: str
    epoch: str
    lane: str
    first_seq: int
    last_seq: int
    told: str | None


def note_lane(db: Session, header: BatchHeader) -> None:
    """Remember a lane; called for a batch whose predecessor is not here, as is the first one of each lane."""
    row = {"box_id": header.box_id, "epoch": header.epoch, "lane": header.lane, "complete_to": 0}
    insert_new(db, LanePosition, [row])


def find_missing(db: Session, box_id: str) -> list[SeqRange]:
    """What to ask a box for, at most ANSWER_RANGES_MAX ranges; looks only behind what is known to be complete."""
    found: list[SeqRange] = []
    for position in db.scalars(select(LanePosition).where(LanePosition.box_id == box_id)):
        holes = list(_holes(db, position, position.complete_to))
        unexplained = [hole for hole in holes if hole.told is None]
        if unexplained:
            position.complete_to = unexplained[0].first_seq - 1
        else:
            position.complete_to = _last_seq(db, position)
        found += [
            SeqRange.model_validate(
                {"epoch": hole.epoch, "lane": hole.lane, "first_seq": hole.first_seq, "last_seq": hole.last_seq}
            )
            for hole in unexplained
        ]
    return found[:ANSWER_RANGES_MAX]


def find_holes(db: Session, box_id: str | None = None) -> list[Hole]:
    """All holes of one box or of all, explained or not, counted from the first batch of each lane."""
    query = select(LanePosition).order_by(LanePosition.box_id, LanePosition.epoch, LanePosition.lane)
    if box_id is not None:
        query = query.where(LanePosition.box_id == box_id)
    return [hole for position in db.scalars(query) for hole in _holes(db, position, 0)]


def _holes(db: Session, position: LanePosition, after_seq: int) -> Iterator[Hole]:
    told = _told(db, position)
    for first, last in _jumps(db, position, after_seq):
        start = first
        for told_first, told_last, reason in told:
            if told_last < start or told_first > last:
                continue
            if told_first > start:
                yield _hole(position, start, told_first - 1, None)
            yield _hole(position, max(start, told_first), min(last, told_last), reason)
            start = told_last + 1
        if start <= last:
            yield _hole(position, start, last, None)


def _hole(position: LanePosition, first: int, last: int, told: str | None) -> Hole:
    return Hole(position.box_id, position.epoch, position.lane, first, last, told)


def _jumps(db: Session, position: LanePosition, after_seq: int) -> list[tuple[int, int]]:
    """Where the stored numbers jump, as (first, last) missing."""
    before = func.lag(StoredBatch.seq, 1, after_seq).over(order_by=StoredBatch.seq)
    numbers = (
        select(StoredBatch.seq.label("seq"), before.label("before"))
        .where(
            StoredBatch.box_id == position.box_id,
            StoredBatch.epoch == position.epoch,
            StoredBatch.lane == position.lane,
            StoredBatch.seq > after_seq,
        )
        .subquery()
    )
    rows = db.execute(select(numbers.c.before + 1, numbers.c.seq - 1).where(numbers.c.seq > numbers.c.before + 1))
    return [(row[0], row[1]) for row in rows]


def _told(db: Session, position: LanePosition) -> list[tuple[int, int, str]]:
    """What the box has told as lost in this lane: (first, last, reason), in order."""
    told: list[tuple[int, int, str]] = []
    query = select(StoredEvent.data).where(StoredEvent.box_id == position.box_id, StoredEvent.type == "data_gap")
    for data in db.scalars(query):
        first, last = data.get("first_seq"), data.get("last_seq")
        if (data.get("epoch"), data.get("lane")) != (position.epoch, position.lane):
            continue
        if isinstance(first, int) and isinstance(last, int):
            told.append((first, last, str(data.get("reason"))))
    return sorted(told)


def _last_seq(db: Session, position: LanePosition) -> int:
    query = select(func.max(StoredBatch.seq)).where(
        StoredBatch.box_id == position.box_id,
        StoredBatch.epoch == position.epoch,
        StoredBatch.lane == position.lane,
    )
    return int(db.scalar(query) or 0)
