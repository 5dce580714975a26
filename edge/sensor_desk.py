"""The desk of one sensor: its plain limits and its health, judged reading by reading, with a state that can go back.

No clock and no I/O; what has to be saved is given out, so that it is committed together with the reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from edge.clock import ClockStep
from edge.config_sensors import Sensor
from edge.rules import ExcursionState, SensorHealth, ThresholdLimit, ThresholdRule
from edge.status_topics import OpenFlags
from telemetry.messages import Event, Reading


class SensorDesk:
    """Judges one sensor's readings and keeps the state of its rules."""

    def __init__(self, sensor: Sensor, limits: Sequence[ThresholdLimit], saved: Mapping[str, str]) -> None:
        self._sensor = sensor
        self._health = SensorHealth.model_validate_json(saved.get(self._health_key, "{}"))
        self._rules = {}
        self._told: tuple[object, dict[str, str]] = (None, {})
        self._unsynced: set[str] = {key for key in saved if key.startswith(f"unsynced/rule/{sensor.id}/")}
        for number, limit in enumerate(limits):
            key = f"rule/{sensor.id}/{number}"
            self._rules[key] = ThresholdRule(limit, ExcursionState.model_validate_json(saved.get(key, "{}")))

    @property
    def _health_key(self) -> str:
        return f"health/{self._sensor.id}"

    def open_flags(self) -> OpenFlags:
        """What is open now: an ``alarm`` of a limit, a ``fault`` of the sensor."""
        is_open: OpenFlags = {(self._sensor.id, "alarm") for rule in self._rules.values() if rule.state.incident_id}
        return is_open | ({(self._sensor.id, "fault")} if self._health.incident_id else set())

    def state(self) -> Mapping[str, str]:
        """What has to be saved, by key; made anew only when something changed, which is seldom."""
        now = [dict(self._health), *(dict(rule.state) for rule in self._rules.values())]
        if now != self._told[0]:
            rules = {key: rule.state.model_dump_json() for key, rule in self._rules.items()}
            self._told = now, {self._health_key: self._health.model_dump_json(), **rules}
        return self._told[1]

    def go_back(self, state: Mapping[str, str]) -> None:
        """Forget what was judged since ``state()`` gave *state*: it did not reach the disk, so it must happen again."""
        self._health = SensorHealth.model_validate_json(state[self._health_key])
        for key, rule in self._rules.items():
            rule.state = ExcursionState.model_validate_json(state[key])

    def feed(self, reading: Reading) -> tuple[list[Event], dict[str, str | None]]:
        """The events that this reading gives rise to, and the marks of timers that began by a wrong clock."""
        since = {key: rule.state.since for key, rule in self._rules.items()}
        events = self._health.feed(reading, self._sensor.name, self._sensor.place)
        for rule in self._rules.values():
            events += rule.feed(reading)
        begun = {key for key, rule in self._rules.items() if rule.state.since != since[key]}
        return events, self._mark_unsynced(begun, synced=reading.clock_synced)

    def changes(self, before: Mapping[str, str]) -> dict[str, str | None]:
        """What changed since ``state()`` gave *before*."""
        return {key: value for key, value in self.state().items() if before[key] != value}

    def _mark_unsynced(self, begun: set[str], *, synced: bool) -> dict[str, str | None]:
        """Remember which timers began while the clock was wrong: only they move when it is put right."""
        marks: dict[str, str | None] = {}
        for key in begun:
            mark = f"unsynced/{key}"
            if not synced and self._rules[key].state.since is not None:
                self._unsynced.add(mark)
                marks[mark] = "1"
            elif mark in self._unsynced:
                self._unsynced.discard(mark)
                marks[mark] = None
        return marks

    def shift(self, step: ClockStep) -> dict[str, str | None]:
        """The clock was put right: move the timers that began by the wrong one, so that none jumps."""
        changed: dict[str, str | None] = {}
        for key, rule in self._rules.items():
            mark = f"unsynced/{key}"
            if rule.state.since is not None and (mark in self._unsynced or not step.first):
                rule.state.since += timedelta(seconds=step.offset_s)
                changed |= {key: rule.state.model_dump_json(), mark: None}
            self._unsynced.discard(mark)
        return changed
