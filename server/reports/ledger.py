"""Signing, reviewing and correcting: each act makes the next edition, with all its files, in one transaction.

``MAY`` and ``FOLLOWS`` are the rule: staff of the site sign; a regulator or other staff review what was signed or
corrected; both may correct, with a reason. Nobody reviews what they themselves signed or corrected last.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from server.audit import note, person
from server.blob_port import BlobDamaged, BlobStore
from server.models import Site, User
from server.policy import Permission, may
from server.reports import sensors
from server.reports.corrections import reading_target, targets
from server.reports.document import (
    FIRST_PREVIOUS,
    Content,
    Correction,
    Document,
    Entry,
    EntryMove,
    canonical,
)
from server.reports.models import ReportEntry, ReportFile, SignedReport

Move = Literal["sign", "review", "correct"]
Files = Mapping[tuple[str, str], bytes]  # (format, language; "" where it has none) → bytes
KeptFiles = Mapping[tuple[str, str], tuple[str, int]]  # the same → SHA-256 and size in bytes
DONE: dict[Move, EntryMove] = {"sign": "signed", "review": "reviewed", "correct": "corrected"}
MAY: dict[Move, Permission] = {"sign": "report.sign", "review": "report.review", "correct": "report.correct"}
FOLLOWS: dict[Move, frozenset[str]] = {
    "sign": frozenset({"draft"}),
    "review": frozenset({"signed", "corrected"}),
    "correct": frozenset({"signed", "reviewed", "corrected"}),
}
EDITIONS_MAX = 200
TEXT_CHARACTERS_MAX = 500


class ActRefused(Exception):
    """``code``: not_allowed, wrong_state, same_person, already_signed, changed, reason_missing, unknown_target, ..."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def state_of(document: Document) -> str:
    """``draft``, ``signed``, ``reviewed`` or ``corrected``."""
    return document.entries[-1].move if document.entries else "draft"


def possible(document: Document, user: User) -> list[Move]:
    """What this person may do now."""
    found: list[Move] = []
    for move in ("sign", "review", "correct"):
        try:
            _check(document, user, move)
        except ActRefused:
            continue
        found.append(move)
    return found


def _check(document: Document, user: User, move: Move) -> None:
    if not may(user, MAY[move]):
        raise ActRefused("not_allowed")
    if state_of(document) not in FOLLOWS[move] or document.edition >= EDITIONS_MAX:
        raise ActRefused("wrong_state")
    authors = {entry.username for entry in document.entries[-1:]}
    authors |= {entry.username for entry in document.entries if entry.move == "signed"}
    if move == "review" and user.username in authors:
        raise ActRefused("same_person")


def next_edition(
    document: Document, user: User, move: Move, note: str = "", correction: Correction | None = None
) -> Document:
    """The document with one more entry; raises ActRefused."""
    _check(document, user, move)
    previous = FIRST_PREVIOUS if document.edition == 0 else sha256(canonical(document)).hexdigest()
    entry = Entry(
        edition=document.edition + 1,
        move=DONE[move],
        username=user.username,
        name=user.display_name,
        role=user.role,
        at=datetime.now(UTC).replace(microsecond=0),
        note=note.strip()[:TEXT_CHARACTERS_MAX],
        correction=correction,
        previous_sha256=previous,
    )
    return document.model_copy(update={"edition": entry.edition, "entries": [*document.entries, entry]})


def make_correction(content: Content, key: str, at: datetime | None, corrected: str, reason: str) -> Correction:
    """A correction of one statement, with the original that the content states; raises ActRefused."""
    if not reason.strip():
        raise ActRefused("reason_missing")
    if not corrected.strip() or len(corrected) > TEXT_CHARACTERS_MAX or len(reason) > TEXT_CHARACTERS_MAX:
        raise ActRefused("corrected_text")
    target = (reading_target(content, at) if at else None) if key == "reading" else targets(content).get(key)
    if target is None:
        raise ActRefused("unknown_target")
    if key == "reading" and _celsius(corrected) is None:
        raise ActRefused("corrected_value")
    return Correction(
        target=target.key, original=target.original, corrected=corrected.strip(), reason=reason.strip()
    )  # fmt: skip


def _celsius(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if -273.15 <= value <= 1000 else None


def keep_files(blobs: BlobStore, files: Files) -> KeptFiles:
    """Keep the files before the transaction that names them: the store may be far, and writers wait."""
    return {key: (blobs.put(data), len(data)) for key, data in files.items()}


def store_edition(
    db: Session, site: Site, user: User, document: Document, files: KeptFiles, remote_addr: str
) -> SignedReport:
    """Put the newest edition and its kept files on record; raises ActRefused when somebody was quicker."""
    report = db.scalar(select(SignedReport).where(SignedReport.number == document.number))
    if document.edition == 1:
        if report is not None:
            raise ActRefused("already_signed")
        report = _new_report(site, document)
        db.add(report)
    elif report is None:
        raise ActRefused("wrong_state")
    entry = document.entries[-1]
    try:
        db.flush()
        db.add(
            ReportEntry(
                report_id=report.id, edition=entry.edition, move=entry.move, user_id=user.id, at=entry.at,
                remote_addr=remote_addr[:64],
            )
        )  # fmt: skip
        db.flush()
    except IntegrityError as error:
        raise ActRefused("changed") from error
    for (format_, language), (digest, size_bytes) in sorted(files.items()):
        db.add(
            ReportFile(
                report_id=report.id, edition=entry.edition, format=format_, language=language, sha256=digest,
                size_bytes=size_bytes,
            )
        )  # fmt: skip
    actor = person(user, remote_addr)
    note(db, actor, f"report.{entry.move}", ("report", report.number), {"edition": entry.edition}, site_id=site.id)
    return report


def _new_report(site: Site, document: Document) -> SignedReport:
    content = document.content
    sensor = content.assets[0].sensor
    return SignedReport(
        number=document.number,
        kind=content.kind,
        site_id=site.id,
        title=sensors.title_of(sensor.box_id, sensor.sensor_id) if content.kind == "temperature" else "",
        start=content.start,
        end=content.end,
        content_sha256=document.content_sha256,
        batches_sha256=content.batches_sha256,
    )


class DocumentLost(Exception):
    """A signed report whose file is missing or changed; the message says which."""


def load_document(db: Session, blobs: BlobStore, report: SignedReport, edition: int | None = None) -> Document:
    """An edition, the newest by default, from its JSON file; raises DocumentLost."""
    query = select(ReportFile).where(ReportFile.report_id == report.id, ReportFile.format == "json")
    if edition is not None:
        query = query.where(ReportFile.edition == edition)
    file = db.scalar(query.order_by(ReportFile.edition.desc()).limit(1))
    if file is None:
        raise DocumentLost(f"report {report.number}: it has no file")
    return read_document(read_file(blobs, report, file))


def read_file(blobs: BlobStore, report: SignedReport, file: ReportFile) -> bytes:
    """The bytes of a file as they were signed; raises DocumentLost."""
    name = f"report {report.number} edition {file.edition} {file.format} {file.language}".rstrip()
    try:
        return blobs.get(file.sha256)
    except KeyError:
        raise DocumentLost(f"{name}: its bytes are missing") from None
    except BlobDamaged:
        raise DocumentLost(f"{name}: its bytes were changed") from None


def read_document(data: bytes) -> Document:
    """A document from its JSON; raises DocumentLost."""
    try:
        return Document.model_validate_json(data)
    except ValidationError as error:
        raise DocumentLost(f"not a report: {error.errors()[0]['msg']}") from None
