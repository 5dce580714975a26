"""Threshold with delay: the first judge of a temperature. Pure: no clock, no I/O; times come with the readings.

The state after each reading can be saved and restored exactly, so a restart neither loses nor doubles an
excursion and no timer starts anew.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from telemetry.messages import Event, EventType, Reading, Severity

Side = Literal["high", "low"]
FAILURES_TO_FAULT = 3


def new_id() -> str:
    """A fresh id for an incident or an event."""
    return uuid.uuid4().hex


class ExcursionState(BaseModel):
    """Outside since when, and which incident is open; all None while inside."""

    model_config = ConfigDict(extra="forbid")

    side: Side | None = None
    since: datetime | None = None
    incident_id: str | None = None
    peak_c: float | None = None


@dataclass(frozen=True)
class ThresholdLimit:
    """Limits in °C; ``delay_s`` outside opens, ``hysteresis_c`` back inside closes."""

    sensor_id: str
    sensor_name: str
    place: str
    high_c: float | None
    low_c: float | None
    delay_s: float
    hysteresis_c: float
    severity: Severity


class ThresholdRule:
    """One limit on one sensor; feed it that sensor's readings in order of time."""

    def __init__(
        self, limit: ThresholdLimit, state: ExcursionState | None = None, make_id: Callable[[], str] = new_id
    ) -> None:
        self.limit = limit
        self.state = state or ExcursionState()
        self._make_id = make_id

    def feed(self, reading: Reading) -> list[Event]:
        """The events that this reading gives rise to; a reading without a value changes nothing."""
        value = reading.value
        if value is None or reading.quality == "bad":
            return []
        events: list[Event] = []
        if self.state.side is not None and not self._still_outside(value, self.state.side):
            events = self._back_inside(reading)
        if self.state.side is None:
            side = self._side(value)
            if side is None:
                return events
            self.state = ExcursionState(side=side, since=reading.observed_at, peak_c=value)
        return events + self._outside(reading, value)

    def _side(self, value: float) -> Side | None:
        if self.limit.high_c is not None and value > self.limit.high_c:
            return "high"
        if self.limit.low_c is not None and value < self.limit.low_c:
            return "low"
        return None

    def _still_outside(self, value: float, side: Side) -> bool:
        """Before it opens, an excursion ends at the limit itself; an open one only beyond the hysteresis."""
        now, limit = self._side(value), self._limit_c(side)
        if self.state.incident_id is None or limit is None or now not in (None, side):
            return now == side  # limit is None: this side was taken out of the configuration meanwhile
        if side == "high":
            return value > limit - self.limit.hysteresis_c
        return value < limit + self.limit.hysteresis_c

    def _limit_c(self, side: Side) -> float | None:
        return self.limit.high_c if side == "high" else self.limit.low_c

    def _outside(self, reading: Reading, value: float) -> list[Event]:
        state = self.state
        assert state.side is not None
        assert state.since is not None
        if (
            state.incident_id is None and reading.observed_at < state.since
        ):  # the clock was set back: the wait begins anew, it never grows
            state.since = reading.observed_at
        further = max if state.side == "high" else min
        state.peak_c = value if state.peak_c is None else further(state.peak_c, value)
        waited_s = (reading.observed_at - state.since).total_seconds()
        if state.incident_id is not None or waited_s < self.limit.delay_s:
            return []
        state.incident_id = self._make_id()
        return [self._event("excursion_opened", reading, value)]

    def _back_inside(self, reading: Reading) -> list[Event]:
        events = [] if self.state.incident_id is None else [self._event("excursion_closed", reading, reading.value)]
        self.state = ExcursionState()
        return events

    def _event(self, kind: EventType, reading: Reading, value: float | None) -> Event:
        state, limit = self.state, self.limit
        assert state.incident_id is not None
        assert state.side is not None
        assert state.since is not None
        return Event(
            event_id=f"{state.incident_id}.{kind.rpartition('_')[2]}",
            incident_id=state.incident_id,
            type=kind,
            severity=limit.severity,
            source_id=limit.sensor_id,
            at=reading.observed_at,
            data={
                "kind": "temperature_excursion",
                "sensor_name": limit.sensor_name,
                "place": limit.place,
                "side": state.side,
                "limit_c": self._limit_c(state.side),
                "value_c": value,
                "peak_c": state.peak_c,
                "since": state.since.isoformat(),
                "delay_s": limit.delay_s,
            },
        )


class SensorHealth(BaseModel):
    """Failures in a row of one sensor; three make a fault, the next good reading ends it."""

    model_config = ConfigDict(extra="forbid")

    failures: int = 0
    incident_id: str | None = None

    def feed(self, reading: Reading, sensor_name: str, place: str) -> list[Event]:
        """The events that this reading gives rise to."""
        if reading.quality == "bad":
            self.failures += 1
            if self.failures < FAILURES_TO_FAULT or self.incident_id is not None:
                return []
            self.incident_id = new_id()
            return [self._event("sensor_fault", reading, sensor_name, place)]
        self.failures = 0
        if self.incident_id is None:
            return []
        event = self._event("sensor_recovered", reading, sensor_name, place)
        self.incident_id = None
        return [event]

    def _event(self, kind: EventType, reading: Reading, sensor_name: str, place: str) -> Event:
        assert self.incident_id is not None
        return Event(
            event_id=f"{self.incident_id}.{kind.rpartition('_')[2]}",
            incident_id=self.incident_id,
            type=kind,
            severity="warning",
            source_id=reading.sensor_id,
            at=reading.observed_at,
            data={"kind": "sensor_fault", "sensor_name": sensor_name, "place": place, "reason": reading.reason},
        )
