"""What a record says, as frozen values with one spelling in bytes (`server.reports.document.canonical`).

``Seen`` is what the boxes saw, ``Form`` what people wrote; ``Content`` holds both and never changes once signed. An
edition is the content with what people did, each naming the digest of the edition before; corrections stand beside
their originals. Times are UTC, temperatures °C, lengths seconds, days those of the site's clock.
"""

from __future__ import annotations

from datetime import date
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import Field

from server.reports.document import Correction, Entry, canonical
from server.self_control.catalogue import Kind
from telemetry.messages import Message, UtcTime

Short = Annotated[str, Field(max_length=80)]
Words = Annotated[str, Field(max_length=1000)]
Long = Annotated[str, Field(max_length=4000)]
Result = Literal["", "ok", "fault", "none"]
FINDINGS_MAX = 200


class SeenAlert(Message):
    """An alert opened in the period or lasting into it, as it stood then; ``outcome``: pending, closed or dismissed."""

    alert_id: int
    kind: str
    tier: int
    place: str
    source: str
    opened_at: UtcTime
    ended_at: UtcTime | None
    deadline_at: UtcTime
    state: str
    outcome: str
    closed_at: UtcTime | None


class SeenSensor(Message):
    """A sensor's temperatures; ``covered_pct`` is the share of the period with readings that count."""

    box_id: str
    sensor_id: str
    name: str
    readings: int
    min_c: float | None
    max_c: float | None
    covered_pct: float
    excursions: int
    excursion_s: float


class SeenCamera(Message):
    """How long a camera watched of the time in which it should have, over all kinds."""

    camera_id: str
    name: str
    due_s: float
    judged_s: float
    share_pct: float


class SeenSample(Message):
    """A retained sample of the period and what is wrong with it."""

    sample_id: int
    meal: str
    dish: str
    weight_g: float
    taken_at: UtcTime
    taken_by: str
    warnings: list[str]


class Seen(Message):
    """All that the boxes and the centre know of a period until ``until``; alerts beyond the bound are only counted."""

    since: UtcTime
    until: UtcTime
    opened: int
    closed: int
    standing: int  # opened before the period and not finished
    alerts: list[SeenAlert]
    closures: list[SeenAlert]
    sensors: list[SeenSensor]
    uncounted_sensors: int
    cameras: list[SeenCamera]
    samples: list[SeenSample]
    daily_due: int
    daily_signed: int


class Answer(Message):
    """One item: ``ok``, ``fault``, or ``none`` (does not apply); empty while nobody has said."""

    code: str
    result: Result = ""
    nonconformity: Words = ""
    responsible: Short = ""
    action: Words = ""


class Finding(Message):
    """What is done about an alert: by whom, what prevents it, until when, and how far it is."""

    alert_id: int
    responsible: Short = ""
    action: Words = ""
    due_on: date | None = None
    completion: Words = ""


class Form(Message):
    """What people wrote. ``operating`` is false on days without service: then no item is asked."""

    operating: bool = True
    answers: Annotated[list[Answer], Field(max_length=60)] = []
    findings: Annotated[list[Finding], Field(max_length=FINDINGS_MAX)] = []
    fields: Annotated[dict[str, Long], Field(max_length=20)] = {}


class Asked(Message):
    """A title as it was when the record was signed."""

    code: str
    zh: str
    en: str


class Content(Message):
    """A record before anybody signed it. ``zero_risk_lacks`` says why it is no zero-risk report, by code."""

    format: Literal["brightline.selfcontrol.v1"] = "brightline.selfcontrol.v1"
    kind: Kind
    site: str
    zone: str
    first_day: date
    last_day: date
    title: Asked
    items: list[Asked]
    asked: list[Asked]
    seen: Seen
    form: Form
    zero_risk: bool
    zero_risk_lacks: list[str]


class Record(Message):
    """One edition; edition 0 is a draft."""

    edition: int
    content: Content
    content_sha256: str
    entries: list[Entry]

    @property
    def number(self) -> str:
        return self.content_sha256[:12]


def draft_of(content: Content) -> Record:
    """Edition 0."""
    return Record(edition=0, content=content, content_sha256=sha256(canonical(content)).hexdigest(), entries=[])


def corrections_of(record: Record) -> dict[str, list[tuple[Entry, Correction]]]:
    """Target → its corrections, oldest first."""
    found: dict[str, list[tuple[Entry, Correction]]] = {}
    for entry in record.entries:
        if entry.correction:
            found.setdefault(entry.correction.target, []).append((entry, entry.correction))
    return found


def statements(content: Content) -> dict[str, str]:
    """Every statement of people that can be corrected: target → what it says."""
    found = {"operating": "yes" if content.form.operating else "no"}
    for answer in content.form.answers:
        for name in ("result", "nonconformity", "responsible", "action"):
            found[f"item.{answer.code}.{name}"] = str(getattr(answer, name))
    for finding in content.form.findings:
        for name in ("responsible", "action", "due_on", "completion"):
            value = getattr(finding, name)
            found[f"finding.{finding.alert_id}.{name}"] = "" if value is None else str(value)
    for code, text in content.form.fields.items():
        found[f"field.{code}"] = text
    return found
