"""Compares findings with the truth: the warehouse's own log, and the sustained excursions that a pass over the
readings shows.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import exp

from telemetry.coldchain.engine import Engine
from telemetry.coldchain.finding import Finding
from telemetry.coldchain.settings import SensorSettings
from tests.telemetry.coldchain.warehouse import RULE_S, STEP_S, Logged, Series

SUSTAINED_S = 3_600.0


def judge(series: dict[str, Series], settings: dict[str, SensorSettings]) -> list[Finding]:
    """All findings, in order of time."""
    engine = Engine(settings)
    readings = sorted((at_s, name, value_c) for name in settings for at_s, value_c in series[name])
    return [finding for at_s, name, value_c in readings for finding in engine.feed(name, at_s, value_c)]


@dataclass
class Match:
    """How the plain rule's events and the log go together; all counts by class."""

    found: Counter[str]
    missed: Counter[str]
    extra: Counter[str]

    @property
    def share(self) -> float:
        """The part of the logged events that the plain rule reproduces."""
        return self.found.total() / (self.found.total() + self.missed.total())


def match_log(events: list[Logged], plain: list[Finding]) -> Match:
    """A logged alarm is reproduced by a crossing at its time or, from July on, 45 min before: the log's own delay."""
    runs = _runs(plain)
    match = Match(Counter(), Counter(), Counter())
    for event in events:
        name = "recovery" if event.kind == "recovery" else "alarm"
        run = next((run for run in runs if run.fits(event)), None)
        if run is None:
            match.missed[_why_missed(event, runs)] += 1
            continue
        run.logged = True
        late = name == "alarm" and event.at_s - run.since_s > STEP_S
        match.found[f"{event.kind}, {'after the log’s 45 min' if late else 'at its time'}"] += 1
    logged = {event.probe for event in events}
    for run in runs:
        if not run.logged:
            match.extra[_why_extra(run, logged)] += 1
    return match


@dataclass
class _Run:
    sensor: str
    kind: str
    since_s: float
    until_s: float
    logged: bool = False

    def fits(self, event: Logged) -> bool:
        if event.probe != self.sensor:
            return False
        if event.kind == "recovery":
            return abs(event.at_s - self.until_s) < STEP_S
        return event.kind == self.kind and -STEP_S < event.at_s - self.since_s <= RULE_S + STEP_S / 2


def _runs(plain: list[Finding]) -> list[_Run]:
    runs: list[_Run] = []
    current: dict[str, _Run] = {}
    for finding in plain:
        if finding.kind == "excursion_opened":
            kind = "exceed" if finding.side == "high" else "deficit"
            current[finding.sensor] = _Run(finding.sensor, kind, finding.at_s, float("inf"))
            runs.append(current[finding.sensor])
        else:
            current[finding.sensor].until_s = finding.at_s
    return runs


def _why_missed(event: Logged, runs: list[_Run]) -> str:
    if not event.own:
        return "quotes a value of another probe or of none"
    if event.at_s % STEP_S:
        return "between two readings: the log polls more often than the file"
    if event.kind == "recovery" and any(
        run.sensor == event.probe and -STEP_S < run.until_s - event.at_s <= RULE_S + STEP_S for run in runs
    ):
        return "recovery logged before the readings are inside"
    if event.kind == "recovery":
        return "recovery from a value on the limit, or from a limit that was changed"
    return "alarm on a run that began under another limit, or that hovers at the limit"


def _why_extra(run: _Run, logged: set[str]) -> str:
    if run.sensor not in logged:
        return "probe without events in the log"
    if run.until_s - run.since_s <= RULE_S:
        return "shorter than the log's 45 min"
    if run.sensor.startswith("freezer_"):
        return "two probes share a name: the other one had the alarm"
    return "limit between two events not known"


@dataclass(frozen=True)
class Sustained:
    """Air outside for an hour, or the estimated product outside, from ``since_s`` until ``until_s``."""

    sensor: str
    side: str
    since_s: float
    until_s: float
    by: str


def sustained(name: str, readings: Series, settings: SensorSettings) -> list[Sustained]:
    """An independent pass over the readings: no hysteresis, no memory."""
    runs: list[Sustained] = []
    for side, sign in (("high", 1), ("low", -1)):
        for by in ("air", "product"):
            since_s: float | None = None
            last_s = readings[0][0]
            product_c, before_c = readings[0][1], readings[0][1]
            for at_s, value_c in readings:
                span, _ = settings.span_at(at_s)
                mean_c = (value_c + before_c) / 2
                product_c = mean_c + (product_c - mean_c) * exp(-(at_s - last_s) / settings.lag_s(span))
                limit_c = span.high_c if sign > 0 else span.low_c
                judged_c = value_c if by == "air" else product_c
                outside = limit_c is not None and sign * (judged_c - limit_c) > 0
                if outside and since_s is None:
                    since_s = at_s
                if since_s is not None and not outside:
                    if by == "product" or at_s - since_s >= SUSTAINED_S:
                        runs.append(Sustained(name, side, since_s, last_s, by))
                    since_s = None
                last_s, before_c = at_s, value_c
            if since_s is not None and (by == "product" or last_s - since_s >= SUSTAINED_S):
                runs.append(Sustained(name, side, since_s, last_s, by))
    return runs


def open_times(findings: list[Finding], sensor: str, side: str) -> list[tuple[float, float]]:
    """When an excursion was open."""
    spans: list[tuple[float, float]] = []
    since_s: float | None = None
    for finding in findings:
        if finding.sensor != sensor or finding.side != side:
            continue
        if finding.kind == "excursion_opened":
            since_s = finding.at_s
        elif finding.kind == "excursion_closed" and since_s is not None:
            spans.append((since_s, finding.at_s))
            since_s = None
    return [*spans, (since_s, float("inf"))] if since_s is not None else spans


def unfound(runs: list[Sustained], findings: list[Finding]) -> list[Sustained]:
    """The sustained excursions during which none was open by the time that the 45-minute rule would have spoken."""
    missed = []
    for run in runs:
        due_s = run.since_s + RULE_S
        spans = open_times(findings, run.sensor, run.side)
        if run.until_s < due_s:  # the product was outside for less than the rule's time: to be open at any time in it
            hit = any(since_s <= due_s and until_s >= run.since_s for since_s, until_s in spans)
        else:
            hit = any(since_s <= due_s <= until_s for since_s, until_s in spans)
        if not hit:
            missed.append(run)
    return missed


def stray(findings: list[Finding], runs: list[Sustained], before_s: float = 14_400.0) -> list[Finding]:
    """Notifications without a sustained excursion of that probe: none during it, none in the hours before it."""
    return [
        finding
        for finding in findings
        if finding.notifies
        and not any(
            run.sensor == finding.sensor and run.since_s - before_s <= finding.at_s <= run.until_s + SUSTAINED_S
            for run in runs
        )
    ]
