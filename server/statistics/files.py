"""A table as a file: CSV, XLSX and PDF. No cell is a formula, whatever a site is called."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Literal

from server.i18n import translate
from server.reports.csv_file import cell
from server.reports.files import one_pdf
from server.reports.fonts import Font
from server.statistics.tables import By, Line, Overview

Format = Literal["csv", "xlsx", "pdf"]
MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pdf": "application/pdf",
}
FIGURES = (
    "alerts", "confirmed", "closed", "rectified", "rectified_on_time", "overdue", "median_h", "dismissed",
    "false_alarm_rate", "repeats", "repeat_rate", "coverage",
)  # fmt: skip
SHARES = frozenset({"rectified", "rectified_on_time", "false_alarm_rate", "repeat_rate"})
Value = str | int | float | None


def name_of(line: Line, by: By, language: str) -> str:
    """What a line is called on a page and in a file."""
    return translate(language, f"kind_{line.name}") if by == "kind" else line.name


def figure(line: Line, name: str) -> Value:
    """One figure of a line; shares and coverage in % with one decimal."""
    if name == "coverage":
        return line.coverage_pct
    value: int | float | None = getattr(line.measures, name)
    if value is None or isinstance(value, int):
        return value
    return round(100 * value, 1) if name in SHARES else round(value, 2)


def rows_of(overview: Overview, by: By, language: str) -> list[list[Value]]:
    """The head and the lines of a table, the sum of all first."""
    head: list[Value] = [translate(language, f"st_by_{by}"), *(translate(language, f"st_{name}") for name in FIGURES)]
    total: list[Value] = [translate(language, "st_total"), *(figure(overview.total, name) for name in FIGURES)]
    lines = [_row(line, by, language) for line in overview.tables[by]]
    if by != "site":
        return [head, total, *lines]
    return [[*head, translate(language, "st_risk"), translate(language, "st_reasons")], [*total, None, None], *lines]


def _row(line: Line, by: By, language: str) -> list[Value]:
    name = f"{'　' * line.depth}{name_of(line, by, language)}"
    row: list[Value] = [name, *(figure(line, item) for item in FIGURES)]
    return [*row, line.risk.score, reasons(line, language)] if line.risk else row


def reasons(line: Line, language: str) -> str:
    """Why a site has its score, in words."""
    found = line.risk.reasons if line.risk else []
    return "; ".join(
        f"{translate(language, f'st_term_{item.name}')} {item.value:g} (+{item.points:g})" for item in found
    )


def make_file(
    overview: Overview, by: By, format_: Format, language: str, title: str, period: str, font: Font | None
) -> bytes:
    """The bytes of one file, a PDF set in *font*; raises `server.reports.files.Busy`."""
    rows = rows_of(overview, by, language)
    if format_ == "csv":
        return write_csv(rows)
    if format_ == "xlsx":
        return write_xlsx(rows, translate(language, f"st_by_{by}"))
    from server.statistics.pdf_file import write_pdf

    return one_pdf(lambda: write_pdf(overview, by, language, title, period, font))


def write_csv(rows: Sequence[Sequence[Value]]) -> bytes:
    """UTF-8 with byte order mark, RFC 4180."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerows([cell(value) for value in row] for row in rows)
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def write_xlsx(rows: Sequence[Sequence[Value]], title: str) -> bytes:
    """A workbook of one sheet, written row by row; texts stay texts."""
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    sheet = book.create_sheet(title[:31])
    sheet.freeze_panes = "B2"
    for row in rows:
        sheet.append([cell(value) for value in row])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def shown(line: Line, name: str) -> str:
    """A figure as people read it."""
    value = figure(line, name)
    if value is None:
        return "—"
    return f"{value} %" if name in SHARES or name == "coverage" else f"{value}"
