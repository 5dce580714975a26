"""Times told before the clock was right are repaired once the box tells the offset, before or after; none is lost."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import permutations

import pytest

from telemetry.messages import Event, Reading
from tests.server.centre import AT, Box, Centre, Person, reading, run_here

OFFSET_S = 10.0  # as long as the interval: the repaired times fall onto told ones


def unsynced(number: int) -> Reading:
    return reading(float(number), 10.0 * number).model_copy(update={"clock_synced": False})


def correction(box: Box, offset_s: float = OFFSET_S, boot_id: str = "boot") -> Event:
    return box.event("clock_corrected", data={"boot_id": boot_id, "offset_s": offset_s})


def points(centre: Centre, box: Box) -> list[tuple[float, float]]:
    """Seconds after AT and value of each point of the series."""
    start_ms = AT.timestamp() * 1000
    rows = [row for row in centre.dump()["series_point"] if row[0] == box.box_id]
    return sorted(((row[3] - start_ms) / 1000, row[4]) for row in rows)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_points_end_at_their_true_times_in_whatever_order_things_arrive(centre: Centre, order: tuple[int, ...]) -> None:
    box = centre.box()
    frames = [
        box.seal("readings", [unsynced(number) for number in range(5)]),
        box.seal("readings", [unsynced(5), reading(99.0, 1000.0)]),
        box.seal("events", [correction(box)]),
    ]
    for index in order:
        assert box.send(frames[index]).status_code == 200
    expected = [(10.0 * number + OFFSET_S, float(number)) for number in range(6)]
    assert points(centre, box) == [*expected, (1000.0, 99.0)]
    told = [row for row in centre.dump()["unsynced_point"] if row[1] == box.box_id]
    assert len(told) == 6


def test_a_told_time_that_was_taken_does_not_harm_the_point_that_was_there(centre: Centre) -> None:
    box = centre.box()
    box.send(box.seal("readings", [reading(7.0, 0.0)], boot_id="before"))
    box.send(box.seal("readings", [unsynced(0)]))
    assert points(centre, box) == [(0.0, 7.0)]
    box.send(box.seal("events", [correction(box, 3600.0)]))
    assert points(centre, box) == [(0.0, 7.0), (3600.0, 0.0)]


def test_only_the_boot_that_is_named_is_corrected_and_only_once(centre: Centre) -> None:
    box = centre.box()
    box.send(box.seal("readings", [unsynced(1)], boot_id="other"), box.seal("readings", [unsynced(2)]))
    box.send(box.seal("events", [correction(box, 100.0)]), box.seal("events", [correction(box, 500.0)]))
    assert points(centre, box) == [(10.0, 1.0), (120.0, 2.0)]


@pytest.mark.parametrize("late", [False, True])
def test_an_alert_raised_under_a_wrong_clock_gets_its_true_time(centre: Centre, regulator: Person, late: bool) -> None:
    box = centre.box()
    event = box.event("excursion_opened").model_copy(update={"clock_synced": False})
    frames = [box.seal("events", [event]), box.seal("events", [correction(box, 3600.0)])]
    for frame in reversed(frames) if late else frames:
        assert box.send(frame).json()["receipts"][0]["status"] == "accepted"
    found = regulator.get("/api/v1/alerts", params={"limit": 200}).json()["alerts"]
    alert = next(item for item in found if item["incident_id"] == event.incident_id)
    assert alert["opened_at"].startswith((AT + timedelta(hours=1)).isoformat()[:19])


def test_the_repaired_record_is_proven_from_the_journal(centre: Centre) -> None:
    found = run_here("verify", "--json", "--data", str(centre.data))
    assert json.loads(found.stdout)["problems"] == []


@pytest.mark.parametrize(
    "data", [{"boot_id": "boot"}, {"boot_id": 7, "offset_s": 1}, {"boot_id": "boot", "offset_s": 1e12}]
)
def test_a_correction_that_makes_no_sense_changes_nothing(centre: Centre, data: dict[str, object]) -> None:
    box = centre.box()
    box.send(box.seal("readings", [unsynced(1)]), box.seal("events", [box.event("clock_corrected", data=data)]))
    assert points(centre, box) == [(10.0, 1.0)]
