"""The real warehouse: its readings, its own event log, and the limits that the events date.

Two probes share one name in the log (freezer_1 there is freezer_1 and freezer_3 of the readings, freezer_2 is 2 and
4): an event belongs to the probe whose reading it quotes. Nothing of the data is part of the repository.
"""

from __future__ import annotations

import csv
import os
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from telemetry.coldchain.settings import LimitSpan

STEP_S = 900.0
RULE_S = 2_700.0  # the log's alarms wait so long from July on
SHARED = Path(os.environ.get("BRIGHTLINE_SHARED", Path(__file__).resolve().parents[4] / "shared"))
FOLDER = SHARED / "data" / "coldchain"
TWO_IN_ONE = {"freezer_1": ("freezer_1", "freezer_3"), "freezer_2": ("freezer_2", "freezer_4")}
Series = list[tuple[float, float]]


def needs(name: str) -> Path:
    """The path of a data file; skips the test where the data are not at hand."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"real data {name} not found; set BRIGHTLINE_SHARED to the folder that holds data/coldchain")
    return path


def seconds(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def read_wide(path: Path) -> dict[str, Series]:
    """Each column's readings in order of time."""
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    ordered = sorted((seconds(row[0]), [float(cell) for cell in row[1:]]) for row in rows)
    return {name: [(at_s, values[index]) for at_s, values in ordered] for index, name in enumerate(header[1:])}


@dataclass(frozen=True)
class Logged:
    """One event of the commercial system. ``own`` is False when the value belongs to no reading of the probe."""

    at_s: float
    probe: str
    kind: str  # exceed, deficit, recovery
    limit_c: float
    value_c: float
    own: bool


def read_log(path: Path, series: dict[str, Series]) -> list[Logged]:
    values = {name: dict(readings) for name, readings in series.items()}
    events = []
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            at_s, value_c = seconds(row["date"]), float(row["value_c"])
            name = row["sensor"].replace("cooler", "cooling")
            probe, own = _owner(values, name, at_s, value_c)
            events.append(Logged(at_s, probe, row["event"], float(row["limit_c"]), value_c, own))
    return events


def _owner(values: dict[str, dict[float, float]], name: str, at_s: float, value_c: float) -> tuple[str, bool]:
    candidates = TWO_IN_ONE.get(name, (name,))
    for probe in candidates:
        reading_c = values[probe].get(at_s)
        if reading_c is not None and abs(reading_c - value_c) < 0.05:
            return probe, True
    if at_s % STEP_S:  # between two readings: the probe whose next reading is nearer
        later_s = (at_s // STEP_S + 1) * STEP_S
        return min(candidates, key=lambda probe: abs(values[probe].get(later_s, 1e9) - value_c)), True
    return name, False


def dated_limits(events: list[Logged], series: dict[str, Series]) -> dict[str, tuple[LimitSpan, ...]]:
    """The limits in force as far as the events say, alarms and recoveries alike.

    A limit that an alarm names for the first time held already while the readings were inside it: it is dated back so
    far, but not before the event that named the one before it.
    """
    return {
        probe: _spans(_changes([e for e in events if e.probe == probe and e.own], series[probe])) for probe in series
    }


def _changes(events: list[Logged], readings: Series) -> list[tuple[float, str, float]]:
    changes: list[tuple[float, str, float]] = []
    last: dict[str, tuple[float, float]] = {}
    open_kind: str | None = None
    for event in events:
        kind = open_kind if event.kind == "recovery" else event.kind
        open_kind = None if event.kind == "recovery" else event.kind
        if kind is None:
            continue
        known = last.get(kind)
        if known is None or known[1] != event.limit_c:
            after_s = readings[0][0] - 1 if known is None else known[0]
            since_s = event.at_s if event.kind == "recovery" else _since(readings, after_s, event)
            changes.append((since_s, kind, event.limit_c))
        last[kind] = (event.at_s, event.limit_c)
    return changes


def _since(readings: Series, after_s: float, event: Logged) -> float:
    """Back over the run outside that the alarm waited for, then over the readings inside the new limit."""
    sign = 1 if event.kind == "exceed" else -1
    index = bisect_left(readings, (event.at_s, -1e9))

    def outside(at: int) -> bool:
        return sign * (readings[at][1] - event.limit_c) > 0

    while index > 0 and outside(index - 1) and readings[index - 1][0] >= max(event.at_s - RULE_S, after_s):
        index -= 1
    while index > 0 and not outside(index - 1) and readings[index - 1][0] > after_s:
        index -= 1
    return min(readings[index][0], event.at_s) if index < len(readings) else event.at_s


def _spans(changes: list[tuple[float, str, float]]) -> tuple[LimitSpan, ...]:
    now: dict[str, float | None] = {"exceed": None, "deficit": None}
    spans: list[LimitSpan] = []
    for since_s, kind, limit_c in sorted(changes):
        now[kind] = limit_c
        spans.append(LimitSpan(since_s, now["exceed"], now["deficit"]))
    return tuple(spans)
