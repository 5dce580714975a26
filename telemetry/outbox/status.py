"""What an outbox tells of itself: plain numbers, the same for the command line, the metrics and the tests."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from telemetry.messages import Lane


class OutboxError(Exception):
    """The outbox cannot take or give records now; the message says which file and why."""


class OutboxFull(OutboxError):
    """The disk is full: events and states of this commit were kept, ``refused`` readings were not (counted, told)."""

    def __init__(self, refused: int) -> None:
        super().__init__(f"the disk is full: {refused} readings were not taken; free space or reconnect the centre")
        self.refused = refused


class LaneStatus(BaseModel):
    """Counters of one lane: records ever committed, waiting, delivered, rejected, evicted, refused."""

    last_seq: int
    records: int
    pending_batches: int
    pending_records: int
    pending_bytes: int
    delivered: int
    rejected: int
    evicted: int
    refused: int


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
