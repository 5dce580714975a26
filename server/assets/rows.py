"""Rows of assets out of raw tables, with everything that is wrong with them, by row and column. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from server.assets.cells import CellRefused, Column, Value
from server.assets.sheets import SHEETS, Sheet, heading
from server.assets.table_file import RawCell, RawTable
from server.i18n import LANGUAGES, translate

ERRORS_MAX = 500
PAIRS = (("issued_on", "expires_on"), ("calibrated_on", "calibration_due_on"))


@dataclass(frozen=True)
class RowError:
    """What is wrong in which cell; texts ``asset_wrong_CODE`` and ``asset_remedy_CODE``. Row 1 is the first line."""

    sheet: str
    row: int
    column: str
    code: str
    args: Mapping[str, str | int] = field(default_factory=dict)

    def say(self, language: str) -> dict[str, Any]:
        """Row, column, what is wrong and how to put it right, in *language*."""
        sheet = SHEETS.get(self.sheet)
        column = next((item for item in sheet.all_columns if item.name == self.column), None) if sheet else None
        choices = [translate(language, column.label(code)) for code in column.choices] if column else []
        args = {"choices": ", ".join(choices), **self.args}
        return {
            "sheet": translate(language, f"asset_sheet_{self.sheet}") if sheet else "",
            "row": self.row,
            "column": translate(language, heading(self.column)) if column else self.column,
            "code": self.code,
            "what": translate(language, f"asset_wrong_{self.code}").format_map(args),
            "remedy": translate(language, f"asset_remedy_{self.code}").format_map(args),
        }


@dataclass(frozen=True)
class Row:
    """One row; *values* holds the columns that the file has. A column that it lacks stays as it is on record."""

    sheet: Sheet
    number: int
    values: Mapping[str, Value]

    @property
    def site(self) -> str:
        return str(self.values["site"])

    @property
    def key(self) -> tuple[str, ...]:
        return tuple(str(self.values[name]) for name in self.sheet.key)


@dataclass
class Rows:
    """What a file holds, and what is wrong with it."""

    rows: list[Row] = field(default_factory=list)
    errors: list[RowError] = field(default_factory=list)


def read_rows(tables: Iterable[RawTable]) -> Rows:
    """The rows of all tables, and all errors up to ERRORS_MAX."""
    found = Rows()
    for table in tables:
        sheet = _sheet_of(table)
        if sheet is None:
            found.errors.append(RowError("", 1, table.name, "sheet_unknown"))
            continue
        columns = _columns_of(sheet, table, found)
        if columns is not None:
            _read_table(sheet, columns, table, found)
    if not found.rows and not found.errors:
        found.errors.append(RowError("", 1, "", "file_empty"))
    _find_doubles(found)
    del found.errors[ERRORS_MAX:]
    return found


def row_of(sheet: Sheet, texts: Mapping[str, str], number: int = 1) -> Rows:
    """The one row of a form or of a program."""
    cells = tuple(RawCell(text) for text in texts.values())
    return read_rows([RawTable(sheet.name, tuple(texts), ((number, cells),))])


def dump(rows: Iterable[Row]) -> list[list[Any]]:
    """Rows as JSON; `load` reads them."""
    return [
        [row.sheet.name, row.number, {name: _plain(value) for name, value in row.values.items()}] for row in rows
    ]  # fmt: skip


def load(rows: Iterable[list[Any]]) -> list[Row]:
    """Rows that `dump` wrote."""
    found = []
    for name, number, texts in rows:
        columns = {column.name: column for column in SHEETS[name].all_columns}
        found.append(Row(SHEETS[name], number, {key: columns[key].read(text) for key, text in texts.items()}))
    return found


def _plain(value: Value) -> str:
    return value.isoformat() if isinstance(value, date) else value or ""


def _sheet_of(table: RawTable) -> Sheet | None:
    """By the table's name; else the one whose columns hold the most of the headings, its required ones included."""
    name = table.name.strip().casefold()
    for sheet in SHEETS.values():
        names = {translate(language, f"asset_sheet_{sheet.name}").casefold() for language in LANGUAGES}
        if name in {sheet.name, *names}:
            return sheet
    headings = {item.casefold() for item in table.headings}
    fits = {
        sheet.name: sum(bool(sheet.titles(column) & headings) for column in sheet.all_columns)
        for sheet in SHEETS.values()
        if all(sheet.titles(column) & headings for column in sheet.all_columns if column.required)
    }
    return SHEETS[max(fits, key=lambda key: fits[key])] if fits else None


def _columns_of(sheet: Sheet, table: RawTable, found: Rows) -> list[Column] | None:
    """The column of each heading, or None when one is unknown, stands there twice or is missing."""
    columns: list[Column] = []
    errors: list[RowError] = []
    for title in table.headings:
        column = next((item for item in sheet.all_columns if title.casefold() in sheet.titles(item)), None)
        if column is None or column in columns:
            errors.append(RowError(sheet.name, 1, title[:40], "column_twice" if column else "column_unknown"))
        else:
            columns.append(column)
    missing = [item for item in sheet.all_columns if item.required and item not in columns]
    if not errors:
        errors = [RowError(sheet.name, 1, item.name, "column_missing") for item in missing]
    found.errors += errors
    return None if errors else columns


def _read_table(sheet: Sheet, columns: list[Column], table: RawTable, found: Rows) -> None:
    for number, cells in table.rows:
        values: dict[str, Value] = {}
        errors = [RowError(sheet.name, number, "", "too_many_cells") for cell in cells[len(columns) :] if cell.text]
        for index, column in enumerate(columns):
            cell = cells[index] if index < len(cells) else RawCell("")
            try:
                if cell.wrong:
                    raise CellRefused(cell.wrong, max=column.characters_max)
                values[column.name] = column.read(cell.text)
                if column.kind == "zone" and cell.text:
                    check_zone(cell.text)
            except CellRefused as error:
                errors.append(RowError(sheet.name, number, column.name, error.code, error.args_))
        errors += _out_of_order(sheet, number, values)
        if errors:
            found.errors += errors[: ERRORS_MAX + 1]
        else:
            found.rows.append(Row(sheet, number, values))
        if len(found.errors) > ERRORS_MAX:
            return


def check_zone(name: str) -> None:
    """Raises CellRefused unless there is a time zone of that name."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CellRefused("zone") from None


def _out_of_order(sheet: Sheet, number: int, values: Mapping[str, Value]) -> Iterator[RowError]:
    for first, last in PAIRS:
        begin, end = values.get(first), values.get(last)
        if isinstance(begin, date) and isinstance(end, date) and end < begin:
            yield RowError(sheet.name, number, last, "order")


def _find_doubles(found: Rows) -> None:
    seen: dict[tuple[str, ...], int] = {}
    for row in found.rows:
        known = (row.sheet.name, row.site, *row.key)
        if known in seen:
            column = row.sheet.key[-1] if row.sheet.key else "site"
            found.errors.append(RowError(row.sheet.name, row.number, column, "twice", {"row": seen[known]}))
        seen.setdefault(known, row.number)
