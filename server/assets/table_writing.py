"""Writes tables of text as CSV (UTF-8 with a byte-order mark, which Excel needs) and XLSX. No cell is a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from server.assets.table_file import escape

Format = Literal["csv", "xlsx"]
MEDIA_TYPES: dict[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
COLUMN_WIDTH = 20


@dataclass(frozen=True)
class TextTable:
    """A table to write; *name* is the sheet's."""

    name: str
    headings: Sequence[str]
    rows: Iterable[Sequence[str]]


def write_csv(table: TextTable) -> bytes:
    """One table; lines end as RFC 4180 says."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(table.headings)
    writer.writerows([escape(cell) for cell in row] for row in table.rows)
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def write_xlsx(tables: Sequence[TextTable]) -> bytes:
    """A workbook with one sheet for each table; every cell is text, also numbers and days, so that none is rounded."""
    import openpyxl
    from openpyxl.styles import Font

    book = openpyxl.Workbook(write_only=True)
    for table in tables:
        sheet: Any = book.create_sheet(table.name)
        sheet.freeze_panes = "A2"
        for index in range(len(table.headings)):
            sheet.column_dimensions[chr(ord("A") + index)].width = COLUMN_WIDTH
        sheet.append([_cell(sheet, heading, font=Font(bold=True)) for heading in table.headings])
        for row in table.rows:
            sheet.append([_cell(sheet, escape(text)) for text in row])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _cell(sheet: Any, text: str, font: Any = None) -> Any:
    from openpyxl.cell import WriteOnlyCell

    cell = WriteOnlyCell(sheet, value=text)
    cell.number_format = "@"
    if font is not None:
        cell.font = font
    return cell
