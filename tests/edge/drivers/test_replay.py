"""A recorded file as a driver: its rhythm, its gaps, and going on after a restart where it stopped."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config_ports import ReplayFile
from edge.config_sensors import ReplaySensor
from edge.drivers.port import Delivery
from edge.drivers.replay import ReplayDriver, _time

DEADLINE_S = 30.0
FILE = """\
time,air,core
2026-01-02T03:00:00Z,3.5,3.0
2026-01-02T03:01:00Z,,3.1
not a time,9,9
2026-01-02 03:02:00,warm,3.2
2026-01-02T11:03:00+08:00,4.5,
"""


def sensors() -> list[ReplaySensor]:
    return [
        ReplaySensor.model_validate({"type": "replay", "id": name, "name": name, "file": "f", "column": name})
        for name in ("air", "core")
    ]


def play(path: Path, count: int, saved: dict[str, str] | None = None, **options: Any) -> list[Delivery]:
    async def run() -> list[Delivery]:
        replay = ReplayFile.model_validate({"id": "f", "file": path, "speed": 6000, "times": "original"} | options)
        found: list[Delivery] = []
        async with asyncio.timeout(DEADLINE_S), ReplayDriver(replay, sensors(), lambda: False, saved) as driver:
            async for delivery in driver.deliveries():
                found.append(delivery)
                if len(found) == count:
                    break
        return found

    return asyncio.run(run())


def test_rows_become_readings_with_their_times_and_gaps_stay_gaps(tmp_path: Path) -> None:
    path = tmp_path / "day.csv"
    path.write_text(FILE, "utf-8")
    found = [reading for delivery in play(path, 4) for reading in delivery.readings]
    assert [(reading.sensor_id, reading.value) for reading in found] == [
        ("air", 3.5), ("core", 3.0), ("core", 3.1), ("air", None), ("core", 3.2), ("air", 4.5),
    ]  # fmt: skip
    assert found[-1].observed_at == datetime(2026, 1, 2, 3, 3, tzinfo=UTC)
    assert found[3].observed_at == datetime(2026, 1, 2, 3, 2, tzinfo=UTC)
    assert all(reading.clock_synced for reading in found)


def test_a_restart_goes_on_with_the_next_row(tmp_path: Path) -> None:
    path = tmp_path / "day.csv"
    path.write_text(FILE, "utf-8")
    for done in range(1, 4):
        first = play(path, done)
        state = {key: str(value) for delivery in first for key, value in delivery.state.items()}
        rest = play(path, 4 - done, state)
        whole = [reading.value for delivery in first + rest for reading in delivery.readings]
        assert whole == [3.5, 3.0, 3.1, None, 3.2, 4.5]


def test_times_now_stamps_rows_when_they_are_played_and_repeat_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "day.csv"
    path.write_text(FILE, "utf-8")
    found = play(path, 5, times="now", repeat=True)
    assert datetime.now(UTC) - found[0].readings[0].observed_at < datetime.now(UTC) - datetime(2026, 1, 3, tzinfo=UTC)
    assert not found[0].readings[0].clock_synced
    assert found[4].readings[0].value == 3.5


def test_a_file_without_the_column_or_no_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "day.csv"
    with pytest.raises(FileNotFoundError):
        play(path, 1)
    path.write_text("time,air\n", "utf-8")
    with pytest.raises(OSError, match="no column core"):
        play(path, 1)


@given(st.text(max_size=40))
def test_any_text_is_a_utc_time_or_none(text: str) -> None:
    at = _time(text)
    assert at is None or at.tzinfo is UTC
