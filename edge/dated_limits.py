"""Limits over time: dated entries, limit sets by name, and what the site changed in them."""

from __future__ import annotations

from datetime import tzinfo
from pathlib import Path

import yaml
from pydantic import ValidationError

from edge.defrost_times import ScheduleError, moment_s
from edge.replay_schema import LimitEntry
from telemetry.coldchain.limit_set import LimitError, LimitSet, adapt
from telemetry.coldchain.settings import LimitSpan

LIMITS_FOLDER = Path(__file__).resolve().parents[1] / "configs" / "limits"


class SpanBuilder:
    """Builds dated limits: each entry changes what it names and leaves the rest in force."""

    def __init__(self, zone: tzinfo, folder: Path) -> None:
        self._zone, self._folder = zone, folder
        self.site_changes: list[str] = []
        self._changes: list[tuple[float, dict[str, float | None]]] = []
        self.danger_zone: bool | None = None

    def add(self, part: LimitEntry) -> None:
        """Take one entry; raises LimitError when it cannot be."""
        try:
            since_s = float("-inf") if part.since is None else moment_s(part.since, self._zone)
            until_s = None if part.until is None else moment_s(part.until, self._zone)
        except ScheduleError as error:
            raise LimitError(str(error)) from error
        named = part.model_fields_set & {"high_c", "low_c"}
        values: dict[str, float | None] = {key: getattr(part, key) for key in named}
        if part.limit_set is not None:
            values = self._from_set(part, part.limit_set)
        high_c, low_c = values.get("high_c"), values.get("low_c")
        if high_c is not None and low_c is not None and low_c >= high_c:
            raise LimitError("low_c must be below high_c")
        self._changes.append((since_s, values))
        if until_s is not None:
            self._changes.append((until_s, dict.fromkeys(values)))

    def _from_set(self, part: LimitEntry, name: str) -> dict[str, float | None]:
        limit_set = load_limit_set(name, self._folder)
        site = adapt(limit_set, part.high_c, part.low_c, part.loosen_reason)
        self.danger_zone = limit_set.danger_zone or None
        self.site_changes += site.changes
        return {"high_c": site.high_c, "low_c": site.low_c}

    def spans(self) -> tuple[LimitSpan, ...]:
        """The limits in order of time; entries of the same time are taken together."""
        now: dict[str, float | None] = {}
        spans: list[LimitSpan] = []
        for since_s, values in sorted(self._changes, key=lambda change: change[0]):
            now |= values
            if spans and spans[-1].from_s == since_s:
                spans.pop()
            spans.append(LimitSpan(since_s, now.get("high_c"), now.get("low_c")))
        return tuple(spans)


def load_limit_set(name: str, folder: Path) -> LimitSet:
    """A set by its name, from ``limits/`` beside the configuration or from those that come with Brightline."""
    if not name.replace("-", "").isalnum() or not name.isascii():
        raise LimitError(f"limit set {name!r}: a name has only letters, digits and dashes")
    for place in (folder / "limits", LIMITS_FOLDER):
        path = place / f"{name}.yaml"
        if path.is_file():
            try:
                return LimitSet.model_validate(yaml.safe_load(path.read_text("utf-8")))
            except (ValidationError, yaml.YAMLError) as error:
                raise LimitError(f"limit set {name}: {error}") from error
    known = ", ".join(sorted(path.stem for path in LIMITS_FOLDER.glob("*.yaml")))
    raise LimitError(f"no limit set {name!r}; there are {known}")
