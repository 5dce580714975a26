"""The box's incidents in the shape that users of Frigate know from ``frigate/events``. Pure.

What always holds: ``id`` is the incident's; ``new`` comes before ``update`` and ``end`` unless the box was started in
between; a field that we do not know is null and never made up. Fields: Frigate's documentation, "MQTT",
``frigate/events``; what only we have is named in docs/status.md.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from telemetry.messages import Event

Tracked = dict[str, Any]
TYPES: Final = {"opened": "new", "updated": "update", "closed": "end"}
OPEN_MAX = 1_000
KNOWN = frozenset({"kind", "camera_name", "sensor_name", "place", "zone", "confidence", "evidence"})


class IncidentStory:
    """Feed it events in the order in which they were committed."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, Tracked] = OrderedDict()

    def tell(self, event: Event) -> dict[str, Any] | None:
        """The message for an excursion's or a violation's event, None for all others."""
        subject, _, step = event.type.partition("_")
        kind = TYPES.get(step)
        if kind is None or subject not in ("excursion", "violation"):
            return None
        known = self._open.pop(event.incident_id, None)
        after = _follow(known or _begin(event, is_camera=subject == "violation", opens=kind == "new"), event)
        before = known or after
        if kind == "new":  # Frigate: the state before is that of an object not yet believed
            before = after | {"false_positive": True, "current_zones": [], "entered_zones": []}
        if kind == "end":
            after |= {"end_time": _seconds(event), "current_zones": []}
        else:
            self._open[event.incident_id] = after
            if len(self._open) > OPEN_MAX:
                self._open.popitem(last=False)
        return {"type": kind, "before": before, "after": after}


def _begin(event: Event, *, is_camera: bool, opens: bool) -> Tracked:
    """``start_time`` is null for an incident whose opening this run of the box has not seen."""
    return {
        "id": event.incident_id,
        "camera": event.source_id if is_camera else None,
        "sensor": None if is_camera else event.source_id,
        "label": event.data.get("kind"),
        "sub_label": None,
        "false_positive": False,
        "start_time": _seconds(event) if opens else None,
        "end_time": None,
        "score": None,
        "top_score": None,
        "current_zones": [],
        "entered_zones": [],
        "has_snapshot": False,
        "has_clip": False,
        "data": {},
    }


def _follow(tracked: Tracked, event: Event) -> Tracked:
    """*tracked* with what *event* says; the old one is left as it is."""
    data = event.data
    after = tracked | {"frame_time": _seconds(event), "severity": event.severity}
    after["name"] = data.get("camera_name", data.get("sensor_name"))
    after["place"] = data.get("place")
    zones = [data["zone"]] if data.get("zone") else []
    after |= {"current_zones": zones, "entered_zones": zones}
    confidence = data.get("confidence")
    if isinstance(confidence, int | float):
        after |= {"score": confidence, "top_score": max(confidence, tracked["top_score"] or confidence)}
    if data.get("evidence"):
        after["has_snapshot"] = True
        after["has_clip"] = tracked["has_clip"] or event.type == "violation_updated"  # that is when the film is ready
    after["data"] = tracked["data"] | {key: value for key, value in data.items() if key not in KNOWN}
    return after


def _seconds(event: Event) -> float:
    return event.at.timestamp()
