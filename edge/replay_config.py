"""The configuration of `brightline-edge replay`: which columns are probes, and the limits of each over time.

Written to be typed by hand: one block per sensor, a block of defaults, dated limits; a limit not named in a later
entry stays in force, ``null`` ends it. Problems are reported as ``file:line: path: what is wrong``, all at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, get_args
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from edge.config import BoxSection, EdgeConfig
from edge.config_file import ConfigurationError, Path_, problem_at, read_yaml, sentence_of
from edge.probe_settings import build_settings
from edge.replay_schema import SENSOR_NAMES, SINCE_NAMES, Kind, SensorEntry
from telemetry.coldchain.settings import SensorSettings

BOX_KEYS = frozenset(EdgeConfig.model_fields) - {"sensors", "limits", "cold_chain"}
SECTION_KEYS = frozenset({"defaults", "sensors", "limits", "cold_chain", "twins", "time_zone"})
OTHER_SECTIONS = {"assets": "sensors", "default": "defaults", "timezone": "time_zone"}
NAME_KEYS = ("id", "name", "column")


@dataclass(frozen=True)
class ReplayConfig:
    """``sensors`` is None when the defaults hold for every column; ``changes`` are the sites' changes to limit sets."""

    defaults: SensorSettings
    sensors: dict[str, SensorSettings] | None
    contacts: Mapping[str, str] = field(default_factory=dict)
    twins: tuple[tuple[str, str], ...] = ()
    zone: tzinfo = UTC
    changes: tuple[str, ...] = ()


def load_replay(path: Path) -> ReplayConfig:
    """Read and check the file; raises ConfigurationError."""
    data, lines = _read(path)
    return _Reader(path, data, lines).config()


def _read(path: Path) -> tuple[dict[str, Any], dict[Path_, int]]:
    start = "needs a `sensors:` or `defaults:` block; see configs/replay-warehouse.yaml"
    data, lines = read_yaml(path, start)
    if not isinstance(data, dict):
        raise ConfigurationError(f"{path}:1: {start}")
    ours = {_ours(place): line for place, line in lines.items()}
    return {OTHER_SECTIONS.get(str(key), str(key)): value for key, value in data.items()}, ours


def _ours(place: Path_) -> Path_:
    return (OTHER_SECTIONS.get(str(place[0]), place[0]), *place[1:]) if place else place


