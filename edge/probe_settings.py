"""From the words of a configuration to the settings of one probe, for the box and for `brightline-edge replay`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import Any

from edge.dated_limits import SpanBuilder
from edge.defrost_times import ScheduleError, read_schedule
from edge.replay_schema import PLAIN_FIELDS, LimitEntry, SensorEntry
from telemetry.coldchain.limit_set import LimitError
from telemetry.coldchain.schedule import DefrostSchedule
from telemetry.coldchain.settings import SensorSettings

Place = tuple[str | int, ...]


@dataclass
class ProbeSettings:
    """``changes`` are the site's changes to limit sets; ``problems`` are places below the entry, each with what is
    wrong there. With problems the settings are not to be used.
    """

    settings: SensorSettings = field(default_factory=SensorSettings)
    changes: list[str] = field(default_factory=list)
    problems: list[tuple[Place, str]] = field(default_factory=list)


def build_settings(entry: SensorEntry, base: SensorEntry, zone: tzinfo, folder: Path) -> ProbeSettings:
    """The settings of one probe: what *entry* does not name comes from *base*. Limit sets are looked up in *folder*."""
    built = ProbeSettings()
    values: dict[str, Any] = {}
    for name in PLAIN_FIELDS:
        value = getattr(entry, name)
        values[name] = value if value is not None else getattr(base, name)
    has_own = entry.limits is not None or entry.limit_set or entry.model_fields_set & {"high_c", "low_c"}
    builder = _spans(entry if has_own else base, zone, folder, built)
    if values["danger_zone"] is None:
        values["danger_zone"] = builder.danger_zone
    schedule = entry.defrost_schedule if entry.defrost_schedule is not None else base.defrost_schedule
    try:
        windows = read_schedule(schedule, zone)
    except ScheduleError as error:
        built.problems.append((("defrost_schedule",), str(error)))
        windows = DefrostSchedule()
    given = {name: value for name, value in values.items() if value is not None}
    built.settings = SensorSettings(limits=builder.spans(), schedule=windows, **given)
    return built


def _spans(entry: SensorEntry, zone: tzinfo, folder: Path, built: ProbeSettings) -> SpanBuilder:
    parts: list[tuple[Place, LimitEntry]] = []
    if entry.limit_set or entry.model_fields_set & {"high_c", "low_c"}:
        own = {key: getattr(entry, key) for key in ("high_c", "low_c") if key in entry.model_fields_set}
        parts.append(((), LimitEntry(limit_set=entry.limit_set, loosen_reason=entry.loosen_reason, **own)))
    if entry.limits is not None:
        parts += [(("limits", index), part) for index, part in enumerate(entry.limits)]
    builder = SpanBuilder(zone, folder)
    for place, part in parts:
        try:
            builder.add(part)
        except LimitError as error:
            built.problems.append((place, str(error)))
    built.changes += builder.site_changes
    return builder
