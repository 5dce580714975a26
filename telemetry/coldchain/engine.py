"""The judgement of one asset (or one file): many probes and contacts, one state. Pure: no clock, no I/O.

Feed each probe's readings as they come; findings come back at once. Order: a late reading is left out, a clock set
back is followed so that no timer runs backwards. ``state()`` is JSON and ``restore`` goes on exactly from it, so
replaying the readings after the last saved state gives the findings that would have come.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, tzinfo
from math import isfinite
from typing import Any

from telemetry.coldchain.causes import companions_cause, twin_cause
from telemetry.coldchain.contacts import ContactKind, Contacts
from telemetry.coldchain.finding import Cause, Finding
from telemetry.coldchain.order import TimeLine
from telemetry.coldchain.probe import QUIET, Probe
from telemetry.coldchain.settings import SensorSettings
from telemetry.coldchain.state import StateError
from telemetry.coldchain.twins import TwinWatch
from telemetry.coldchain.wording import clock_in

STATE_VERSION = 1
FRESH_S, FRESH_INTERVALS = 300.0, 2.0


class Engine:
    """``sensors`` are the probes by name; ``twins`` pairs of probes that hang side by side; ``zone`` is for
    sentences.
    """

    def __init__(
        self, sensors: Mapping[str, SensorSettings], twins: tuple[tuple[str, str], ...] = (), zone: tzinfo = UTC
    ) -> None:
        write = clock_in(zone)
        self.ahead_s = 0.0
        self.now_s: float | None = None  # the newest tick, on the line of the timers
        door_open_s = min((settings.door_open_s for settings in sensors.values()), default=600.0)
        self.contacts = Contacts(door_open_s)
        self.probes = {name: Probe(name, settings, write, self.contacts) for name, settings in sensors.items()}
        self.lines = {name: TimeLine() for name in sensors}
        self.twins = [TwinWatch(*pair) for pair in twins]
        self._twins_of: dict[str, list[TwinWatch]] = {name: [] for name in sensors}
        for twin in self.twins:
            self._twins_of[twin.first].append(twin)
            self._twins_of[twin.second].append(twin)
        self._routes = {name: (probe, self.lines[name], self._twins_of[name]) for name, probe in self.probes.items()}

    def feed(self, sensor: str, at_s: float, value_c: float) -> list[Finding]:
        """One reading of one probe, seconds since 1970 and °C; KeyError for an unknown probe."""
        probe, line, twins = self._routes[sensor]
        at_s += self.ahead_s
        if line.regular(at_s):
            shift_s = 0.0
        else:
            before_s = line.shift_s
            placed_s = line.place(at_s, self.now_s)
            if placed_s is None:
                return QUIET
            shift_s = placed_s - at_s
            if shift_s != before_s:
                probe.follow_calendar(self.ahead_s, shift_s)
        if not isfinite(value_c):
            return QUIET
        found = probe.feed(at_s + shift_s, value_c)
        if twins:
            found = [*found, *self._compare(sensor, at_s + shift_s, value_c)]
        if found:
            found = self._with_companions(probe, found)
            if shift_s or self.ahead_s:
                found = [_moved(finding, -shift_s - self.ahead_s) for finding in found]
        return found

    def step_clock(self, offset_s: float) -> None:
        """The caller's clock was put right: its times are *offset_s* larger from now on than they would have been.

        Timers go on as if nothing had happened: they count on a line of their own, ``ahead_s`` ahead of the told
        times. Dated limits, schedules and sentences follow the new times.
        """
        self.ahead_s -= offset_s
        self._follow_calendar()

    def _follow_calendar(self) -> None:
        for name, probe in self.probes.items():
            probe.follow_calendar(self.ahead_s, self.lines[name].shift_s)

    def feed_contact(self, kind: ContactKind, at_s: float, value: float, source: str = "") -> list[Finding]:
        """One reading of a contact of the asset; findings carry *source* as their sensor. What is no number says
        nothing.
        """
        if not self.probes or not isfinite(value):
            return QUIET
        teller = next(iter(self.probes.values())).teller
        return [
            replace(teller.contact(news, at_s, None), sensor=source or kind)
            for news in self.contacts.feed(kind, at_s + self.ahead_s, value)
        ]

    def tick(self, at_s: float) -> list[Finding]:
        """Time passes: tells what is missing. Call it at least once a minute."""
        self.now_s = at_s + self.ahead_s
        found = [finding for name in self.probes for finding in self.tick_probe(name, at_s)]
        if self.probes:
            teller = next(iter(self.probes.values())).teller
            found += [
                replace(teller.contact(news, at_s, None), sensor="contact")
                for news in self.contacts.tick(at_s + self.ahead_s)
            ]
        return found

    def tick_probe(self, sensor: str, at_s: float) -> list[Finding]:
        """Time passes for one probe."""
        shift_s = self.lines[sensor].shift_s + self.ahead_s
        found = self.probes[sensor].tick(at_s + shift_s)
        return [_moved(finding, -shift_s) for finding in found] if shift_s else found

    def state(self) -> dict[str, Any]:
        """Everything to be remembered, as JSON values."""
        return {
            "version": STATE_VERSION,
            "ahead_s": self.ahead_s,
            "contacts": self.contacts.state(),
            "probes": {name: probe.state() for name, probe in self.probes.items()},
            "lines": {name: line.state() for name, line in self.lines.items()},
            "twins": [[twin.first, twin.second, twin.state()] for twin in self.twins],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved state. Probes that are new since then start afresh; StateError when it is not a state."""
        if not isinstance(state, dict) or state.get("version") != STATE_VERSION:
            raise StateError("not a state of this version")
        try:
            self.ahead_s = float(state.get("ahead_s", 0.0))
            self.contacts.restore(state["contacts"])
            for name in self.probes.keys() & state["probes"].keys():
                self.lines[name].restore(state["lines"][name])
            self._follow_calendar()
            for name in self.probes.keys() & state["probes"].keys():
                self.probes[name].restore(state["probes"][name])
            saved = {(first, second): twin for first, second, twin in state["twins"]}
            for twin in self.twins:
                if (twin.first, twin.second) in saved:
                    twin.restore(saved[twin.first, twin.second])
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"damaged state: {error}") from error

    def _compare(self, sensor: str, at_s: float, value_c: float) -> list[Finding]:
        found = []
        for twin in self._twins_of[sensor]:
            why = twin.feed(sensor, at_s, value_c)
            if why is not None:
                other = self.probes[twin.second if sensor == twin.first else twin.first]
                culprit = self._odd_one(self.probes[sensor], other)
                found.append(culprit.teller.fault("twin_drift", at_s, culprit.last_c, why))
        return found

    @staticmethod
    def _odd_one(probe: Probe, other: Probe) -> Probe:
        """Which of two twins is further from its own habit."""

        def strangeness(one: Probe) -> float:
            return abs(one.last_c - one.habit.middle_c) if one.habit.middle_c is not None else 0.0

        return probe if strangeness(probe) >= strangeness(other) else other

    def _with_companions(self, probe: Probe, found: list[Finding]) -> list[Finding]:
        if not any(finding.kind in ("warning", "excursion_opened") and finding.side == "high" for finding in found):
            return found
        causes = self._from_others(probe)
        return [
            replace(finding, causes=(*finding.causes, *causes))
            if finding.notifies and finding.side == "high"
            else finding
            for finding in found
        ]

    def _from_others(self, probe: Probe) -> list[Cause]:
        """What the other probes say about a rise: a twin that stays calm, or several that rise together."""
        for twin in self._twins_of[probe.sensor]:
            name = twin.second if twin.first == probe.sensor else twin.first
            other = self.probes[name]
            if self._reads_now(other, probe) and other.warm.rise.since_s is None:
                return [twin_cause(name, other.last_c, probe.teller.clock)]
        rising = [
            name
            for name, other in self.probes.items()
            if other is not probe and other.warm.rise.excess_h > 0 and self._reads_now(other, probe)
        ]
        return [companions_cause(rising, probe.teller.clock)] if rising else []

    def _reads_now(self, other: Probe, probe: Probe) -> bool:
        """Whether *other* is a witness: one that has fallen silent, or stuck, says nothing about now."""
        if other.first_s is None or other.stillness.told:
            return False
        now_s = probe.last_s - self.lines[probe.sensor].shift_s
        seen_s = other.last_s - self.lines[other.sensor].shift_s
        return now_s - seen_s <= max(FRESH_S, FRESH_INTERVALS * other.silence.interval_s)


def _moved(finding: Finding, by_s: float) -> Finding:
    forecast_s = finding.forecast_at_s
    return replace(
        finding,
        at_s=finding.at_s + by_s,
        forecast_at_s=None if forecast_s is None else forecast_s + by_s,
        said=tuple(phrase.moved(by_s) for phrase in finding.said),
        causes=tuple(replace(cause, said=cause.said.moved(by_s)) for cause in finding.causes),
    )
