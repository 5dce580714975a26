"""`brightline-edge replay`: judge a file of readings as the box would have, one JSON object per finding.

The same file and configuration give the same output, to the byte: there is no clock and no chance in it. ``plain`` is
a bare threshold without delay, hysteresis or memory, for comparison with other systems.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TextIO, cast

from edge.config import ConfigurationError
from edge.defrost_times import in_utc
from edge.replay_config import ReplayConfig, load_replay
from edge.replay_table import Table, TableError, read_header, read_table
from telemetry.coldchain.contacts import ContactKind
from telemetry.coldchain.engine import Engine
from telemetry.coldchain.finding import Finding, Side
from telemetry.coldchain.settings import SensorSettings

Rules = Literal["plain", "smart"]
NOT_OUTPUT = frozenset({"excursion_updated"})
NO_TEMPERATURE = re.compile(r"humid|(^|_)rh($|_)|_pct$|percent|door|power|battery|defrost|status|voltage")


def replay(readings: Path, config_path: Path, rules: Rules, as_json: bool, out: TextIO | None = None) -> int:
    """Run the command; 0 done, 1 the readings cannot be read, 2 the configuration is wrong."""
    out = out or sys.stdout
    try:
        config = load_replay(config_path)
        names = read_header(readings)
        sensors = pick_sensors(config, names, readings)
        contacts = {name: kind for name, kind in config.contacts.items() if name in names}
        table = read_table(readings, [*sensors, *contacts], config.zone)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except TableError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for change in config.changes:
        sys.stderr.write(f"note: {change}\n")
    twins = tuple(pair for pair in config.twins if set(pair) <= set(sensors))
    engine = Engine(sensors, twins, config.zone)
    findings = judge_plain(table, sensors) if rules == "plain" else judge_smart(table, engine, contacts)
    write = _write_json if as_json else _write_text
    for finding in sorted(findings, key=lambda finding: finding.at_s):
        write(out, finding)
    return 0


def pick_sensors(config: ReplayConfig, names: list[str], readings: Path) -> dict[str, SensorSettings]:
    """The probes to judge: those configured, or all columns when only defaults are given. Tells on stderr what is
    left out.
    """
    if config.sensors is None:
        if not config.defaults.limits:
            raise ConfigurationError(f"no limits for any column of {readings}: name them under sensors or defaults")
        others = [name for name in names if name in config.contacts or NO_TEMPERATURE.search(name.lower())]
        if others:
            sys.stderr.write(f"note: left out, not temperatures by their names: {', '.join(others)}\n")
        return {name: config.defaults for name in names if name not in others}
    picked = {name: config.sensors[name] for name in names if name in config.sensors}
    if not picked:
        raise ConfigurationError(
            f"{readings}:1: no column is configured; columns: {', '.join(names)}; sensors: {', '.join(config.sensors)}"
        )
    ignored = [name for name in names if name not in config.sensors and name not in config.contacts]
    absent = [name for name in config.sensors if name not in names]
    for label, group in (("columns that no sensor names", ignored), ("sensors without a column", absent)):
        if group:
            sys.stderr.write(f"note: left out, {label}: {', '.join(group)}\n")
    return picked


def judge_smart(table: Table, engine: Engine, contacts: dict[str, str]) -> Iterator[Finding]:
    """The full judgement, row by row."""
    feed, tick = engine.feed, engine.tick_probe
    contact_columns = [(name, cast(ContactKind, kind), table.columns[name]) for name, kind in contacts.items()]
    columns = [(name, table.columns[name]) for name in engine.probes]
    for index, at_s in enumerate(table.times_s):
        for name, kind, column in contact_columns:
            value = column[index]
            if value == value:  # noqa: PLR0124 - not nan
                yield from engine.feed_contact(kind, at_s, value, name)
        for name, column in columns:
            value = column[index]
            found = feed(name, at_s, value) if value == value else tick(name, at_s)  # noqa: PLR0124 - nan is a gap
            if found:
                yield from found


def judge_plain(table: Table, sensors: dict[str, SensorSettings]) -> Iterator[Finding]:
    """A bare threshold: outside opens, inside closes, at the reading itself."""
    for name, settings in sensors.items():
        yield from _plain(name, settings, zip(table.times_s, table.columns[name], strict=True))


def _plain(name: str, settings: SensorSettings, readings: Iterable[tuple[float, float]]) -> Iterator[Finding]:
    side: Side | None = None
    until_s, high_c, low_c, limit_c = float("-inf"), float("inf"), float("-inf"), 0.0
    for at_s, value_c in readings:
        if value_c != value_c:  # noqa: PLR0124 - nan is a gap
            continue
        if at_s >= until_s:
            span, until_s = settings.span_at(at_s)
            high_c = float("inf") if span.high_c is None else span.high_c
            low_c = float("-inf") if span.low_c is None else span.low_c
        now: Side | None = "high" if value_c > high_c else "low" if value_c < low_c else None
        if now == side:
            continue
        if side is not None:
            current_c = high_c if side == "high" else low_c
            limit_c = current_c if abs(current_c) != float("inf") else limit_c
            yield Finding("excursion_closed", "plain", at_s, name, side, value_c, limit_c, "back inside")
        if now is not None:
            limit_c = high_c if now == "high" else low_c
            why = f"{value_c:g} °C is {'above' if now == 'high' else 'below'} {limit_c:g} °C"
            yield Finding("excursion_opened", "plain", at_s, name, now, value_c, limit_c, why)
        side = now


def as_record(finding: Finding) -> dict[str, Any]:
    """The finding as it is written out."""
    record: dict[str, Any] = {
        "at": in_utc(finding.at_s),
        "sensor": finding.sensor,
        "event": finding.kind,
        "limit_c": finding.limit_c,
        "value_c": finding.value_c,
        "side": finding.side,
        "reason": finding.reason,
    }
    if finding.forecast_at_s is not None:
        record["forecast_at"] = in_utc(round(finding.forecast_at_s))
    return record


def _write_json(out: TextIO, finding: Finding) -> None:
    if finding.kind not in NOT_OUTPUT:
        out.write(json.dumps(as_record(finding), ensure_ascii=False) + "\n")


def _write_text(out: TextIO, finding: Finding) -> None:
    if finding.kind not in NOT_OUTPUT:
        out.write(f"{in_utc(finding.at_s)}  {finding.sensor}  {finding.kind}  {finding.reason}\n")
