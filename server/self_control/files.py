"""A record as a file to keep: JSON (the signed bytes), CSV and PDF, made from the document alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from server.reports.csv_file import cell
from server.reports.document import canonical
from server.reports.files import MEDIA_TYPES, one_pdf
from server.reports.fonts import Font
from server.self_control.document import Record

Format = Literal["pdf", "csv", "json"]
COLUMNS = ("row", "code", "name", "result", "text", "responsible", "action", "from_utc", "until_utc", "value")
Row = dict[str, object]
__all__ = ["MEDIA_TYPES", "Format", "file_name", "make_file"]


def file_name(record: Record, format_: Format, language: str) -> str:
    """A name for the downloaded file, plain ASCII."""
    content = record.content
    tail = f"-{language}" if format_ == "pdf" else ""
    return f"brightline-{content.kind}-{content.first_day}-{record.number}-{record.edition}{tail}.{format_}"


def make_file(record: Record, format_: Format, language: str, font: Font | None) -> bytes:
    """The bytes of one file, a PDF set in *font*; raises `server.reports.files.Busy`."""
    if format_ == "json":
        return canonical(record)
    if format_ == "csv":
        return write_csv(record, language)
    from server.self_control.pdf_file import write_pdf

    return one_pdf(lambda: write_pdf(record, language, font))


def write_csv(record: Record, language: str) -> bytes:
    """The record as one table (UTF-8 with byte order mark, RFC 4180); a row says in its first column what it tells."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\r\n")
    writer.writeheader()
    for row in _rows(record, language):
        writer.writerow({key: cell(value) for key, value in row.items()})
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def _rows(record: Record, language: str) -> Iterator[Row]:
    content = record.content
    facts = {
        "format": content.format, "kind": content.kind, "site": content.site, "time_zone": content.zone,
        "first_day": content.first_day.isoformat(), "last_day": content.last_day.isoformat(),
        "edition": record.edition, "content_sha256": record.content_sha256,
        "zero_risk": "yes" if content.zero_risk else "no", "zero_risk_lacks": " ".join(content.zero_risk_lacks),
        "operating": "yes" if content.form.operating else "no",
    }  # fmt: skip
    yield from ({"row": "record", "code": name, "text": value} for name, value in facts.items())
    titles = {item.code: item.en if language == "en" else item.zh for item in (*content.items, *content.asked)}
    for answer in content.form.answers:
        yield {
            "row": "item", "code": answer.code, "name": titles[answer.code], "result": answer.result,
            "text": answer.nonconformity, "responsible": answer.responsible, "action": answer.action,
        }  # fmt: skip
    for code, text in content.form.fields.items():
        yield {"row": "field", "code": code, "name": titles[code], "text": text}
    yield from _seen_rows(record)
    for entry in record.entries:
        yield _entry_row(entry.move, entry.at, f"{entry.name} ({entry.username}, {entry.role})", entry.note)
        if entry.correction:
            said = entry.correction
            text = f"original: {said.original} | corrected: {said.corrected} | reason: {said.reason}"
            yield {**_entry_row("correction", entry.at, entry.name, text), "code": said.target}


def _entry_row(row: str, at: datetime, name: str, text: str) -> Row:
    return {"row": row, "name": name, "text": text, "from_utc": at}


def _seen_rows(record: Record) -> Iterator[Row]:
    seen, notes = record.content.seen, {item.alert_id: item for item in record.content.form.findings}
    for alert in seen.alerts:
        note = notes.get(alert.alert_id)
        yield {
            "row": "alert", "code": alert.alert_id, "name": alert.kind, "result": alert.state,
            "text": f"{alert.place} {alert.source}".strip(), "from_utc": alert.opened_at, "until_utc": alert.ended_at,
            "responsible": note.responsible if note else "", "action": note.action if note else "",
            "value": note.completion if note else "",
        }  # fmt: skip
    for sensor in seen.sensors:
        text = f"min {sensor.min_c} max {sensor.max_c} excursions {sensor.excursions} ({sensor.excursion_s:.0f} s)"
        yield {
            "row": "sensor", "code": sensor.sensor_id, "name": sensor.name, "text": text, "value": sensor.covered_pct,
            "from_utc": seen.since, "until_utc": seen.until,
        }  # fmt: skip
    for camera in seen.cameras:
        text = f"judged {camera.judged_s:.0f} s of {camera.due_s:.0f} s"
        yield {
            "row": "camera", "code": camera.camera_id, "name": camera.name, "text": text, "value": camera.share_pct,
        }  # fmt: skip
    for sample in seen.samples:
        yield {
            "row": "sample", "code": sample.sample_id, "name": sample.dish, "result": " ".join(sample.warnings),
            "text": sample.meal, "responsible": sample.taken_by, "from_utc": sample.taken_at, "value": sample.weight_g,
        }  # fmt: skip
