"""Finds a changed byte in a signed report, in one of its files, or in a batch that it rests on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from server.blob_port import BlobStore
from server.i18n import LANGUAGES
from server.reports.builder import ReportRefused, read_refs
from server.reports.document import FIRST_PREVIOUS, Document, canonical
from server.reports.ledger import DocumentLost, read_document, read_file
from server.reports.models import ReportEntry, ReportFile, SignedReport
from server.reports.proof import prove_content

FILES = {("json", ""), ("csv", ""), *(("pdf", language) for language in LANGUAGES)}


@dataclass
class ReportVerification:
    """What was checked, what is wrong (``problems``), and what came since (``gaps``; not an error)."""

    reports: int = 0
    report: str | None = None
    problems: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)


def verify_reports(db: Session, blobs: BlobStore) -> ReportVerification:
    """Check every signed report."""
    found = ReportVerification()
    if not inspect(db.connection()).has_table(SignedReport.__tablename__):
        return found  # the record is older than the reports
    for report in db.scalars(select(SignedReport).order_by(SignedReport.id)):
        _verify_report(db, blobs, report, found)
    return found


def verify_report_file(db: Session, blobs: BlobStore, data: bytes) -> ReportVerification:
    """Check one file that somebody holds: whether it was signed here as it is, and all that it rests on."""
    found = ReportVerification()
    digest = sha256(data).hexdigest()
    file = None
    if inspect(db.connection()).has_table(ReportFile.__tablename__):
        file = db.scalar(select(ReportFile).where(ReportFile.sha256 == digest).limit(1))
    if file is None:
        found.problems.append(
            f"the file ({digest[:16]}…) is none that was signed here: it was changed, or it is a draft"
        )
        return found
    report = db.get_one(SignedReport, file.report_id)
    newest = max(entry.edition for entry in report.entries)
    found.report = f"report {report.number} edition {file.edition} of {newest} {file.format} {file.language}".rstrip()
    if file.edition < newest:
        found.gaps.append(f"report {report.number}: edition {newest} is newer than this one")
    _verify_report(db, blobs, report, found)
    return found


def _verify_report(db: Session, blobs: BlobStore, report: SignedReport, found: ReportVerification) -> None:
    found.reports += 1
    document: Document | None = None
    previous = FIRST_PREVIOUS
    files = list(db.scalars(select(ReportFile).where(ReportFile.report_id == report.id).order_by(ReportFile.id)))
    name = f"report {report.number}"
    if [entry.edition for entry in report.entries] != list(range(1, len(report.entries) + 1)) or not report.entries:
        found.problems.append(f"{name}: its editions have a hole")
    for entry in report.entries:
        of_edition = [file for file in files if file.edition == entry.edition]
        if {(file.format, file.language) for file in of_edition} != FILES:
            found.problems.append(f"{name}: edition {entry.edition} lacks a file")
        raw = _check_files(blobs, report, of_edition, found)
        if raw is None:
            return
        try:
            newer = read_document(raw)
        except DocumentLost as error:
            found.problems.append(f"{name} edition {entry.edition}: {error}")
            return
        found.problems += [
            f"{name} edition {entry.edition}: {what}" for what in _faults(report, entry, document, newer, raw, previous)
        ]
        document, previous = newer, sha256(raw).hexdigest()
    if document is not None:
        found.problems += [f"{name}: {what}" for what in prove_content(db, document.content)]
        found.gaps += _later_batches(db, report, document)


def _check_files(
    blobs: BlobStore, report: SignedReport, files: list[ReportFile], found: ReportVerification
) -> bytes | None:
    """Check every file of one edition; the bytes of its JSON, or None when they cannot be trusted."""
    document = None
    for file in files:
        try:
            data = read_file(blobs, report, file)
        except DocumentLost as error:
            found.problems.append(str(error))
            continue
        if file.format == "json":
            document = data
    return document


def _faults(
    report: SignedReport, entry: ReportEntry, older: Document | None, newer: Document, raw: bytes, previous: str
) -> Iterator[str]:
    """What does not fit together in one edition."""
    content_sha256 = sha256(canonical(newer.content)).hexdigest()
    if not content_sha256 == newer.content_sha256 == report.content_sha256:
        yield "its content was changed"
    if newer.content.batches_sha256 != report.batches_sha256:
        yield "its list of batches was changed"
    if newer.number != report.number or newer.edition != entry.edition or canonical(newer) != raw:
        yield "its file is that of another edition"
    if newer.entries[:-1] != (older.entries if older else []) or not newer.entries:
        yield "it does not follow the edition before it"
        return
    last = newer.entries[-1]
    if last.previous_sha256 != previous:
        yield "it does not name the edition before it"
    if (last.move, last.username, last.at) != (entry.move, entry.user.username, entry.at):
        yield "its last act is not the one on record"


def _later_batches(db: Session, report: SignedReport, document: Document) -> list[str]:
    """Batches of the period that came after the signature: the report stays true of what it rests on."""
    content = document.content
    known = set(content.refs)
    try:
        now = {
            ref
            for asset in content.assets
            for ref in read_refs(db, asset.sensor.box_id, asset.sensor.sensor_id, content.start, content.end)
        }
    except ReportRefused:
        return [f"report {report.number}: more batches of its period came later than a report can hold"]
    later = now - known
    return [f"report {report.number}: {len(later)} batches of its period came after it was signed"] if later else []
