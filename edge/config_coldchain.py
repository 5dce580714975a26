"""Which probes get the full cold-chain judgement, and by which limits: the words of one entry are those of a replay.

A sensor is judged here or by the plain ``limits:``, never by both: two judges would tell one trouble twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from pydantic import model_validator

from edge.probe_settings import Place, ProbeSettings, build_settings
from edge.replay_schema import SensorEntry

if TYPE_CHECKING:
    from edge.config import EdgeConfig
    from edge.config_sensors import Sensor

PROBE_QUANTITY = "temperature"


class ColdChainEntry(SensorEntry):
    """One temperature probe. Its place, and with it the contacts beside it, stand in ``sensors``."""

    @model_validator(mode="before")
    @classmethod
    def _no_kind(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and "kind" in raw:
            raise ValueError("kind is for replays only; the box knows it from the sensor's quantity")
        return {} if raw is None else raw


def probe_settings(config: EdgeConfig, sensor_id: str) -> ProbeSettings:
    """The settings of one probe of *config*."""
    zone = ZoneInfo(config.box.time_zone)
    return build_settings(config.cold_chain[sensor_id], SensorEntry(), zone, config.folder)


def cold_chain_problems(config: EdgeConfig) -> Iterator[tuple[Place, str]]:
    """Everything wrong in the section that a single entry cannot know."""
    sensors = {sensor.id: sensor for sensor in config.sensors}
    plain = {limit.sensor for limit in config.limits}
    for sensor_id, entry in config.cold_chain.items():
        place = ("cold_chain", sensor_id)
        sensor = sensors.get(sensor_id)
        if sensor is None:
            yield place, "is no id in sensors"
            continue
        if sensor.quantity != PROBE_QUANTITY:
            yield place, f"is a sensor of {sensor.quantity}; only sensors of temperature are judged here"
        elif sensor.unit_of_measure != "°C":
            yield place, f"measures in {sensor.unit_of_measure!r}; only °C is judged here"
        if sensor_id in plain:
            yield (
                place,
                "has an entry in limits too; take out one of the two: limits is a plain threshold, cold_chain the"
                " full judgement",
            )
        if entry.twin is not None:
            yield from _twin_problems(config, sensors, sensor, entry.twin)
        yield from (((*place, *where), text) for where, text in probe_settings(config, sensor_id).problems)


def _twin_problems(
    config: EdgeConfig, sensors: Mapping[str, Sensor], sensor: Sensor, twin: str
) -> Iterator[tuple[Place, str]]:
    place = ("cold_chain", sensor.id, "twin")
    if twin == sensor.id or twin not in config.cold_chain:
        yield place, "is no other sensor of cold_chain"
    elif not sensor.place or twin not in sensors or sensors[twin].place != sensor.place:
        yield place, "hangs at another place; twins hang side by side, so give both the same place in sensors"
