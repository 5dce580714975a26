"""A report as one table that spreadsheets open: a row says in its first column what it tells.

UTF-8 with a byte order mark (so that Excel reads Chinese), RFC 4180 line ends, times in UTC, temperatures in °C.
A text that a spreadsheet would run as a formula is marked with an apostrophe.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import datetime

from server.reports.document import Asset, Document
from server.reports.series import at_of

COLUMNS = ("row", "asset", "from_utc", "until_utc", "value_c", "quality", "high_c", "low_c", "name", "text", "by")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
Row = dict[str, object]


def write_csv(document: Document) -> bytes:
    """The bytes of the table; the same document gives the same bytes."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\r\n")
    writer.writeheader()
    for row in _rows(document):
        writer.writerow({key: cell(value) for key, value in row.items()})
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def cell(value: object) -> object:
    """A value as a spreadsheet may have it: no formula, times in UTC."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _rows(document: Document) -> Iterator[Row]:
    content = document.content
    facts = {
        "format": document.format,
        "number": document.number,
        "edition": document.edition,
        "kind": content.kind,
        "site": content.site,
        "time_zone": content.zone,
        "content_sha256": document.content_sha256,
        "batches": content.batches,
        "batches_sha256": content.batches_sha256,
    }
    for name, value in facts.items():
        yield {"row": "report", "name": name, "text": value, "from_utc": content.start, "until_utc": content.end}
    for entry in document.entries:
        yield {
            "row": entry.move, "from_utc": entry.at, "name": f"{entry.name} ({entry.username})", "text": entry.note,
            "by": entry.role,
        }  # fmt: skip
        if entry.correction:
            said = entry.correction
            text = f"original: {said.original} | corrected: {said.corrected} | reason: {said.reason}"
            yield {"row": "correction", "from_utc": entry.at, "name": said.target, "text": text, "by": entry.name}
    for asset in content.assets:
        for row in _asset_rows(asset):
            yield {"asset": f"{asset.sensor.box_id}/{asset.sensor.sensor_id}", **row}
    for ref in content.refs:
        yield {"row": "batch", "asset": ref.box_id, "name": f"{ref.epoch} {ref.lane} {ref.seq}", "text": ref.sha256}


def _asset_rows(asset: Asset) -> Iterator[Row]:
    for name, value in asset.sensor.model_dump(mode="json").items():
        yield {"row": "sensor", "name": name, "text": value}
    for limit in asset.limits:
        yield {
            "row": "limit", "from_utc": limit.since, "until_utc": limit.until, "high_c": limit.high_c,
            "low_c": limit.low_c, "name": limit.source, "text": limit.basis, "by": limit.stated_by,
        }  # fmt: skip
    for name, value in asset.statistics.model_dump(mode="json").items():
        yield {"row": "statistic", "name": name, "text": value}
    for item in asset.excursions:
        side = "high_c" if item.side != "low" else "low_c"
        yield {
            "row": "excursion", "from_utc": item.opened_at, "until_utc": item.ended_at, "value_c": item.peak_c,
            side: item.limit_c, "name": f"alert {item.alert_id} {item.state}", "text": "; ".join(item.causes),
        }  # fmt: skip
        for action in item.actions:
            yield {
                "row": "action", "from_utc": action.at, "name": f"alert {item.alert_id} {action.move}",
                "text": action.note, "by": f"{action.by} ({action.role})",
            }  # fmt: skip
    for gap in asset.gaps:
        yield {"row": "gap", "from_utc": gap.start, "until_utc": gap.end, "name": gap.code, "text": gap.detail}
    for verified in asset.verified:
        yield {
            "row": "verification", "from_utc": verified.start, "until_utc": verified.end, "name": verified.number,
            "text": verified.at.isoformat(), "by": verified.by,
        }  # fmt: skip
    for at_ms, value, quality in asset.points:
        yield {"row": "reading", "from_utc": at_of(at_ms), "value_c": value, "quality": quality}
