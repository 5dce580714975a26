"""Readings that the judgement leaves out, late or impossible, neither move an incident nor end one."""

from __future__ import annotations

from datetime import timedelta

from edge.coldchain_watch import AssetWatch
from tests.edge.test_coldchain_watch import HOUR_S, MINUTE_S, START, feed, reading, types, watch


def warm() -> AssetWatch:
    """An excursion is open, at 12.4 °C at most."""
    asset = watch()
    feed(asset, 0, 2 * HOUR_S)
    assert "excursion_opened" in types(feed(asset, 2 * HOUR_S, 4 * HOUR_S, 12.0))
    return asset


def test_an_error_code_is_not_the_peak_of_an_excursion() -> None:
    asset = warm()
    events = asset.feed(reading(4 * HOUR_S, 85.0))
    events += feed(asset, 4 * HOUR_S + MINUTE_S, 5 * HOUR_S, 12.0)
    assert all(event.data["peak_c"] < 13.0 for event in events if event.type == "excursion_updated")
    assert asset.book.open["air/high"].peak_c == 12.4


def test_a_late_reading_is_not_the_peak_of_an_excursion() -> None:
    asset = warm()
    asset.feed(reading(HOUR_S, 30.0))
    assert asset.book.open["air/high"].peak_c == 12.4


def test_a_late_reading_does_not_end_a_gap() -> None:
    asset = watch()
    feed(asset, 0, 2 * HOUR_S)
    assert types(asset.tick(START + timedelta(hours=3))) == ["sensor_fault"]
    assert asset.feed(reading(HOUR_S, 4.0)) == []
    assert types(asset.feed(reading(3.1 * HOUR_S, 4.0))) == ["sensor_recovered"]
