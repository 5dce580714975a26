"""What may be corrected in a signed report. The original is taken from the content, never from the person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from server.reports.document import Asset, Content
from server.series.port import to_ms


@dataclass(frozen=True)
class Target:
    """One statement of a report. ``label`` is a key of the catalogue, ``where`` says which of several it is."""

    key: str
    label: str
    where: str
    original: str
    at: datetime | None = None


def targets(content: Content) -> dict[str, Target]:
    """Everything that may be corrected, but single readings (see `reading_target`)."""
    return {target.key: target for index, asset in enumerate(content.assets) for target in _of_asset(index, asset)}


def _of_asset(index: int, asset: Asset) -> Iterator[Target]:
    sensor = asset.sensor
    where = sensor.ccp or sensor.name
    for name in ("serial", "calibrated_on", "calibration_due_on", "offset_c"):
        value = getattr(sensor, name)
        yield Target(f"{index}.{name}", f"report_{name}", where, "" if value is None else str(value))
    for item in asset.excursions:
        key = f"{index}.excursion.{item.alert_id}"
        actions = "; ".join(f"{action.by}: {action.note}" for action in item.actions if action.note)
        yield Target(f"{key}.cause", "report_cause", where, "; ".join(item.causes), item.opened_at)
        yield Target(f"{key}.action", "report_action", where, actions, item.opened_at)
    for number, gap in enumerate(asset.gaps):
        yield Target(f"{index}.gap.{number}.reason", "report_gap_reason", where, f"{gap.code} {gap.detail}", gap.start)


def reading_target(content: Content, at: datetime) -> Target | None:
    """The reading of that second, or None; only a report on one sensor holds readings."""
    first_ms = to_ms(at.replace(microsecond=0))
    for point in content.assets[0].points:
        if first_ms <= point[0] < first_ms + 1000:
            where = content.assets[0].sensor.name
            value = "" if point[1] is None else str(point[1])
            return Target(f"0.reading.{point[0]}", "report_reading", where, value, at)
    return None