class _Reader:
    """One reading of one file; collects all problems before it raises."""

    def __init__(self, path: Path, data: dict[str, Any], lines: dict[Path_, int]) -> None:
        self.path, self.data, self.lines = path, data, lines
        self.problems: list[str] = []
        self.changes: list[str] = []
        self.zone: tzinfo = UTC

    def config(self) -> ReplayConfig:
        for key in self.data:
            if key not in SECTION_KEYS | BOX_KEYS:
                self._wrong((key,), "unknown key; known are defaults, sensors, limits, twins, time_zone")
        self.zone = self._zone()
        base = self._entry(self.data.get("defaults"), ("defaults",))
        defaults = self._settings("defaults", SensorEntry(), base, ("defaults",))
        entries, places = self._sensors()
        self._merge_limits(entries, places)
        self._merge_cold_chain(entries, places)
        parsed = {name: self._entry(raw, places[name]) for name, raw in entries.items()}
        sensors = {
            name: self._settings(name, entry, base, places[name])
            for name, entry in parsed.items()
            if entry.kind == "temperature"
        }
        contacts = {name: entry.kind for name, entry in parsed.items() if entry.kind not in ("temperature", "ignore")}
        twins = self._twins(parsed, sensors, places)
        if self.problems:
            raise ConfigurationError("\n".join(self.problems))
        return ReplayConfig(defaults, sensors or None, contacts, twins, self.zone, tuple(self.changes))

    def _wrong(self, place: Path_, text: str) -> None:
        self.problems.append(problem_at(self.path, self.lines, place, text))

    def _zone(self) -> tzinfo:
        box = self.data.get("box")
        default = BoxSection.model_fields["time_zone"].default
        name = self.data.get("time_zone", box.get("time_zone", default) if isinstance(box, dict) else None)
        if name is None:
            return UTC
        try:
            return ZoneInfo(str(name))
        except (KeyError, ValueError, OSError):
            self._wrong(("time_zone",), f"{name!r} is not a time zone such as Asia/Shanghai")
            return UTC

    def _sensors(self) -> tuple[dict[str, Any], dict[str, Path_]]:
        raw = self.data.get("sensors") or {}
        if isinstance(raw, dict):
            return {str(name): value for name, value in raw.items()}, {
                str(name): ("sensors", str(name)) for name in raw
            }
        entries: dict[str, Any] = {}
        places: dict[str, Path_] = {}
        for index, item in enumerate(raw if isinstance(raw, list) else []):
            entry = {item: None} if isinstance(item, str) else item
            name = entry.get("id", entry.get("name", entry.get("column"))) if isinstance(entry, dict) else None
            if isinstance(item, str):
                name, entry = item, {}
            if name is None or not isinstance(entry, dict):
                self._wrong(("sensors", index), "needs an id: the name of its column")
                continue
            known = {key: value for key, value in entry.items() if key in SENSOR_NAMES}
            quantity = entry.get("quantity", "temperature")
            known["kind"] = quantity if quantity in get_args(Kind) else "ignore"
            entries[str(name)] = known if "type" in entry else {k: v for k, v in entry.items() if k not in NAME_KEYS}
            places[str(name)] = ("sensors", index)
        return entries, places

    def _merge_limits(self, entries: dict[str, Any], places: dict[str, Path_]) -> None:
        """A top-level ``limits:`` block, by sensor or as a list with ``sensor:``, is the same as limits in the
        sensors.
        """
        raw = self.data.get("limits") or []
        pairs: list[tuple[str, Any, Path_]] = []
        if isinstance(raw, dict):
            pairs = [(str(name), value, ("limits", str(name))) for name, value in raw.items()]
        else:
            for index, item in enumerate(raw):
                name = item.get("sensor") if isinstance(item, dict) else None
                if name is None:
                    self._wrong(("limits", index), "needs a sensor: the name of its column")
                    continue
                pairs.append(
                    (str(name), {key: value for key, value in item.items() if key != "sensor"}, ("limits", index))
                )
        for name, value, place in pairs:
            entry = dict(entries.get(name) or {})
            limits = entry.get("limits") or []
            for part in value if isinstance(value, list) else [value]:
                own = dict(part) if isinstance(part, dict) else {}
                for key in ("delay_s", "hysteresis_c"):
                    if key in own:
                        entry[key] = own.pop(key)
                own.pop("severity", None)
                limits = [*(limits if isinstance(limits, list) else [limits]), own]
            entry["limits"] = limits
            entries[name] = entry
            places.setdefault(name, place)

    def _merge_cold_chain(self, entries: dict[str, Any], places: dict[str, Path_]) -> None:
        """What the box's file says of a probe under ``cold_chain:`` is said of its column here."""
        raw = self.data.get("cold_chain") or {}
        for name, value in raw.items() if isinstance(raw, dict) else ():
            entries[str(name)] = {**(entries.get(str(name)) or {}), **(value if isinstance(value, dict) else {})}
            places[str(name)] = ("cold_chain", str(name))

    def _entry(self, raw: Any, place: Path_) -> SensorEntry:
        if isinstance(raw, list):
            raw = {"limits": raw}
        if isinstance(raw, dict) and set(raw) & SINCE_NAMES:
            raw = {"limits": [raw]}
        try:
            return SensorEntry.model_validate(raw or {})
        except ValidationError as error:
            for item in error.errors():
                self._wrong((*place, *item["loc"]), sentence_of(item, raw))
            return SensorEntry()

    def _settings(self, name: str, entry: SensorEntry, base: SensorEntry, place: Path_) -> SensorSettings:
        built = build_settings(entry, base, self.zone, self.path.parent)
        for where, text in built.problems:
            self._wrong((*place, *where), text)
        self.changes += [f"{name}: {change}" for change in built.changes]
        return built.settings

    def _twins(
        self, parsed: dict[str, SensorEntry], sensors: dict[str, SensorSettings], places: dict[str, Path_]
    ) -> tuple[tuple[str, str], ...]:
        pairs: list[tuple[tuple[str, ...], Path_]] = []
        for index, item in enumerate(self.data.get("twins") or []):
            pairs.append((tuple(map(str, item)) if isinstance(item, list) else (), ("twins", index)))
        pairs += [((name, entry.twin), places[name]) for name, entry in parsed.items() if entry.twin is not None]
        twins: list[tuple[str, str]] = []
        for pair, place in pairs:
            if len(pair) != 2 or pair[0] == pair[1] or not set(pair) <= set(sensors):
                self._wrong(place, "twins are two different sensors of this file")
            elif (pair[0], pair[1]) not in twins and (pair[1], pair[0]) not in twins:
                twins.append((pair[0], pair[1]))
        return tuple(twins)
