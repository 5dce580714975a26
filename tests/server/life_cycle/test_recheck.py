"""The second look: a box answers once, a temperature is answered from its own readings, silence is told as such."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from server.life_cycle.recheck import RecheckOver, Result, answer_recheck, give_up_recheck, judge_points
from server.models_life_cycle import Recheck
from server.series.port import Point, SeriesKey
from tests.server.life_cycle.record import MORNING, Desk

START, END = MORNING, MORNING + timedelta(minutes=15)


def points(*values: float | None, every_min: float = 3) -> list[tuple[datetime, float | None]]:
    return [(START + timedelta(minutes=every_min * number), value) for number, value in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "limit", "side", "result"),
    [
        (points(4, 4, 5, 4, 4, 4), 8.0, "high", "compliant"),
        (points(4, 4, 9, 4, 4, 4), 8.0, "high", "violating"),
        (points(-20, -20, -12, -20, -20, -20), -18, None, "violating"),
        (points(61, 59, 61, 61, 61, 61), 60, "low", "violating"),
        (points(61, 62, 61, 61, 61, 61), 60, "low", "compliant"),
        (points(4, None, None, 4, 4, 4), 8.0, "high", "unknown"),
        (points(4, 4), 8.0, "high", "unknown"),
        (points(4, 12), 8.0, "high", "violating"),
        ([], 8.0, "high", "unknown"),
        (points(4, 4, 4, 4, 4, 4), None, "high", "unknown"),
        (points(4, 4, 4, 4, 4, 4), float("nan"), "high", "unknown"),
        (points(4, 4, 4, 4, 4, 4), True, "high", "unknown"),
    ],
)
def test_a_temperature_is_well_when_no_reading_of_the_hold_time_is_beyond_the_limit_and_none_is_missing(
    values: list[tuple[datetime, float | None]], limit: Any, side: Any, result: Result
) -> None:
    assert judge_points(values, limit, side, START, END)[0] == result


@dataclass
class Readings:
    """A series store with one reading a minute, warm until a time."""

    warm_until: datetime

    def range(self, key: SeriesKey, start_ms: int, end_ms: int) -> Iterator[Point]:
        for at_ms in range(start_ms, end_ms + 1, 60_000):
            value = 12.0 if at_ms < self.warm_until.timestamp() * 1000 else 4.0
            yield Point(*key, at_ms, value, "good")


def submitted(desk: Desk, kind: str = "no_mask", **fields: Any) -> Recheck:
    desk.submit(desk.raised(kind, **fields))
    return desk.rows(Recheck)[-1]


def test_the_box_is_asked_for_the_same_camera_zone_and_kind_and_answers_once(desk: Desk) -> None:
    asked = submitted(desk, data={"zone": "备餐间", "model_sha256": "m" * 64})
    assert (asked.state, asked.way, asked.box_id, asked.source_id) == ("asked", "box", "box-A", "cam-1")
    assert (asked.zone, asked.kind, asked.result) == ("备餐间", "no_mask", "")
    with desk.changing() as db:
        alert = answer_recheck(db, asked.id, "violating", desk.now, evidence_sha256="e" * 64, reason="2 persons")
        assert alert.state == "submitted", "the reviewer decides"
    (found,) = desk.rows(Recheck)
    assert (found.state, found.result, found.evidence_sha256) == ("answered", "violating", "e" * 64)
    for again in (
        lambda db: answer_recheck(db, asked.id, "compliant", desk.now),
        lambda db: give_up_recheck(db, asked.id, "gone", desk.now),
        lambda db: answer_recheck(db, 999, "compliant", desk.now),
    ):
        with desk.changing() as db, pytest.raises(RecheckOver):
            again(db)


def test_a_box_that_stays_silent_is_told_as_such_and_its_late_answer_still_counts(desk: Desk) -> None:
    asked = submitted(desk)
    desk.later(minutes=29)
    desk.clockwork().work_off()
    assert desk.rows(Recheck)[0].state == "asked"
    desk.later(minutes=1)
    desk.clockwork().work_off()
    (found,) = desk.rows(Recheck)
    assert (found.state, found.reason, found.answered_at) == ("unavailable", "late", desk.now)
    with desk.changing() as db:
        answer_recheck(db, asked.id, "compliant", desk.now)
    assert desk.rows(Recheck)[0].result == "compliant"


@pytest.mark.parametrize(("cools_after_min", "result"), [(14, "compliant"), (16, "violating")])
def test_a_temperature_is_answered_from_its_readings_when_the_time_is_over(
    desk: Desk, cools_after_min: int, result: Result
) -> None:
    desk.series = Readings(desk.now + timedelta(minutes=cools_after_min))
    submitted(desk, "temperature_excursion", source="cold-1", data={"limit_c": 8.0, "side": "high"})
    desk.later(minutes=30)
    desk.clockwork().work_off()
    (found,) = desk.rows(Recheck)
    assert (found.way, found.state, found.result) == ("series", "answered", result)
    assert "limit 8 °C" in found.reason


def test_readings_that_cannot_be_asked_for_are_told_as_such(desk: Desk) -> None:
    submitted(desk, "temperature_excursion", source="cold-1", data={"limit_c": 8.0})
    desk.later(minutes=30)
    desk.clockwork().work_off()
    assert [(row.state, row.reason) for row in desk.rows(Recheck)] == [("unavailable", "series_unavailable")]


@pytest.mark.parametrize(("over", "result"), [(True, "compliant"), (False, "violating")])
def test_a_fault_of_a_device_is_over_when_its_box_said_so(desk: Desk, over: bool, result: Result) -> None:
    found = submitted(desk, "sensor_fault", ended_at=desk.now if over else None)
    assert (found.way, found.state, found.result) == ("ended", "answered", result)


def test_a_kind_that_no_box_can_look_at_is_not_looked_at(desk: Desk) -> None:
    desk.submit(desk.raised("licence_expiry"))
    assert desk.rows(Recheck) == []
