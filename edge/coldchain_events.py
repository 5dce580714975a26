"""From findings of the cold-chain judgement to events: which incident each belongs to, and what the centre is told.

One incident for one trouble: an excursion keeps its id from the opening to the end, over restarts too. All that is
remembered is in ``open``, which is saved and goes back together with the judgement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from edge.config_sensors import Sensor
from edge.rules import new_id
from telemetry.coldchain.finding import Finding, Side
from telemetry.messages import Event, EventType, Severity

UPDATE_EVERY_S = 600.0
UPDATE_STEP_C = 0.5
TEXT_CHARS_MAX = 512
CAUSES_MAX = 64
LASTING = frozenset({"data_gap", "stuck", "fault_range", "fault_jump", "battery_low"})  # faults whose end is seen
KINDS = {
    "excursion_opened": "temperature_excursion",
    "warning": "temperature_warning",
    "sensor_fault": "sensor_fault",
    "data_gap": "data_gap",
    "defrost": "defrost",
}


class OpenIncident(BaseModel):
    """``peak_c`` is the highest (or lowest) value while outside, ``told_peak_c`` the one that the centre knows."""

    model_config = ConfigDict(extra="forbid")

    incident_id: str
    kind: str
    severity: Severity
    told_s: float
    peak_c: float | None = None
    told_peak_c: float | None = None
    updates: int = 0


class IncidentBook:
    """The open incidents of one asset, by ``sensor/side`` or ``sensor/code``."""

    def __init__(self, sensors: Mapping[str, Sensor], make_id: Callable[[], str] = new_id) -> None:
        self._sensors = sensors
        self._make_id = make_id
        self.open: dict[str, OpenIncident] = {}

    def tell(self, finding: Finding, peak_c: float | None) -> list[Event]:
        """The events of one finding; *peak_c* is the furthest value so far."""
        if finding.kind == "excursion_closed":
            changes = {
                "value_c": finding.value_c,
                "product_c": finding.product_c,
                "end_reason": finding.reason,
                "end_said": _said(finding),
            }
            return self.end(f"{finding.sensor}/{finding.side}", finding.at_s, changes)
        if finding.kind == "excursion_updated":
            changes = {
                "value_c": finding.value_c,
                "product_c": finding.product_c,
                "update_reason": finding.reason,
                "update_said": _said(finding),
            }
            return self._update(finding.sensor, finding.side, finding.at_s, finding.severity, changes)
        return [self._begin(finding, peak_c)]

    def follow(self, sensor_id: str, at_s: float, value_c: float) -> list[Event]:
        """Keep the peak of the sensor's open excursions; told while it moves on, at most once in ten minutes."""
        events: list[Event] = []
        sides: tuple[tuple[Side, int], ...] = (("high", 1), ("low", -1))
        for side, sign in sides:
            incident = self.open.get(f"{sensor_id}/{side}")
            if incident is None or incident.peak_c is None:
                continue
            if sign * (value_c - incident.peak_c) > 0:
                incident.peak_c = value_c
            moved_c = abs(incident.peak_c - (incident.told_peak_c if incident.told_peak_c is not None else value_c))
            if moved_c >= UPDATE_STEP_C and at_s - incident.told_s >= UPDATE_EVERY_S:
                events += self._update(sensor_id, side, at_s, incident.severity, {"value_c": value_c})
        return events

    def end(self, key: str, at_s: float, changes: Mapping[str, Any] | None = None) -> list[Event]:
        """The incident is over; nothing when none is open."""
        incident = self.open.pop(key, None)
        if incident is None:
            return []
        excursion = incident.kind == KINDS["excursion_opened"]
        sensor_id = key.rpartition("/")[0]
        kind: EventType = "excursion_closed" if excursion else "sensor_recovered"
        data = self._data(sensor_id, incident.kind, {"peak_c": incident.peak_c, **(changes or {})})
        event_id = f"{incident.incident_id}.{kind.rpartition('_')[2]}"
        return [self._event(event_id, incident.incident_id, kind, "info", sensor_id, at_s, data)]

    def _begin(self, finding: Finding, peak_c: float | None) -> Event:
        incident_id = self._make_id()
        kind: EventType = "sensor_fault" if finding.kind == "data_gap" else finding.kind
        sided = finding.kind in ("excursion_opened", "warning")
        data = self._data(
            finding.sensor,
            KINDS[finding.kind],
            {
                "code": finding.code,
                "side": finding.side if sided else None,
                "limit_c": finding.limit_c,
                "value_c": finding.value_c,
                "peak_c": peak_c if sided else None,
                "product_c": finding.product_c,
                "reason": finding.reason,
                "said": _said(finding),
                "forecast_at": None if finding.forecast_at_s is None else _moment(finding.forecast_at_s).isoformat(),
                "causes": [f"{cause.code}: {cause.evidence}"[:TEXT_CHARS_MAX] for cause in finding.causes][:CAUSES_MAX]
                or None,
                "causes_said": [cause.said.encoded() for cause in finding.causes][:CAUSES_MAX] or None,
            },
        )
        incident = OpenIncident(
            incident_id=incident_id, kind=KINDS[finding.kind], severity=finding.severity, told_s=finding.at_s
        )
        if finding.kind == "excursion_opened":
            incident.peak_c = incident.told_peak_c = peak_c
            self.open[f"{finding.sensor}/{finding.side}"] = incident
        elif finding.code in LASTING:
            self.open[f"{finding.sensor}/{finding.code}"] = incident
        suffix = finding.kind.rpartition("_")[2]
        return self._event(
            f"{incident_id}.{suffix}", incident_id, kind, finding.severity, finding.sensor, finding.at_s, data
        )

    def _update(
        self, sensor_id: str, side: Side, at_s: float, severity: Severity, changes: Mapping[str, Any]
    ) -> list[Event]:
        incident = self.open.get(f"{sensor_id}/{side}")
        if incident is None:
            return []
        incident.updates += 1
        incident.severity, incident.told_s, incident.told_peak_c = severity, at_s, incident.peak_c
        data = self._data(sensor_id, incident.kind, {"side": side, "peak_c": incident.peak_c, **changes})
        event_id = f"{incident.incident_id}.updated{incident.updates}"
        return [self._event(event_id, incident.incident_id, "excursion_updated", severity, sensor_id, at_s, data)]

    def _data(self, sensor_id: str, kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """What is not known is left out: an update must not wipe what the opening told."""
        sensor = self._sensors[sensor_id]
        named = {"kind": kind, "sensor_name": sensor.name, "place": sensor.place}
        texts = {key: value[:TEXT_CHARS_MAX] if isinstance(value, str) else value for key, value in values.items()}
        return named | {key: value for key, value in texts.items() if value is not None}

    @staticmethod
    def _event(
        event_id: str,
        incident_id: str,
        kind: EventType,
        severity: Severity,
        sensor_id: str,
        at_s: float,
        data: dict[str, Any],
    ) -> Event:
        return Event(
            event_id=event_id,
            incident_id=incident_id,
            type=kind,
            severity=severity,
            source_id=sensor_id,
            at=_moment(at_s),
            data=data,
        )


def _said(finding: Finding) -> list[str] | None:
    """The phrases of the finding, for the centre to write in its reader's language."""
    phrases = [phrase.encoded() for phrase in finding.said]
    return phrases if phrases and max(map(len, phrases)) <= TEXT_CHARS_MAX else None


def _moment(at_s: float) -> datetime:
    """Not before 1970: a box that wakes up there may have to tell of a time before."""
    return datetime.fromtimestamp(max(at_s, 0.0), UTC)
