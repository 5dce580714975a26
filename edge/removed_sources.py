"""Ends the incidents of what the configuration no longer has: a sensor, a limit, a camera, one of its violations.

Nobody would ever see such an incident end, so it would stay open at the centre for good. What the box saved is compared
with its configuration once at its start; the ends and the saved state without them are one commit. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from edge.camera_desk import STATE_PREFIX as CAMERA_PREFIX
from edge.coldchain_desk import CONTACT_QUANTITIES
from edge.coldchain_watch import CLOCK_PREFIX
from edge.coldchain_watch import STATE_PREFIX as COLD_CHAIN_PREFIX
from edge.config import EdgeConfig
from telemetry.messages import Event, EventType

REASON = "removed"
EXCURSION = "temperature_excursion"


@dataclass(frozen=True)
class Removal:
    """An incident that ends because its source is gone."""

    incident_id: str
    source_id: str
    kind: str
    type: EventType

    def event(self, at: datetime) -> Event:
        return Event(
            event_id=f"{self.incident_id}.{self.type.rpartition('_')[2]}",
            incident_id=self.incident_id,
            type=self.type,
            severity="info",
            source_id=self.source_id,
            at=at,
            data={"kind": self.kind, "end_reason": REASON},
        )


def end_removed(
    config: EdgeConfig, saved: Mapping[str, str], at: datetime
) -> tuple[list[Event], dict[str, str | None]]:
    """The ends to tell, and what of the saved state changes with them; *saved* is the whole of it."""
    events: list[Event] = []
    state: dict[str, str | None] = {}
    for prefix, look in _LOOKS.items():
        for key in sorted(key for key in saved if key.startswith(prefix)):
            removals: list[Removal] = []
            try:
                changed = dict(look(config, key, saved[key], removals.append))
                ends = [removal.event(at) for removal in removals]
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # whoever reads it next tells that it cannot be used
            events += ends
            state |= changed
    return events, state


Tell = Callable[[Removal], None]
Changes = Iterator[tuple[str, str | None]]


def _limits(config: EdgeConfig, key: str, text: str, tell: Tell) -> Changes:
    """``rule/SENSOR/NUMBER``: the state of one limit."""
    sensor_id, _, number = key.removeprefix("rule/").rpartition("/")
    left = sum(1 for limit in config.limits if limit.sensor == sensor_id)
    if int(number) < left and _has_sensor(config, sensor_id):
        return
    if incident := json.loads(text).get("incident_id"):
        tell(Removal(incident, sensor_id, EXCURSION, "excursion_closed"))
    yield from ((key, None), (f"unsynced/{key}", None))


def _health(config: EdgeConfig, key: str, text: str, tell: Tell) -> Changes:
    """``health/SENSOR``: whether it answers."""
    sensor_id = key.removeprefix("health/")
    if _has_sensor(config, sensor_id):
        return
    if incident := json.loads(text).get("incident_id"):
        tell(Removal(incident, sensor_id, "sensor_fault", "sensor_recovered"))
    yield key, None


def _cold_chain(config: EdgeConfig, key: str, text: str, tell: Tell) -> Changes:
    """``coldchain/PLACE``: the judgement of a place; it goes with its last judged sensor."""
    place = key.removeprefix(COLD_CHAIN_PREFIX)
    here = [sensor for sensor in config.sensors if (sensor.place or sensor.id) == place]
    judged = {sensor.id for sensor in here if sensor.id in config.cold_chain}
    sensors = judged | {sensor.id for sensor in here if sensor.quantity in CONTACT_QUANTITIES}
    saved = json.loads(text)
    gone = {name for name in saved["incidents"] if not judged or name.rpartition("/")[0] not in sensors}
    for name in sorted(gone):
        incident = saved["incidents"].pop(name)
        closes: EventType = "excursion_closed" if incident["kind"] == EXCURSION else "sensor_recovered"
        tell(Removal(incident["incident_id"], name.rpartition("/")[0], incident["kind"], closes))
    if not judged:
        yield from ((key, None), (CLOCK_PREFIX + place, None))
    elif gone:
        yield key, json.dumps(saved, separators=(",", ":"))


def _camera(config: EdgeConfig, key: str, text: str, tell: Tell) -> Changes:
    """``camera/ID``: its open incidents by kind, or kind@zone."""
    camera_id = key.removeprefix(CAMERA_PREFIX)
    camera = next((item for item in config.cameras if item.id == camera_id), None)
    watched: set[str] = set()
    if camera is not None:
        codes = [(item.code, zone) for item in camera.violations for zone in item.zones or ("",)]
        watched = {"camera_blind"} | {f"{code}@{zone}" if zone else code for code, zone in codes}
    is_open: dict[str, str] = json.loads(text)
    gone = sorted(is_open.keys() - watched)
    for name in gone:
        kind = name.partition("@")[0]
        closes: EventType = "camera_recovered" if kind == "camera_blind" else "violation_closed"
        tell(Removal(is_open.pop(name), camera_id, kind, closes))
    if camera is None:
        yield key, None
    elif gone:
        yield key, json.dumps(is_open)


_LOOKS: dict[str, Callable[[EdgeConfig, str, str, Tell], Changes]] = {
    "rule/": _limits,
    "health/": _health,
    COLD_CHAIN_PREFIX: _cold_chain,
    CAMERA_PREFIX: _camera,
}


def _has_sensor(config: EdgeConfig, sensor_id: str) -> bool:
    return any(sensor.id == sensor_id for sensor in config.sensors)
