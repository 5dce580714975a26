"""From a number to a reading: calibration applied, plausibility judged, the reason told. Pure.

What always holds: ``good`` is a finite value inside the sensor's plausible range; ``suspect`` has a value and a reason;
``bad`` has no value and a reason. Nothing is dropped.
"""

from __future__ import annotations

from datetime import datetime

from edge.config_sensors import Sensor
from telemetry.messages import Reading

VALUE_MAX = 1e12  # larger numbers are a wrong data type or word order, not a measurement
DECIMALS = 6
REASON_CHARS_MAX = 200


def assess(sensor: Sensor, value: float, observed_at: datetime, clock_synced: bool) -> Reading:
    """The reading for *value*, which is scaled but not calibrated; *observed_at* is UTC."""
    if not -VALUE_MAX < value < VALUE_MAX:  # also false for NaN
        return bad(sensor, "not a finite number", observed_at, clock_synced)
    value = round(value + sensor.calibration_offset, DECIMALS)
    plausible = sensor.plausible
    inside = plausible is None or plausible.min <= value <= plausible.max
    return Reading(
        sensor_id=sensor.id,
        quantity=sensor.quantity,
        value=value,
        unit=sensor.unit_of_measure,
        observed_at=observed_at,
        quality="good" if inside else "suspect",
        reason=None if inside else "outside plausible range",
        clock_synced=clock_synced,
    )


def bad(sensor: Sensor, reason: str, observed_at: datetime, clock_synced: bool) -> Reading:
    """The reading that says that there is no value, and why."""
    return Reading(
        sensor_id=sensor.id,
        quantity=sensor.quantity,
        value=None,
        unit=sensor.unit_of_measure,
        observed_at=observed_at,
        quality="bad",
        reason=reason[:REASON_CHARS_MAX],
        clock_synced=clock_synced,
    )
