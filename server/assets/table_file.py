"""Reads tables out of files from outside: CSV in UTF-8 or GB18030, and XLSX. Every size is bounded before it is used.

A text that a spreadsheet would take for a formula is escaped with an apostrophe when written, and restored here.
"""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, time
from itertools import islice
from typing import Any
from xml.etree.ElementTree import ParseError

FILE_BYTES_MAX = 5 * 1024 * 1024
UNPACKED_BYTES_MAX = 50 * 1024 * 1024
PARTS_MAX = 200
ROWS_MAX = 5_000  # of all tables of a file together
BLANK_ROWS_MAX = 1_000
COLUMNS_MAX = 30
SHEETS_MAX = 30
CELL_CHARACTERS_MAX = 1_000
WHOLE_NUMBER_MAX = 10**15  # beyond it a spreadsheet has rounded the last digits away
FORMULA = ("=", "+", "-", "@", "\t", "\r")
# what openpyxl raises on files that are no workbook; it promises no type of its own
_UNREADABLE = (
    zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, IndexError, OSError, EOFError, ParseError,
    RuntimeError, OverflowError, zlib.error, AssertionError,
)  # fmt: skip


class FileRefused(Exception):
    """The file cannot be read as a table; texts ``asset_wrong_CODE`` and ``asset_remedy_CODE``."""

    def __init__(self, code: str, **args: str | int) -> None:
        super().__init__(code)
        self.code = code
        self.args_ = args


@dataclass(frozen=True)
class RawCell:
    """The text of a cell, or the code of what is wrong with it."""

    text: str
    wrong: str = ""


@dataclass(frozen=True)
class RawTable:
    """One table: its name (empty for CSV), its headings, and its rows by their number in the file."""

    name: str
    headings: tuple[str, ...]
    rows: tuple[tuple[int, tuple[RawCell, ...]], ...]


def escape(text: str) -> str:
    """*text* as a cell that no spreadsheet computes."""
    return f"'{text}" if text.startswith((*FORMULA, "'")) else text


def restore(text: str) -> str:
    """What `escape` was given; a text that was not escaped stays as it is."""
    return text[1:] if text.startswith("'") and text[1:].startswith((*FORMULA, "'")) else text


def read_tables(data: bytes) -> list[RawTable]:
    """The tables of a file; what it is shows its content, not its name. Raises FileRefused."""
    if len(data) > FILE_BYTES_MAX:
        raise FileRefused("file_size", max=FILE_BYTES_MAX // 1024 // 1024)
    if not data.strip():
        raise FileRefused("file_empty")
    tables = _read_xlsx(data) if data.startswith(b"PK") else [_read_csv(data)]
    if sum(len(table.rows) for table in tables) > ROWS_MAX:
        raise FileRefused("file_rows", max=ROWS_MAX)
    return tables


def _read_csv(data: bytes) -> RawTable:
    text = _decode(data)
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)

    def rows() -> Iterator[tuple[int, list[RawCell]]]:
        for row in reader:
            if len(row) > COLUMNS_MAX:
                raise FileRefused("file_columns", max=COLUMNS_MAX)
            yield reader.line_num, [_text_cell(cell) for cell in row]

    try:
        return _table("", rows())
    except csv.Error as error:
        raise FileRefused("file_csv", row=reader.line_num) from error


def _decode(data: bytes) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise FileRefused("file_encoding")


def _text_cell(text: str) -> RawCell:
    return RawCell("", "too_long") if len(text) > CELL_CHARACTERS_MAX else RawCell(restore(text.strip()))


def _table(name: str, rows: Iterable[tuple[int, list[RawCell]]]) -> RawTable:
    """The first row that holds anything is the headings; empty rows are passed over."""
    headings: tuple[str, ...] = ()
    found: list[tuple[int, tuple[RawCell, ...]]] = []
    blanks = 0
    for number, cells in rows:
        if not any(cell.text or cell.wrong for cell in cells):
            blanks += 1
            if blanks > BLANK_ROWS_MAX:
                break
            continue
        if not headings:
            headings = tuple(cell.text for cell in cells)
            while headings and not headings[-1]:
                headings = headings[:-1]
            continue
        if len(found) > ROWS_MAX:
            raise FileRefused("file_rows", max=ROWS_MAX)
        found.append((number, tuple(cells)))
    return RawTable(name, headings, tuple(found))


def _read_xlsx(data: bytes) -> list[RawTable]:
    try:
        _check_package(data)
        return _read_book(data)
    except _UNREADABLE as error:
        raise FileRefused("file_xlsx") from error


def _check_package(data: bytes) -> None:
    """Bounds by the directory of the package; Python's zipfile never unpacks more of a part than stands there."""
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        parts = package.infolist()
        if len(parts) > PARTS_MAX or sum(part.file_size for part in parts) > UNPACKED_BYTES_MAX:
            raise FileRefused("file_unpacked", max=UNPACKED_BYTES_MAX // 1024 // 1024)


def _read_book(data: bytes) -> list[RawTable]:
    import openpyxl

    book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=False, keep_links=False)
    try:
        tables = []
        for sheet in islice(book.worksheets, SHEETS_MAX):
            sheet.reset_dimensions()  # what the file says of its size is not believed
            tables.append(_table(sheet.title, _sheet_rows(sheet)))
        return [table for table in tables if table.headings]
    finally:
        book.close()


def _sheet_rows(sheet: Any) -> Iterator[tuple[int, list[RawCell]]]:
    for number, row in enumerate(sheet.iter_rows(max_col=COLUMNS_MAX), start=1):
        yield number, [_book_cell(cell) for cell in row]


def _book_cell(cell: Any) -> RawCell:
    value = cell.value
    if value is None:
        return RawCell("")
    if cell.data_type in ("f", "e"):  # a formula, or what became of one
        return RawCell("", "formula")
    if isinstance(value, datetime) and value.time() == time():
        return RawCell(value.date().isoformat())
    if isinstance(value, int | float) and not isinstance(value, bool):
        whole = abs(value) < WHOLE_NUMBER_MAX and value == int(value)
        return RawCell(str(int(value)) if whole else repr(value), "" if abs(value) < WHOLE_NUMBER_MAX else "rounded")
    return _text_cell(str(value))
