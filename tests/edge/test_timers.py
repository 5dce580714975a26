"""Running timers of the rules when the clock is put right: none fires early, none is lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from edge.clock import ClockStep
from edge.config import ModbusSensor
from edge.rules import ThresholdLimit
from edge.sensor_desk import SensorDesk
from telemetry.messages import Reading

AT = datetime(2026, 6, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
DELAY_S = 600.0


def desk(saved: dict[str, str] | None = None) -> SensorDesk:
    sensor = ModbusSensor.model_validate(
        {"type": "modbus", "id": "cold-1", "name": "cold", "port": "p", "unit": 1, "register": 0}
    )
    limit = ThresholdLimit("cold-1", "cold", "room", 8.0, None, DELAY_S, 0.5, "critical")
    return SensorDesk(sensor, [limit], saved or {})


def warm(at: datetime, *, synced: bool) -> Reading:
    return Reading(
        sensor_id="cold-1", quantity="temperature", value=12.0, unit="°C", observed_at=at, clock_synced=synced
    )


def kinds(desk: SensorDesk, reading: Reading) -> list[str]:
    return [event.type for event in desk.feed(reading)[0]]


def saved_after(reading: Reading) -> dict[str, str]:
    """What a new desk has to save with its first reading."""
    fresh = desk()
    before = fresh.state()
    _, marks = fresh.feed(reading)
    return {key: str(value) for key, value in (fresh.changes(before) | marks).items()}


def test_a_timer_that_began_under_a_wrong_clock_goes_on_when_it_is_put_right() -> None:
    watched = desk()
    assert kinds(watched, warm(AT - YEAR, synced=False)) == []
    changed = watched.shift(ClockStep(YEAR.total_seconds(), first=True))
    assert set(changed) == {"rule/cold-1/0", "unsynced/rule/cold-1/0"}
    assert kinds(watched, warm(AT + timedelta(seconds=DELAY_S - 1), synced=True)) == []
    assert kinds(watched, warm(AT + timedelta(seconds=DELAY_S), synced=True)) == ["excursion_opened"]


def test_a_timer_of_the_boot_before_neither_fires_early_nor_is_lost_when_this_boot_is_put_right() -> None:
    after = desk(saved_after(warm(AT, synced=True)))
    assert kinds(after, warm(AT - YEAR, synced=False)) == []
    after.shift(ClockStep(YEAR.total_seconds(), first=True))
    assert kinds(after, warm(AT + timedelta(seconds=DELAY_S - 1), synced=True)) == []
    assert kinds(after, warm(AT + timedelta(seconds=DELAY_S), synced=True)) == ["excursion_opened"]


def test_what_was_told_to_be_saved_is_what_the_desk_holds_after_each_reading() -> None:
    watched, saved = desk(), dict(desk().state())
    readings = [warm(AT + timedelta(seconds=second), synced=True) for second in (0, 1, 700)]
    readings += [item.model_copy(update={"value": 3.0}) for item in readings[:1]]
    readings += [item.model_copy(update={"value": None, "quality": "bad", "reason": "x"}) for item in readings * 2]
    for reading in readings:
        before = watched.state()
        watched.feed(reading)
        saved |= {key: str(value) for key, value in watched.changes(before).items()}
        assert dict(desk(saved).state()) == saved == dict(watched.state())
    watched.go_back(desk().state())
    assert watched.state() == desk().state()


def test_the_mark_of_a_wrong_clock_outlives_a_restart() -> None:
    watched = desk(saved_after(warm(AT - YEAR, synced=False)))
    watched.shift(ClockStep(YEAR.total_seconds(), first=True))
    assert kinds(watched, warm(AT + timedelta(seconds=10), synced=True)) == []


def test_a_later_jump_moves_every_timer_with_it() -> None:
    watched = desk()
    assert kinds(watched, warm(AT, synced=True)) == []
    watched.shift(ClockStep(-YEAR.total_seconds(), first=False))
    assert kinds(watched, warm(AT - YEAR + timedelta(seconds=DELAY_S - 1), synced=True)) == []
    assert kinds(watched, warm(AT - YEAR + timedelta(seconds=DELAY_S), synced=True)) == ["excursion_opened"]
