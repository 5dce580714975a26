"""Reports over readings that a box told before its clock was right, whose correction came later, and over the limits
that a box told to judge by.
"""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from sqlalchemy import update

from server.models import SeriesPoint
from server.models_uplink import ClockCorrection
from server.reports.models import BatchSource
from telemetry.messages import Event, Reading
from tests.server.centre import AT, Box, Centre, run_here
from tests.server.reports.kitchen import SITE, Kitchen

OFFSET_S = 40 * 365 * 86_400.0  # the box woke up in the past
TRUE_START = AT + timedelta(days=3)
SENSOR = "cold-2"
SHIFT_MS = 10 * 3_600_000


def told_early(number: int) -> Reading:
    at = TRUE_START + timedelta(minutes=number) - timedelta(seconds=OFFSET_S)
    return Reading(
        sensor_id=SENSOR, quantity="temperature", value=4.0 + number % 7 / 10, unit="°C", observed_at=at,
        quality="good", reason=None, clock_synced=False,
    )  # fmt: skip


def send_late(box: Box, *, boot_id: str = "early") -> None:
    """Readings and an excursion at a wrong time, then what the clock was off by."""
    frames = [
        box.seal("readings", [told_early(number) for number in range(start, start + 20)], boot_id=boot_id)
        for start in range(0, 120, 20)
    ]
    told_at = TRUE_START + timedelta(minutes=40) - timedelta(seconds=OFFSET_S)
    data = {"side": "high", "limit_c": 4.2, "sensor_name": "冷藏库 2", "peak_c": 4.6, "value_c": 4.6}
    opened = box.event("excursion_opened", at=told_at, source_id=SENSOR, incident_id="early-1", data=data)
    frames.append(box.seal("events", [opened.model_copy(update={"clock_synced": False})], boot_id=boot_id))
    frames.append(box.seal("events", [correction(box, boot_id)], boot_id=boot_id))
    for frame in frames:
        assert box.send(frame).json()["receipts"][0]["status"] == "accepted"


def correction(box: Box, boot_id: str) -> Event:
    return box.event("clock_corrected", data={"boot_id": boot_id, "offset_s": OFFSET_S})


@pytest.fixture(scope="module")
def kitchen(centre: Centre) -> Kitchen:
    """A box and a person who signs; nothing else is asked of it here."""
    wang = centre.person("staff", SITE)
    return Kitchen(centre, centre.box(SITE), wang, wang, wang, wang, 0, b"")


@pytest.fixture(scope="module")
def wanted(kitchen: Kitchen) -> dict[str, str]:
    send_late(kitchen.box)
    end = TRUE_START + timedelta(hours=2)
    return {"sensor": SENSOR, "start": TRUE_START.isoformat(), "end": end.isoformat()}


def test_a_report_over_times_put_right_later_is_signed_and_proven(kitchen: Kitchen, wanted: dict[str, str]) -> None:
    draft = kitchen.draft(**wanted).json()["content"]
    assert len(draft["assets"][0]["points"]) == 120
    assert draft["batches"] == 7  # six of readings, one of the excursion
    assert len(draft["assets"][0]["excursions"]) == 1
    number = kitchen.signed(**wanted)
    found = json.loads(run_here("verify", "--json", "--data", str(kitchen.centre.data)).stdout)
    assert [problem for problem in found["problems"] if number in problem] == []


def test_a_correction_that_no_batch_proves_moves_nothing_in_a_report(centre: Centre, kitchen: Kitchen) -> None:
    """Whoever writes another offset into the derived table gets no report signed."""
    box = centre.box(SITE)
    send_late(box)
    mine = (ClockCorrection.box_id == box.box_id, SeriesPoint.box_id == box.box_id)
    with centre.changing() as db:
        db.execute(update(ClockCorrection).where(mine[0]).values(offset_ms=ClockCorrection.offset_ms + SHIFT_MS))
        db.execute(update(SeriesPoint).where(mine[1]).values(observed_at_ms=SeriesPoint.observed_at_ms + SHIFT_MS))
        spans = {"first_ms": BatchSource.first_ms + SHIFT_MS, "last_ms": BatchSource.last_ms + SHIFT_MS}
        db.execute(
            update(BatchSource).where(BatchSource.box_id == box.box_id, BatchSource.lane == "readings").values(spans)
        )
    moved = {"start": TRUE_START + timedelta(hours=10), "end": TRUE_START + timedelta(hours=12)}
    answer = kitchen.sign(box=box.box_id, sensor=SENSOR, **{name: at.isoformat() for name, at in moved.items()})
    assert answer.status_code == 409


def told_limits(box: Box, minute: int, **data: object) -> Event:
    """As the box tells them at a start and at each change."""
    at = TRUE_START + timedelta(minutes=minute)
    return box.event("box_status", at=at, source_id="cold-3", data={"kind": "limits", "high_c": None, **data})


def test_the_limits_of_a_report_are_those_that_the_box_told(centre: Centre, kitchen: Kitchen) -> None:
    box = centre.box(SITE)
    readings = [
        told_early(number).model_copy(
            update={"sensor_id": "cold-3", "observed_at": TRUE_START + timedelta(minutes=number), "clock_synced": True}
        )
        for number in range(0, 180, 10)
    ]
    changes = ["high limit tightened from 8 °C to 5 °C"]
    events = [
        told_limits(box, -9_000, limit_set="canteen-refrigerator", high_c=8.0, low_c=0.0),
        told_limits(box, 30, limit_set="canteen-refrigerator", high_c=5.0, low_c=0.0, changes=changes),
        told_limits(box, 400, high_c=1.0),
    ]
    frames = [box.seal("readings", readings), *(box.seal("events", [event]) for event in events)]
    assert all(receipt["status"] == "accepted" for receipt in box.send(*frames).json()["receipts"])
    end = TRUE_START + timedelta(hours=2)
    period = {"box": box.box_id, "sensor": "cold-3", "start": TRUE_START.isoformat(), "end": end.isoformat()}
    content = kitchen.draft(**period).json()["content"]
    limits = content["assets"][0]["limits"]
    assert [(part["high_c"], part["low_c"], part["source"]) for part in limits] == [
        (8.0, 0.0, "box"),
        (5.0, 0.0, "box"),
    ]
    assert [part["basis"] for part in limits] == [
        "canteen-refrigerator",
        "canteen-refrigerator; high limit tightened from 8 °C to 5 °C",
    ]
    assert limits[1]["since"].startswith((TRUE_START + timedelta(minutes=30)).isoformat()[:19])
    assert content["batches"] == 3  # the readings, and what told the two limits
