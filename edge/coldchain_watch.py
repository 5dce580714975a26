"""The cold-chain judgement of one place: its probes are one asset, the door, defrost, power and battery sensors beside
them its contacts. The judgement itself is ``telemetry.coldchain``, the same code as in a replay.

No clock and no I/O here. What was judged can go back (``state`` and ``go_back``) when its commit failed. Readings
without a value are not judged; suspect ones are.
"""

from __future__ import annotations

import json
import logging
from asyncio import Lock
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from functools import partial
from typing import Any, cast

from edge.clock import ClockStep
from edge.coldchain_events import IncidentBook, OpenIncident
from edge.config_sensors import Sensor
from edge.rules import FAILURES_TO_FAULT
from telemetry.coldchain.contacts import ContactKind
from telemetry.coldchain.engine import Engine
from telemetry.coldchain.finding import Finding
from telemetry.coldchain.probe import Probe
from telemetry.coldchain.settings import SensorSettings
from telemetry.messages import Event, Reading

logger = logging.getLogger(__name__)
STATE_PREFIX = "coldchain/"
CLOCK_PREFIX = "coldchain-clock/"
SAVE_EVERY_S = 60.0
# of several contacts of one quantity at a place the troubled one counts
COMBINE = {"door": max, "defrost": max, "power": min, "battery_pct": min}
CONTACT_OF = {
    "door_open_long": "door",
    "defrost_stuck": "defrost",
    "power_failed": "power",
    "battery_low": "battery_pct",
}


@dataclass(frozen=True)
class WatchState:
    """A snapshot in memory; only `changes` makes text of it."""

    engine: dict[str, Any]
    incidents: dict[str, dict[str, Any]]
    contacts: dict[str, float]
    failures: dict[str, int]
    saved_s: float


