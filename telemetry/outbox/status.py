"""What an outbox tells of itself: plain numbers, the same for the command line, the metrics and the tests."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from telemetry.messages import LANES, Lane


class OutboxError(Exception):
    """The outbox cannot take or give records now; the message says which file and why."""


class OutboxFull(OutboxError):
    """The disk is full: events and states of this commit were kept, ``refused`` readings were not (counted, told)."""

    def __init__(self, refused: int) -> None:
        super().__init__(f"the disk is full: {refused} readings were not taken; free space or reconnect the centre")
        self.refused = refused


class LaneStatus(BaseModel):
    """Counters of one lane: records ever committed, waiting, delivered, rejected, evicted, refused."""

    last_seq: int = 0
    records: int = 0
    pending_batches: int = 0
    pending_records: int = 0
    pending_bytes: int = 0
    delivered: int = 0
    rejected: int = 0
    evicted: int = 0
    refused: int = 0


class OutboxStatus(BaseModel):
    """What `brightline-edge outbox status` prints. ``fresh_records`` are on disk, counted as pending, not yet sealed.

    ``reserve_held`` is false while the disk is full.
    """

    box_id: str
    epoch: str
    reserve_held: bool
    file_bytes: int
    fresh_records: int
    kept_delivered_bytes: int
    dead_letters: int
    quarantined_files: list[str]
    lanes: dict[Lane, LaneStatus]

    @classmethod
    def empty(cls, box_id: str) -> OutboxStatus:
        """Of a box that has never run: it has no outbox yet, and no epoch."""
        return cls(
            box_id=box_id,
            epoch="",
            reserve_held=True,
            file_bytes=0,
            fresh_records=0,
            kept_delivered_bytes=0,
            dead_letters=0,
            quarantined_files=[],
            lanes={lane: LaneStatus() for lane in LANES},
        )


@dataclass(frozen=True)
class Pending:
    """A sealed batch that waits for its receipt; ``id`` counts up in the order of sealing."""

    id: int
    epoch: str
    lane: Lane
    seq: int
    count: int
    raw: bytes


@dataclass
class Waiting:
    """What waits in one lane, sealed batches only."""

    batches: int = 0
    records: int = 0
    size_bytes: int = 0

    def add(self, batches: int, records: int, size_bytes: int) -> None:
        self.batches += batches
        self.records += records
        self.size_bytes += size_bytes
