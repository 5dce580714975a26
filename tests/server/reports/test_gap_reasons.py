"""Why readings are missing, and which events a report rests on, told by the box's own events."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.server.centre import AT, reading
from tests.server.reports.kitchen import Kitchen

MINUTE_S = 60.0


def gaps_of(kitchen: Kitchen, sensor: str, minutes: int) -> list[dict[str, Any]]:
    """The gaps between the first and the last reading."""
    query = {"sensor": sensor, "start": AT.isoformat(), "end": (AT + timedelta(minutes=minutes)).isoformat()}
    found: list[dict[str, Any]] = kitchen.draft(**query).json()["content"]["assets"][0]["gaps"]
    return found


def send_minutes(kitchen: Kitchen, sensor: str, *minutes: int) -> None:
    records = [reading(4.0, MINUTE_S * minute, sensor) for minute in minutes]
    assert kitchen.box.send(kitchen.box.seal("readings", records)).is_success


def test_a_gap_during_a_sensor_fault_is_put_down_to_it(kitchen: Kitchen) -> None:
    send_minutes(kitchen, "faulty", *range(10), *range(40, 50))
    for kind, minute in (("sensor_fault", 12), ("sensor_recovered", 39)):
        kitchen.box.send_event(
            kind, source_id="faulty", incident_id="fault-1", at=AT + timedelta(minutes=minute),
            data={"kind": "sensor_fault", "reason": "cable cut"},
        )  # fmt: skip
    [gap] = gaps_of(kitchen, "faulty", 50)
    assert (gap["code"], gap["detail"], gap["length_s"]) == ("sensor_fault", "cable cut", 31 * MINUTE_S)


def test_a_drift_that_was_told_before_and_the_gap_itself_explain_no_gap(kitchen: Kitchen) -> None:
    send_minutes(kitchen, "drifting", *range(10), *range(50, 60))
    for code, kind, minute in (("drift", "sensor_fault", 5), ("data_gap", "data_gap", 40)):
        kitchen.box.send_event(
            "sensor_fault", source_id="drifting", at=AT + timedelta(minutes=minute),
            data={"kind": kind, "code": code, "reason": "said by the judgement"},
        )  # fmt: skip
    [gap] = gaps_of(kitchen, "drifting", 60)
    assert (gap["code"], gap["detail"]) == ("unknown", "")


def test_readings_that_the_box_gave_up_for_want_of_space_are_told_as_such(kitchen: Kitchen) -> None:
    send_minutes(kitchen, "evicted", *range(10))
    kitchen.box.seal("readings", [reading(4.0, MINUTE_S * 15, "evicted")])  # sealed, then given up
    first = kitchen.box.header("readings").seq - 1
    send_minutes(kitchen, "evicted", *range(30, 40))
    kitchen.box.send_event(
        "data_gap", source_id=kitchen.box.box_id, at=AT + timedelta(minutes=35),
        data={"reason": "evicted", "epoch": kitchen.box.epoch, "first_seq": first, "last_seq": first, "records": 1},
    )  # fmt: skip
    [gap] = gaps_of(kitchen, "evicted", 40)
    assert (gap["code"], gap["detail"]) == ("evicted", f"{first}-{first}")


def test_a_silence_without_any_word_is_told_as_unexplained(kitchen: Kitchen) -> None:
    send_minutes(kitchen, "silent", *range(10))
    send_minutes(kitchen, "silent", *range(30, 40))
    [gap] = gaps_of(kitchen, "silent", 40)
    assert (gap["code"], gap["detail"]) == ("unknown", "")


def test_an_excursion_that_began_long_before_the_period_is_reported_with_its_batches(kitchen: Kitchen) -> None:
    later = AT + timedelta(days=3)
    kitchen.box.send_event(source_id="slow", incident_id="slow-1", at=AT, data={"side": "high"})
    offset_s = (later - AT).total_seconds()
    records = [reading(9.0, offset_s + MINUTE_S * minute, "slow") for minute in range(10)]
    assert kitchen.box.send(kitchen.box.seal("readings", records)).is_success
    opening = kitchen.box.header("events").seq - 1
    query = {"sensor": "slow", "start": later.isoformat(), "end": (later + timedelta(minutes=10)).isoformat()}
    content = kitchen.draft(**query).json()["content"]
    asset = content["assets"][0]
    assert [(item["opened_at"], item["ended_at"]) for item in asset["excursions"]] == [("2026-01-02T03:04:05Z", None)]
    assert (asset["limits"][0]["high_c"], asset["limits"][0]["source"]) == (8.0, "box")
    assert asset["statistics"]["above_s"] == 600
    events = next(lane for lane in content["lanes"] if lane["lane"] == "events")
    assert [seq for seq, _ in events["batches"]] == [opening]
