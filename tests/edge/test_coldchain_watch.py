"""The cold-chain judgement in the box: the findings of a replay become events of incidents, over restarts too."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from edge.clock import ClockStep
from edge.coldchain_watch import AssetWatch
from edge.config_sensors import ModbusSensor, Sensor
from telemetry.coldchain.settings import LimitSpan, SensorSettings
from telemetry.messages import Event, Quality, Reading

START = datetime(2026, 6, 1, tzinfo=UTC)
MINUTE_S, HOUR_S = 60.0, 3_600.0
SETTINGS = SensorSettings(limits=(LimitSpan(float("-inf"), 8.0, 0.0),))


def sensor(sensor_id: str, quantity: str = "temperature") -> Sensor:
    return ModbusSensor.model_validate(
        {"type": "modbus", "id": sensor_id, "name": f"冷库 {sensor_id}", "place": "冷库", "port": "p", "unit": 1,
         "register": 0, "quantity": quantity}
    )  # fmt: skip


def watch(saved: Mapping[str, str] | None = None, *others: Sensor) -> AssetWatch:
    sensors = {item.id: item for item in (sensor("air"), *others)}
    probes = {item.id: SETTINGS for item in sensors.values() if item.quantity == "temperature"}
    return AssetWatch("冷库", probes, (), sensors, UTC, saved or {})


def reading(
    at_s: float,
    value: float | None,
    sensor_id: str = "air",
    *,
    quality: Quality = "good",
    synced: bool = True,
) -> Reading:
    return Reading(
        sensor_id=sensor_id, quantity="q", value=value, unit="", observed_at=START + timedelta(seconds=at_s),
        quality=quality, clock_synced=synced,
    )  # fmt: skip


def cycling(at_s: float) -> float:
    """A quiet room that moves by a tenth with each reading."""
    return 4.0 + 0.1 * (at_s // MINUTE_S % 5)


def feed(asset: AssetWatch, since_s: float, until_s: float, value_c: float | None = None) -> list[Event]:
    """One reading a minute; a quiet room without *value_c*, else that warm with the same small movement."""
    lift_c = 0.0 if value_c is None else value_c - 4.0
    return [
        event
        for minute in range(int(since_s // MINUTE_S), int(until_s // MINUTE_S))
        for event in asset.feed(reading(minute * MINUTE_S, round(cycling(minute * MINUTE_S) + lift_c, 1)))
    ]


def types(events: list[Event]) -> list[str]:
    return [event.type for event in events]


def test_excursion_is_one_incident_from_opening_over_its_worsening_to_its_end() -> None:
    asset = watch()
    events = feed(asset, 0, 2 * HOUR_S)
    assert events == []
    events = feed(asset, 2 * HOUR_S, 5 * HOUR_S, 12.0) + feed(asset, 5 * HOUR_S, 40 * HOUR_S)
    excursion = [event for event in events if event.type.startswith("excursion")]
    assert types(excursion)[0] == "excursion_opened"
    assert types(excursion)[-1] == "excursion_closed"
    assert set(types(excursion)[1:-1]) == {"excursion_updated"}
    assert len({event.incident_id for event in excursion}) == 1
    assert len({event.event_id for event in events}) == len(events)
    opened, closed = excursion[0], excursion[-1]
    assert opened.at <= START + timedelta(hours=2, minutes=45)
    assert opened.data["kind"] == "temperature_excursion"
    assert (opened.data["sensor_name"], opened.data["place"], opened.data["side"]) == ("冷库 air", "冷库", "high")
    assert (opened.data["limit_c"], opened.data["peak_c"]) == (8.0, 12.4)
    assert "above the limit" in str(opened.data["reason"])
    assert closed.data["peak_c"] == 12.4
    assert "reason" not in closed.data  # the alert page keeps what the opening said
    assert str(closed.data["end_reason"]).startswith("inside for")


def test_peak_is_told_again_only_while_it_moves_on_and_at_most_once_in_ten_minutes() -> None:
    asset = watch()
    feed(asset, 0, HOUR_S)
    events = []
    for minute in range(60, 300):  # one degree in ten minutes for an hour and a half, then flat
        value_c = 9.0 + 0.1 * min(minute - 60, 90)
        events += asset.feed(reading(minute * MINUTE_S, round(value_c + 0.1 * (minute % 2), 1)))
    updates = [event for event in events if event.type == "excursion_updated" and "update_reason" not in event.data]
    assert len(updates) >= 3
    told = [event for event in events if event.type in ("excursion_opened", "excursion_updated")]
    for before, after in itertools.pairwise(told):
        if after in updates:
            assert (after.at - before.at).total_seconds() >= 600
            assert float(str(after.data["peak_c"])) - float(str(before.data["peak_c"])) >= 0.5
    assert updates[-1].at <= START + timedelta(minutes=165)


def test_restart_at_any_saved_state_keeps_the_incident_and_its_timers() -> None:
    whole = watch()
    expected = feed(whole, 0, HOUR_S) + feed(whole, HOUR_S, 4 * HOUR_S, 12.0) + feed(whole, 4 * HOUR_S, 30 * HOUR_S)
    saved: dict[str, str] = {}
    events: list[Event] = []
    for since_s in range(0, 30 * 3_600, 1_800):
        asset = watch(saved)
        value_c = 12.0 if HOUR_S <= since_s < 4 * HOUR_S else None
        for minute in range(30):
            events += feed(asset, since_s + minute * MINUTE_S, since_s + (minute + 1) * MINUTE_S, value_c)
            saved |= {key: text for key, text in asset.changes().items() if text is not None}
    assert [(event.type, event.at) for event in events] == [(event.type, event.at) for event in expected]
    excursion = [event for event in events if event.type.startswith("excursion")]
    assert len({event.incident_id for event in excursion}) == 1


def test_state_is_saved_at_a_finding_at_the_limit_and_else_once_a_minute() -> None:
    asset = watch()
    saves = []
    for index in range(120):
        value_c = 8.5 if index in (50, 51, 52) else round(5.0 + 0.1 * (index % 3), 1)
        asset.feed(reading(index * 5.0, value_c))
        if asset.changes():
            saves.append(index)
    assert saves[:4] == [0, 12, 24, 36]
    assert {50, 53} <= set(saves)
    assert len(saves) <= 14


def test_contacts_beside_a_silent_probe_are_saved_no_more_often() -> None:
    asset = watch(None, sensor("door", "door"))
    saves = 0
    for index in range(120):
        asset.feed(reading(index * 5.0, 0.0, "door"))
        saves += bool(asset.changes())
    assert saves == 10


def test_judgement_goes_back_and_the_same_reading_then_opens_the_same_excursion() -> None:
    asset = watch()
    feed(asset, 0, HOUR_S)
    events: list[Event] = []
    minute = 60
    while not any(event.type == "excursion_opened" for event in events):
        assert minute < 180
        before = asset.state()
        events = asset.feed(reading(minute * MINUTE_S, 12.0 + 0.1 * (minute % 2)))
        minute += 1
    asset.go_back(before)
    assert asset.state() == before
    again = asset.feed(reading((minute - 1) * MINUTE_S, 12.0 + 0.1 * ((minute - 1) % 2)))
    assert [(event.type, event.at, event.data) for event in again] == [
        (event.type, event.at, event.data) for event in events
    ]
    assert asset.changes()


def test_bad_readings_are_not_judged_and_suspect_ones_are() -> None:
    asset = watch()
    feed(asset, 0, HOUR_S)
    before = asset.engine.state()
    assert asset.feed(reading(HOUR_S, None, quality="bad")) == []
    assert asset.engine.state() == before
    asset.feed(reading(HOUR_S + 60, 7.5, quality="suspect"))
    assert asset.engine.probes["air"].last_c == 7.5


def test_gap_is_told_by_the_passing_of_time_and_ended_by_the_next_reading() -> None:
    asset = watch()
    feed(asset, 0, HOUR_S)
    assert asset.tick(START + timedelta(minutes=80)) == []
    [gap] = asset.tick(START + timedelta(minutes=95))
    assert asset.tick(START + timedelta(minutes=99)) == []
    assert (gap.type, gap.data["kind"]) == ("sensor_fault", "data_gap")
    assert asset.changes()
    [back] = feed(asset, 100 * MINUTE_S, 101 * MINUTE_S)
    assert (back.type, back.incident_id, back.data["kind"]) == ("sensor_recovered", gap.incident_id, "data_gap")


def test_sensor_that_answers_with_faults_is_not_told_as_missing_too() -> None:
    asset = watch()
    feed(asset, 0, HOUR_S)
    for minute in range(60, 64):
        asset.feed(reading(minute * MINUTE_S, None, quality="bad"))
    assert asset.tick(START + timedelta(minutes=120)) == []
    assert feed(asset, 121 * MINUTE_S, 125 * MINUTE_S) == []


def test_stuck_sensor_is_a_fault_until_it_moves() -> None:
    asset = watch()
    feed(asset, 0, 3 * HOUR_S)
    events = [event for minute in range(180, 2_200) for event in asset.feed(reading(minute * MINUTE_S, 4.0))]
    fault = next(event for event in events if event.type == "sensor_fault")
    assert (fault.data["kind"], fault.data["code"]) == ("sensor_fault", "stuck")
    [back] = [e for e in feed(asset, 2_201 * MINUTE_S, 2_203 * MINUTE_S) if e.type == "sensor_recovered"]
    assert back.incident_id == fault.incident_id


def test_door_and_power_beside_the_probe_are_heard_and_named_by_their_own_sensor() -> None:
    asset = watch(None, sensor("door", "door"), sensor("door-2", "door"), sensor("mains", "power"))
    feed(asset, 0, MINUTE_S)
    asset.feed(reading(60, 1.0, "door"))
    asset.feed(reading(120, 0.0, "door-2"))  # the other door is closed: the place is open all the same
    [left_open] = asset.tick(START + timedelta(minutes=12))
    assert (left_open.type, left_open.source_id, left_open.data["code"]) == ("warning", "door", "door_open_long")
    assert left_open.data["kind"] == "temperature_warning"
    [failed] = asset.feed(reading(780, 0.0, "mains"))
    assert (failed.source_id, failed.data["code"]) == ("mains", "power_failed")
    assert failed.incident_id != left_open.incident_id


def test_warning_tells_when_the_limit_will_be_crossed_and_why() -> None:
    asset = watch(None, sensor("mains", "power"))
    feed(asset, 0, 48 * HOUR_S)
    asset.feed(reading(48 * HOUR_S, 1.0, "mains"))
    asset.feed(reading(48 * HOUR_S + 1, 0.0, "mains"))
    events: list[Event] = []
    for minute in range(48 * 60 + 1, 51 * 60):
        value_c = 4.4 + 0.06 * (minute - 48 * 60)
        events += asset.feed(reading(minute * MINUTE_S, round(value_c, 1)))
    warning = next(event for event in events if event.type == "warning")
    assert datetime.fromisoformat(str(warning.data["forecast_at"])) > warning.at
    causes = warning.data["causes"]
    assert isinstance(causes, list)
    assert causes[0].startswith("power_failed: no mains power since")
    assert "rising" in str(warning.data["reason"])


@pytest.mark.parametrize("saved", ["", "{}", '{"engine": {}, "incidents": {}, "contacts": {}}', "[1]"])
def test_damaged_state_is_told_and_the_judgement_begins_anew(saved: str, caplog: pytest.LogCaptureFixture) -> None:
    asset = watch({"coldchain/冷库": saved, "coldchain-clock/冷库": "[]"})
    assert len(caplog.records) == 2
    assert "excursion_opened" in types(feed(asset, 0, 3 * HOUR_S, 12.0))


def test_incident_whose_judgement_was_lost_is_ended() -> None:
    asset = watch()
    feed(asset, 0, 3 * HOUR_S, 12.0)
    [(key, text)] = [(key, text) for key, text in asset.changes().items() if text]
    damaged = watch({key: text.replace('"version":1', '"version":0')})
    [ended] = feed(damaged, 4 * HOUR_S, 4 * HOUR_S + 60)
    assert (ended.type, ended.data["end_reason"]) == ("excursion_closed", "the judgement began anew")


@pytest.mark.parametrize("offset_s", [-86_400.0 * 365, 86_400.0 * 365 + 1_260.0])
def test_step_of_the_clock_is_neither_a_gap_nor_time_outside(offset_s: float) -> None:
    plain, stepped = watch(), watch()
    expected = feed(plain, 0, HOUR_S) + feed(plain, HOUR_S, 5 * HOUR_S, 9.0)
    saved: dict[str, str] = {}
    events = feed(stepped, 0, HOUR_S) + feed(stepped, HOUR_S, 1.5 * HOUR_S, 9.0)
    saved |= {key: text for key, text in stepped.changes().items() if text is not None}
    saved |= {k: v for k, v in stepped.step_clock(ClockStep(offset_s, first=False)).items() if v is not None}
    resumed = watch(saved)
    assert resumed.tick(START + timedelta(seconds=1.5 * HOUR_S + offset_s)) == []
    later = feed(resumed, 1.5 * HOUR_S + offset_s, 5 * HOUR_S + offset_s, 9.0)
    events += [event.model_copy(update={"at": event.at - timedelta(seconds=offset_s)}) for event in later]
    assert [(event.type, event.at) for event in events] == [(event.type, event.at) for event in expected]


def test_box_that_wakes_up_in_the_past_goes_on_and_is_put_right_without_a_jump() -> None:
    asset = watch()
    feed(asset, 0, HOUR_S)
    feed(asset, HOUR_S, 1.5 * HOUR_S, 9.0)
    saved = {key: text for key, text in asset.changes().items() if text is not None}
    resumed = watch(saved)
    wrong_s = -1_000 * HOUR_S
    events: list[Event] = []
    for minute in range(10):
        value_c = 9.0 + 0.1 * (minute % 3)
        events += resumed.feed(reading(wrong_s + minute * MINUTE_S, value_c, synced=False))
    assert events == []
    assert resumed.engine.probes["air"].high.since_s is not None
    resumed.step_clock(ClockStep(-wrong_s + 2 * HOUR_S, first=True))
    since_s = 2 * HOUR_S + 10 * MINUTE_S
    opened = [e for e in feed(resumed, since_s, since_s + HOUR_S, 9.0) if e.type == "excursion_opened"]
    assert len(opened) == 1
    assert timedelta(0) <= opened[0].at - (START + timedelta(seconds=since_s)) <= timedelta(minutes=6)


def test_life_whose_clock_was_never_right_leaves_no_jump_to_the_next() -> None:
    asset = watch()
    feed(asset, 0, HOUR_S)
    feed(asset, HOUR_S, 1.5 * HOUR_S, 9.0)
    saved = {key: text for key, text in asset.changes().items() if text is not None}
    lost = watch(saved)
    for minute in range(5):  # it wakes up in the past and is cut off before its clock is put right
        lost.feed(reading(-1_000 * HOUR_S + minute * MINUTE_S, 9.1 + 0.1 * (minute % 2), synced=False))
        saved |= {key: text for key, text in lost.changes().items() if text is not None}
    resumed = watch(saved)
    assert resumed.step_clock(ClockStep(900 * HOUR_S, first=True)) == {}
    assert resumed.tick(START + timedelta(hours=9)) == []
    events = feed(resumed, 9 * HOUR_S, 9.5 * HOUR_S, 9.0)
    assert "sensor_fault" not in types(events)
    assert [event.at for event in events if event.type == "excursion_opened"] == [
        START + timedelta(hours=9, minutes=12)
    ]


def test_box_that_wakes_up_in_1970_can_tell_of_a_gap_that_began_before() -> None:
    asset = watch(None, sensor("core"))
    feed(asset, 0, HOUR_S)
    for minute in range(20):  # its gap is due ten minutes before the last reading beside it
        asset.feed(reading(minute * MINUTE_S, 4.0 + 0.1 * (minute % 3), "core"))
    saved = {key: text for key, text in asset.changes().items() if text is not None}
    resumed = watch(saved, sensor("core"))
    awake_s = 10.0 - START.timestamp()
    assert resumed.feed(reading(awake_s, 4.0, synced=False)) == []
    [gap] = resumed.tick(datetime.fromtimestamp(20.0, UTC))
    assert (gap.source_id, gap.at) == ("core", datetime(1970, 1, 1, tzinfo=UTC))


def test_first_step_moves_nothing_when_all_readings_had_the_right_time() -> None:
    asset = watch()
    feed(asset, 0, HOUR_S)
    assert asset.step_clock(ClockStep(5_000.0, first=True)) == {}
    assert asset.engine.ahead_s == 0.0
