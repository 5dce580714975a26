"""What a report says, as frozen values with one canonical spelling in bytes.

``Content`` is what was measured and known when the report was made; it never changes. A ``Document`` is one edition:
the content and what people did with it, one entry an edition, each edition naming the digest of the one before.
Times are UTC, temperatures °C, lengths seconds. The bytes are JSON with sorted keys, UTF-8, ended by a line feed.
"""

from __future__ import annotations

import json
from datetime import date
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import Field

from server.reports.sources import BatchRef, batch_lines
from telemetry.messages import Message, UtcTime

FORMAT = "brightline.report.v1"
FIRST_PREVIOUS = "0" * 64
Kind = Literal["temperature", "haccp"]
EntryMove = Literal["signed", "reviewed", "corrected"]


class Sensor(Message):
    """The asset and its thermometer; empty or None where nobody has stated it."""

    box_id: str
    box_name: str
    sensor_id: str
    name: str
    place: str
    ccp: str = ""
    serial: str = ""
    calibrated_on: date | None = None
    calibration_due_on: date | None = None
    offset_c: float | None = None
    stated_by: str = ""
    stated_at: UtcTime | None = None


class LimitPeriod(Message):
    """Limits in force from *since* to before *until*; ``source`` is ``card`` (stated by a person) or ``box``."""

    since: UtcTime
    until: UtcTime
    high_c: float | None
    low_c: float | None
    basis: str
    source: Literal["card", "box", "none"]
    stated_by: str


class Gap(Message):
    """A time without a usable reading. ``code`` names the reason, ``detail`` is the box's own word or the numbers."""

    start: UtcTime
    end: UtcTime
    length_s: float
    code: Literal["bad_readings", "sensor_fault", "evicted", "missing_batches", "unknown"]
    detail: str


class Action(Message):
    """What somebody did about an excursion, from the alert's moves and rectifications."""

    at: UtcTime
    by: str
    role: str
    move: str
    note: str
    photo_sha256: str = ""


class Excursion(Message):
    """One excursion as the box reported it and people saw to it."""

    incident_id: str
    alert_id: int
    opened_at: UtcTime
    ended_at: UtcTime | None
    side: Literal["high", "low", ""]
    limit_c: float | None
    peak_c: float | None
    state: str
    causes: list[str]
    causes_said: Annotated[list[str], Field(exclude_if=lambda said: not said)] = []  # phrases; older reports have none
    said: Annotated[list[str], Field(exclude_if=lambda said: not said)] = []  # when ``causes`` is but the box's reason
    actions: list[Action]


class Statistics(Message):
    """Of the measured values with quality good or suspect; ``mkt_c`` is for information and excuses nothing.

    Times above and below count each value until the next one, at most for the longest pause that is no gap.
    """

    readings: int
    suspect: int
    without_value: int
    usual_interval_s: float | None
    gap_after_s: float
    min_c: float | None
    min_at: UtcTime | None
    max_c: float | None
    max_at: UtcTime | None
    mean_c: float | None
    mkt_c: float | None
    covered_s: float
    gap_s: float
    coverage_pct: float
    above_s: float | None
    below_s: float | None


class Lane(Message):
    """The batches of one lane of one box: ``[seq, sha256]`` each."""

    box_id: str
    epoch: str
    lane: str
    batches: list[tuple[int, str]]


class Verified(Message):
    """A signed report that covers part of a critical control point's period."""

    number: str
    start: UtcTime
    end: UtcTime
    by: str
    at: UtcTime


class Asset(Message):
    """One sensor over the period: a temperature report has one, a HACCP log one for each critical control point."""

    sensor: Sensor
    limits: list[LimitPeriod]
    statistics: Statistics
    gaps: list[Gap]
    excursions: list[Excursion]
    points: list[tuple[int, float | None, str]] = Field(default_factory=list)  # ms since 1970 UTC, °C, quality
    points_sha256: str
    verified: list[Verified] = Field(default_factory=list)


class Content(Message):
    """The facts of one report."""

    kind: Kind
    site: str
    zone: str
    start: UtcTime
    end: UtcTime
    assets: Annotated[list[Asset], Field(min_length=1)]
    lanes: list[Lane]
    batches: int
    batches_sha256: str

    @property
    def refs(self) -> list[BatchRef]:
        return [
            BatchRef(lane.box_id, lane.epoch, lane.lane, seq, digest)
            for lane in self.lanes
            for seq, digest in lane.batches
        ]


class Correction(Message):
    """*corrected* stands beside *original*, which stays legible."""

    target: str
    original: str
    corrected: str
    reason: str


class Entry(Message):
    """One act on the report: by whom, when, and the digest of the edition that the person had before them."""

    edition: int
    move: EntryMove
    username: str
    name: str
    role: str
    at: UtcTime
    note: str
    correction: Correction | None = None
    previous_sha256: str


class Document(Message):
    """One edition of a report; edition 0 is a draft that nobody has signed."""

    format: Literal["brightline.report.v1"] = "brightline.report.v1"
    number: str
    edition: int
    content: Content
    content_sha256: str
    entries: list[Entry]


def canonical(message: Message) -> bytes:
    """The one spelling of a message; the same value gives the same bytes."""
    text = json.dumps(message.model_dump(mode="json"), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode() + b"\n"


def digest_points(points: list[tuple[int, float | None, str]]) -> str:
    """The digest over a series: SHA-256 of its JSON, without spaces."""
    return sha256(json.dumps(points, separators=(",", ":")).encode()).hexdigest()


def lanes_of(refs: list[BatchRef]) -> list[Lane]:
    """Batches grouped by lane, in order."""
    grouped: dict[tuple[str, str, str], list[tuple[int, str]]] = {}
    for ref in sorted(set(refs)):
        grouped.setdefault((ref.box_id, ref.epoch, ref.lane), []).append((ref.seq, ref.sha256))
    return [Lane(box_id=key[0], epoch=key[1], lane=key[2], batches=batches) for key, batches in grouped.items()]


def draft_of(content: Content) -> Document:
    """Edition 0."""
    digest = sha256(canonical(content)).hexdigest()
    return Document(number=digest[:12], edition=0, content=content, content_sha256=digest, entries=[])


def corrections(document: Document) -> dict[str, tuple[Entry, Correction]]:
    """Target → its latest correction."""
    return {entry.correction.target: (entry, entry.correction) for entry in document.entries if entry.correction}


def batch_list(document: Document) -> str:
    """The batches as the text over which the digest is taken."""
    return batch_lines(document.content.refs)
