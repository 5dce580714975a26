"""The words that a box and the centre share: readings, events and receipts.

Every message is frozen and validated on both sides; an unknown field is an error, never ignored. Times are
aware and in UTC. What travels is the JSON of these models (``model_dump_json``), sealed in a batch.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

Lane = Literal["events", "readings"]
LANES: tuple[Lane, Lane] = ("events", "readings")
Quality = Literal["good", "suspect", "bad"]
Severity = Literal["info", "warning", "critical"]
EventType = Literal[
    "excursion_opened",
    "excursion_updated",
    "excursion_closed",
    "warning",
    "defrost",
    "violation_opened",
    "violation_updated",
    "violation_closed",
    "sensor_fault",
    "sensor_recovered",
    "data_gap",
    "camera_blind",
    "camera_recovered",
    "coverage",
    "box_status",
    "clock_corrected",
]


def _utc(value: datetime) -> datetime:
    """Years outside of 1970 to 9000 are a fault of the sender, and the ends of the calendar overflow in any zone."""
    if not 1970 <= value.year < 9000:
        raise ValueError("the year must be 1970 to 8999")
    return value.astimezone(UTC)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be a finite number; send null with quality 'bad' instead")
    return value


UtcTime = Annotated[AwareDatetime, AfterValidator(_utc)]
Finite = Annotated[float, AfterValidator(_finite)]
Identifier = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]*$")]
Text = Annotated[str, Field(max_length=512)]
Name = Annotated[str, Field(max_length=64)]
Names = Annotated[list[Text], Field(max_length=64)]
Scalar = Text | int | bool | Finite | None


class Message(BaseModel):
    """Base of all messages: immutable, no unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Reading(Message):
    """One value of one sensor. ``value`` is in ``unit`` (°C for temperature); None only with quality ``bad``.

    Without ``clock_synced``, ``observed_at`` counts from a wrong but steady start within one boot (the batch's
    ``boot_id``); a ``clock_corrected`` event of that boot tells what to add.
    """

    sensor_id: Identifier
    quantity: Identifier
    value: Finite | None
    unit: Annotated[str, Field(max_length=16)]
    observed_at: UtcTime
    quality: Quality = "good"
    reason: Text | None = None
    clock_synced: bool = True


class Event(Message):
    """Something that happened at the box. All events of one incident share ``incident_id``.

    ``clock_synced`` as in Reading. A ``clock_corrected`` event holds ``boot_id`` and ``offset_s``: true time =
    told time + offset for every record of that boot whose clock was not synchronised.
    """

    event_id: Identifier
    incident_id: Identifier
    type: EventType
    severity: Severity
    source_id: Identifier
    at: UtcTime
    clock_synced: bool = True
    data: Annotated[dict[Name, Scalar | Names], Field(max_length=64)] = Field(default_factory=dict)


class SeqRange(Message):
    """Batches ``first_seq`` to ``last_seq`` (both included) of one lane of one epoch."""

    epoch: Identifier
    lane: Lane
    first_seq: Annotated[int, Field(ge=1)]
    last_seq: Annotated[int, Field(ge=1)]


class RejectedRecord(Message):
    """A record of an accepted batch that the centre could not use; ``index`` counts from 0."""

    index: int
    reason: Text


class Receipt(Message):
    """The centre's answer to one batch. A batch that no receipt names stays in the outbox.

    ``accepted`` and ``duplicate`` mean: it is on the centre's disk, delete it. ``rejected`` means: it will
    never be taken, keep it in the dead-letter folder and count it.
    """

    box_id: str
    epoch: str
    lane: Lane
    seq: int
    status: Literal["accepted", "duplicate", "rejected"]
    reason: Text | None = None
    rejected_records: list[RejectedRecord] = Field(default_factory=list)