class AssetWatch:
    """``probes`` are the place's judged sensors, ``contacts`` its sensors of door, defrost, power or battery_pct.

    ``lock`` is held from the judging to the end of its commit: readings of one asset may come from several ports.
    """

    def __init__(
        self,
        name: str,
        probes: Mapping[str, SensorSettings],
        twins: tuple[tuple[str, str], ...],
        sensors: Mapping[str, Sensor],
        zone: tzinfo,
        saved: Mapping[str, str],
    ) -> None:
        self.lock = Lock()
        self.key, self._clock_key = STATE_PREFIX + name, CLOCK_PREFIX + name
        self.sensors = sensors
        self._new_engine = partial(Engine, probes, twins, zone)
        self.engine = self._new_engine()
        self.book = IncidentBook(sensors)
        self._contacts: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._fed_s = float("-inf")  # the newest time of a probe or a contact, on the engine's line
        self._saved_s = float("-inf")
        self._save_due = False
        self._resumed = self._clock_changed = self._fed_unsynced = False
        if self.key in saved:
            self._load(saved[self.key])
        self._load_clock(saved.get(self._clock_key))

    def feed(self, reading: Reading) -> list[Event]:
        """The events that this reading of one of ``sensors`` gives rise to."""
        sensor_id, value = reading.sensor_id, reading.value
        if value is None or reading.quality == "bad":
            self._failures[sensor_id] = self._failures.get(sensor_id, 0) + 1
            return []
        at_s = reading.observed_at.timestamp()
        self._resume(at_s, synced=reading.clock_synced)
        probe = self.engine.probes.get(sensor_id)
        before = self._edges(probe)
        if probe is None:
            events = self._events(self._feed_contact(sensor_id, at_s, value))
        else:
            judged_s = probe.last_s
            events = self._events(self.engine.feed(sensor_id, at_s, value))
            judged = probe.last_s != judged_s
            if judged:
                events += self.book.follow(sensor_id, at_s, value)
            elif not probe.plausibility.count:
                return events  # it came late, and says nothing about now
        self._failures.pop(sensor_id, None)
        self._fed_s = max(self._fed_s, at_s + self.engine.ahead_s)
        events += self._ended(sensor_id, probe, at_s)
        self._save_due |= self._edges(probe) != before or self._fed_s - self._saved_s >= SAVE_EVERY_S
        return events

    def tick(self, now: datetime) -> list[Event]:
        """Time passes: what is missing, a door left open. Silent while it is not known how much (see ``_resume``)."""
        if self._fed_unsynced and not self._resumed:
            return []
        return self._events(self.engine.tick(now.timestamp()))

    def state(self) -> WatchState:
        """All that is remembered, as it is now."""
        incidents = {key: incident.model_dump() for key, incident in self.book.open.items()}
        return WatchState(self.engine.state(), incidents, dict(self._contacts), dict(self._failures), self._saved_s)

    def go_back(self, state: WatchState) -> None:
        """Forget what was judged since *state*: it did not reach the disk. A step of the clock is no judgement."""
        ahead_s = self.engine.ahead_s
        self.engine.restore(state.engine)
        self.engine.step_clock(self.engine.ahead_s - ahead_s)
        self.book.open = {key: OpenIncident.model_validate(value) for key, value in state.incidents.items()}
        self._contacts, self._failures = dict(state.contacts), dict(state.failures)
        self._saved_s, self._save_due, self._clock_changed = state.saved_s, False, True

    def changes(self) -> dict[str, str | None]:
        """What has to be saved now, by key: about 7 kB a probe, so not with every reading."""
        changed: dict[str, str | None] = {}
        if self._clock_changed:
            self._clock_changed = False
            changed |= self._clock_state()
        if self._save_due:
            self._save_due = False
            self._saved_s = self._fed_s
            state = self.state()
            saved = {"engine": state.engine, "incidents": state.incidents, "contacts": state.contacts}
            changed[self.key] = json.dumps(saved, separators=(",", ":"))
        return changed

    def step_clock(self, step: ClockStep) -> dict[str, str | None]:
        """The box's clock was put right: no timer jumps. Times that were right before are not moved."""
        if step.first and not (self._fed_unsynced and self._resumed):
            return {}
        self._fed_unsynced = False
        self.engine.step_clock(step.offset_s)
        return self._clock_state()

    # -- reading by reading ------------------------------------------------------------------------------------------

    def _feed_contact(self, sensor_id: str, at_s: float, value: float) -> list[Finding]:
        quantity = self.sensors[sensor_id].quantity
        self._contacts[sensor_id] = value
        same = [known for name, known in self._contacts.items() if self.sensors[name].quantity == quantity]
        return self.engine.feed_contact(cast(ContactKind, quantity), at_s, COMBINE[quantity](same), sensor_id)

    def _events(self, findings: list[Finding]) -> list[Event]:
        events: list[Event] = []
        for finding in findings:
            self._save_due = True
            if finding.kind == "data_gap" and self._failures.get(finding.sensor, 0) >= FAILURES_TO_FAULT:
                continue  # it answers with faults: that has been told already
            if finding.sensor not in self.sensors:
                finding = replace(finding, sensor=self._contact(finding.code))  # noqa: PLW2901
            events += self.book.tell(finding, self._peak_c(finding))
        return events

    def _contact(self, code: str) -> str:
        """The sensor behind a finding that the passing of time brought: the one that is in trouble now."""
        quantity = CONTACT_OF[code]
        ids = [sensor_id for sensor_id in self._contacts if self.sensors[sensor_id].quantity == quantity]
        if not ids:  # it was taken out of the configuration in the midst of its trouble
            return next(iter(self.engine.probes))
        return COMBINE[quantity](ids, key=lambda sensor_id: self._contacts[sensor_id])

    def _peak_c(self, finding: Finding) -> float | None:
        """The furthest value since it is outside; a relapse begins with its own value."""
        if finding.kind != "excursion_opened" or finding.code == "relapsed":
            return finding.value_c
        probe = self.engine.probes[finding.sensor]
        excursion = probe.high if finding.side == "high" else probe.low
        return finding.value_c if excursion.peak_c is None else excursion.peak_c

    def _ended(self, sensor_id: str, probe: Probe | None, at_s: float) -> list[Event]:
        """Faults whose end this reading shows."""
        events: list[Event] = []
        if probe is None:
            if not self.engine.contacts.battery_told:
                for key in [key for key in self.book.open if key.endswith("/battery_low")]:
                    events += self.book.end(key, at_s)
        else:
            over = {"data_gap"}
            over |= set() if probe.stillness.told else {"stuck"}
            over |= set() if probe.plausibility.told else {"fault_range", "fault_jump"}
            for code in sorted(over):
                events += self.book.end(f"{sensor_id}/{code}", at_s)
            for side, excursion in (("high", probe.high), ("low", probe.low)):
                if excursion.opened_s is None:  # a state that was lost, see `_load`
                    events += self.book.end(f"{sensor_id}/{side}", at_s, {"end_reason": "the judgement began anew"})
        self._save_due |= bool(events)
        return events

    def _edges(self, probe: Probe | None) -> tuple[object, ...]:
        """What must be on disk at once: since when something is outside, open or off."""
        contacts = self.engine.contacts
        since = (contacts.door_since_s, contacts.defrost_since_s, contacts.power_lost_s)
        if probe is None:
            return since
        return (*since, probe.high.since_s, probe.low.since_s, probe.high.break_s, probe.low.break_s)

    # -- clock and disk ----------------------------------------------------------------------------------------------

    def _newest_s(self) -> float | None:
        seen = [line.last_s for line in self.engine.lines.values() if line.last_s is not None]
        return max(seen, default=None)

    def _resume(self, at_s: float, *, synced: bool) -> None:
        """A box without a clock battery wakes up in the past: go on from the last reading before it. So too after a
        life whose clock was never put right: how long ago that was, nobody knows.
        """
        if not self._resumed:
            self._resumed = True
            newest_s, line_s = self._newest_s(), at_s + self.engine.ahead_s
            if newest_s is not None and (self._fed_unsynced or (not synced and line_s < newest_s)):
                self.engine.step_clock(line_s - newest_s)
                self._clock_changed = True
            self._fed_unsynced = self._fed_unsynced and not synced
        if not synced and not self._fed_unsynced:
            self._fed_unsynced = self._clock_changed = True

    def _clock_state(self) -> dict[str, str | None]:
        return {self._clock_key: json.dumps({"ahead_s": self.engine.ahead_s, "unsynced": self._fed_unsynced})}

    def _load(self, text: str) -> None:
        try:
            saved = json.loads(text)
            incidents = saved["incidents"].items()
            self.book.open = {
                key: OpenIncident.model_validate(value)
                for key, value in incidents
                if key.rpartition("/")[0] in self.sensors
            }
            self._contacts = {name: float(value) for name, value in saved["contacts"].items() if name in self.sensors}
            self.engine.restore(saved["engine"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:  # StateError is a ValueError
            self.engine = self._new_engine()
            logger.warning("%s: the saved state cannot be used, the judgement begins anew: %s", self.key, error)

    def _load_clock(self, text: str | None) -> None:
        try:
            clock = json.loads(text or "{}")
            ahead_s, self._fed_unsynced = float(clock.get("ahead_s", self.engine.ahead_s)), bool(clock.get("unsynced"))
        except (ValueError, TypeError, AttributeError) as error:
            logger.warning("%s: the saved clock cannot be used: %s", self._clock_key, error)
            return
        self.engine.step_clock(self.engine.ahead_s - ahead_s)
