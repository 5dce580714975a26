"""A wide CSV of temperatures as columns of floats, in order of time: the first column is time, each other one probe.

Blank cells are gaps (nan here). Rows may stand in any order; rows of the same time are put in an order of their own,
so that the order in the file never matters. Times: ISO 8601 with or without zone, or seconds (or milliseconds) since
1970.
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from math import inf, isfinite, nan
from pathlib import Path

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - for naive times that are meant in UTC
MILLISECONDS_FROM = 1e11
GAPS = frozenset({"", "nan", "na", "n/a", "null", "none", "-", "--"})
COLUMNS_MAX = 2_000
ROWS_MAX = 20_000_000


class TableError(Exception):
    """What is wrong with the file, as ``file:line: what``."""


@dataclass
class Table:
    """``times_s`` ascending; ``columns[name][i]`` is the reading at ``times_s[i]`` or nan."""

    times_s: array[float]
    columns: dict[str, array[float]]

    def __len__(self) -> int:
        return len(self.times_s)


class _Times:
    """Parses the first column; a second pass through the same hour of a zone's clock change is taken as the later
    one.
    """

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._utc = zone is UTC
        self._last_s = -inf

    def parse(self, text: str) -> float:
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            number = float(text)
            if not isfinite(number):
                raise
            return number / 1000 if abs(number) >= MILLISECONDS_FROM else number
        if moment.tzinfo is not None:
            return (moment - EPOCH).total_seconds()
        if self._utc:
            return (moment - NAIVE_EPOCH).total_seconds()
        at_s = moment.replace(tzinfo=self._zone).timestamp()
        later_s = moment.replace(tzinfo=self._zone, fold=1).timestamp()
        if later_s > at_s and at_s <= self._last_s:
            at_s = later_s
        self._last_s = at_s
        return at_s


def read_header(path: Path) -> list[str]:
    """The names of the probes' columns; raises TableError."""
    with _opened(path) as rows:
        header = next(rows, None)
    if header is None or len(header) < 2:
        raise TableError(f"{path}:1: needs a header: time, then one column per sensor")
    names = [name.strip() for name in header[1:]]
    if len(names) > COLUMNS_MAX:
        raise TableError(f"{path}:1: more than {COLUMNS_MAX} columns")
    if len(set(names)) != len(names):
        raise TableError(f"{path}:1: two columns have the same name")
    return names


def read_table(path: Path, wanted: Sequence[str], zone: tzinfo = UTC) -> Table:
    """The wanted columns; naive times are meant in *zone*. Raises TableError with the line that cannot be read."""
    names = read_header(path)
    picks = [names.index(name) + 1 for name in wanted]
    times, values = array("d"), [array("d") for _ in wanted]
    pairs = list(zip(picks, values, strict=True))
    parse = _Times(zone).parse
    with _opened(path) as rows:
        next(rows)
        for row in rows:
            if not row:
                continue
            try:
                times.append(parse(row[0]))
                for pick, column in pairs:
                    cell = row[pick] if pick < len(row) else ""
                    column.append(float(cell) if cell else nan)
            except ValueError:
                _repair(path, rows.line_num, row, times, pairs)
            if len(times) > ROWS_MAX:
                raise TableError(f"{path}:{rows.line_num}: more than {ROWS_MAX} rows")
    return Table(*_sorted(times, values, wanted))


def _repair(path: Path, line: int, row: list[str], times: array[float], pairs: list[tuple[int, array[float]]]) -> None:
    """A row with words for gaps; a row that cannot be read is an error, never left out in silence."""
    if len(times) == len(pairs[0][1]) and all(len(column) == len(times) for _, column in pairs):
        raise TableError(f"{path}:{line}: {row[0]!r} is not a time")
    for pick, column in pairs:
        if len(column) == len(times):
            continue
        cell = row[pick].strip() if pick < len(row) else ""
        try:
            column.append(nan if cell.lower() in GAPS else float(cell))
        except ValueError as error:
            raise TableError(f"{path}:{line}: {cell!r} is neither a number nor blank") from error


def _sorted(
    times: array[float], values: list[array[float]], wanted: Sequence[str]
) -> tuple[array[float], dict[str, array[float]]]:
    ascending = all(times[index] < times[index + 1] for index in range(len(times) - 1))
    if not ascending:

        def place(index: int) -> tuple[float, ...]:
            row = (column[index] for column in values)
            return times[index], *(value if value == value else -inf for value in row)  # noqa: PLR0124 - nan

        order = sorted(range(len(times)), key=place)
        times = array("d", (times[index] for index in order))
        values = [array("d", (column[index] for index in order)) for column in values]
    return times, dict(zip(wanted, values, strict=True))


class _Rows:
    """An open CSV file that also knows its line."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("r", encoding="utf-8-sig", newline="")
        except OSError as error:
            raise TableError(f"{path}:1: cannot be read ({error.strerror})") from error
        self._path = path
        self._reader = csv.reader(self._file)

    def __enter__(self) -> _Rows:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        try:
            return next(self._reader)
        except (csv.Error, UnicodeDecodeError) as error:
            raise TableError(f"{self._path}:{self.line_num + 1}: {error}") from error

    @property
    def line_num(self) -> int:
        return self._reader.line_num


def _opened(path: Path) -> _Rows:
    return _Rows(path)
