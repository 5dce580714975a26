"""All places of the box that get the cold-chain judgement: which sensor belongs to which, time that passes, the limits
for the record.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import get_args
from zoneinfo import ZoneInfo

from edge.clock import ClockStep
from edge.coldchain_events import KINDS
from edge.coldchain_watch import AssetWatch
from edge.config import EdgeConfig
from edge.config_coldchain import probe_settings
from edge.config_sensors import Sensor
from edge.rules import new_id
from edge.status_topics import OpenFlags
from telemetry.coldchain.contacts import ContactKind
from telemetry.messages import Event, Reading

logger = logging.getLogger(__name__)
TICK_S = 20.0
LIMITS_PREFIX = "limits/"
CONTACT_QUANTITIES = frozenset(get_args(ContactKind))
Record = Callable[[Sequence[Event], dict[str, str | None]], Awaitable[None]]


class ColdChainDesk:
    """Run `run()` as a task; ``saved`` is the whole saved state of the box."""

    def __init__(self, config: EdgeConfig, saved: Mapping[str, str]) -> None:
        self._config = config
        self._saved_limits = {key: text for key, text in saved.items() if key.startswith(LIMITS_PREFIX)}
        self._limits_hold = float("inf"), float("-inf")  # from when until when the limits told last are in force
        self.assets = _assets(config, saved)
        self._asset_of = {sensor_id: asset for asset in self.assets for sensor_id in asset.sensors}

    def assets_of(self, readings: Iterable[Reading]) -> list[AssetWatch]:
        """The assets that these readings belong to, in one order for all, so that their locks cannot wait in a ring."""
        keys = {id(asset): asset for r in readings if (asset := self._asset_of.get(r.sensor_id)) is not None}
        return sorted(keys.values(), key=lambda asset: asset.key)

    def feed(self, reading: Reading) -> list[Event]:
        """The events that a reading of any sensor gives rise to."""
        asset = self._asset_of.get(reading.sensor_id)
        return [] if asset is None else asset.feed(reading)

    def open_flags(self) -> OpenFlags:
        """What is open now: an ``alarm`` is an excursion, all else a ``fault``."""
        return {
            (key.rpartition("/")[0], "alarm" if incident.kind == KINDS["excursion_opened"] else "fault")
            for asset in self.assets
            for key, incident in asset.book.open.items()
        }

    def step_clock(self, step: ClockStep) -> dict[str, str | None]:
        """The clock was put right; gives the states that changed."""
        return {key: value for asset in self.assets for key, value in asset.step_clock(step).items()}

    async def run(self, record: Record, now: Callable[[], datetime]) -> None:
        """Tell the limits in force, at once and when others come into force; let time pass for every asset until
        cancelled.
        """
        while True:
            await self.tell_limits(record, now())
            await asyncio.sleep(TICK_S)
            await self.tick(record, now())

    async def tell_limits(self, record: Record, now: datetime) -> None:
        """Tell the limits in force where they are not as told before. The clock may have been set either way."""
        since_s, until_s = self._limits_hold
        if since_s <= now.timestamp() < until_s:
            return
        events, state = limit_events(self._config, self._saved_limits, now)
        if events:
            await record(events, state)
            self._saved_limits |= {key: text for key, text in state.items() if text is not None}
        spans = [
            probe.settings.span_at(now.timestamp()) for asset in self.assets for probe in asset.engine.probes.values()
        ]
        since_s = max((span.from_s for span, _ in spans), default=float("-inf"))
        self._limits_hold = since_s, min((until_s for _, until_s in spans), default=float("inf"))

    async def tick(self, record: Record, now: datetime) -> None:
        """One look at every asset; what is found goes back when its commit fails."""
        for asset in self.assets:
            async with asset.lock:
                before = asset.state()
                events = asset.tick(now)
                changed = asset.changes()
                if not events and not changed:
                    continue
                try:
                    await record(events, changed)
                except BaseException:
                    asset.go_back(before)
                    raise
                for event in events:
                    logger.warning("sensor %s: %s", event.source_id, event.type)


def _assets(config: EdgeConfig, saved: Mapping[str, str]) -> list[AssetWatch]:
    """One asset a place; a probe without a place is one of its own, with no contacts."""
    places: dict[str, list[Sensor]] = {}
    for sensor in config.sensors:
        if sensor.id in config.cold_chain:
            places.setdefault(sensor.place or sensor.id, []).append(sensor)
    zone = ZoneInfo(config.box.time_zone)
    assets = []
    for name, probes in places.items():
        contacts = [
            sensor for sensor in config.sensors if sensor.place == name and sensor.quantity in CONTACT_QUANTITIES
        ]
        settings = {probe.id: probe_settings(config, probe.id).settings for probe in probes}
        sensors = {sensor.id: sensor for sensor in (*probes, *contacts)}
        assets.append(AssetWatch(name, settings, _twins(config, probes), sensors, zone, saved))
    return assets


def _twins(config: EdgeConfig, probes: Iterable[Sensor]) -> tuple[tuple[str, str], ...]:
    pairs = {
        tuple(sorted((probe.id, twin))) for probe in probes if (twin := config.cold_chain[probe.id].twin) is not None
    }
    return tuple((first, second) for first, second in sorted(pairs))


def limit_events(
    config: EdgeConfig, saved: Mapping[str, str], now: datetime
) -> tuple[list[Event], dict[str, str | None]]:
    """A ``box_status`` of kind ``limits`` for each probe whose limits are not as told before: the limits in force at
    *now*, and what the site changed in its limit set, with the reason for loosening it.
    """
    events: list[Event] = []
    state: dict[str, str | None] = {}
    for sensor in config.sensors:
        if sensor.id not in config.cold_chain:
            continue
        built = probe_settings(config, sensor.id)
        span, _ = built.settings.span_at(now.timestamp())
        data: dict[str, str | int | bool | float | list[str] | None] = {
            "kind": "limits",
            "sensor_name": sensor.name,
            "place": sensor.place,
            "limit_set": config.cold_chain[sensor.id].limit_set,
            "high_c": span.high_c,
            "low_c": span.low_c,
            "changes": [change[:512] for change in built.changes][:64],
        }
        text = json.dumps(data, ensure_ascii=False, sort_keys=True)
        if saved.get(LIMITS_PREFIX + sensor.id) == text:
            continue
        state[LIMITS_PREFIX + sensor.id] = text
        event_id = new_id()
        events.append(
            Event(
                event_id=event_id, incident_id=event_id, type="box_status", severity="info", source_id=sensor.id,
                at=now, data=data,
            )
        )  # fmt: skip
    return events, state
