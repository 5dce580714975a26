"""The cold room: the same for the same seed, warm when its door stands open or its compressor fails."""

from __future__ import annotations

import pytest

from firmware_sim.thermal import ColdRoom

HOUR_S = 3600.0


def after(seconds: float, **settings: bool) -> ColdRoom:
    room = ColdRoom()
    for name, value in settings.items():
        setattr(room, name, value)
    room.step(seconds)
    return room


def test_same_seed_measures_the_same_and_another_seed_does_not() -> None:
    def trace(seed: int) -> list[float]:
        room = ColdRoom(seed=seed)
        values = []
        for _ in range(50):
            room.step(30)
            values.append(room.measured_c(room.air_c))
        return values

    assert trace(1) == trace(1)
    assert trace(1) != trace(2)


def test_noise_is_small_and_centred() -> None:
    room = ColdRoom(noise_c=0.05)
    errors = [room.measured_c(3.0) - 3.0 for _ in range(2000)]
    assert abs(sum(errors) / len(errors)) < 0.005
    assert 0.04 < (sum(error**2 for error in errors) / len(errors)) ** 0.5 < 0.06


def test_closed_room_is_kept_about_its_setpoint_for_a_day() -> None:
    room = ColdRoom()
    seen = []
    for _ in range(24 * 120):
        room.step(30)
        seen.append(room.air_c)
    assert min(seen) >= 1.5
    assert max(seen) <= 4.5
    assert 2.0 < room.product_c < 4.0


def test_open_door_warms_the_air_within_minutes_and_the_product_far_slower() -> None:
    room = after(600, door_open=True)
    assert room.air_c > 8
    assert room.product_c < 5
    assert room.air_c < room.outside_c


def test_failed_compressor_alone_warms_the_room_slowly() -> None:
    failed, open_too = after(HOUR_S, compressor_failed=True), after(HOUR_S, compressor_failed=True, door_open=True)
    assert after(HOUR_S).air_c < failed.air_c < open_too.air_c


def test_room_recovers_when_the_door_is_shut_and_the_compressor_runs() -> None:
    room = after(600, door_open=True, compressor_failed=True)
    warm_c = room.air_c
    room.door_open = room.compressor_failed = False
    room.step(2 * HOUR_S)
    assert room.air_c < 5 < warm_c


@pytest.mark.parametrize("parts", [1, 7, 100])
def test_long_steps_stay_stable_and_about_equal_to_short_ones(parts: int) -> None:
    room = ColdRoom(door_open=True)
    for _ in range(parts):
        room.step(HOUR_S / parts)
    assert room.air_c == pytest.approx(after(HOUR_S, door_open=True).air_c, abs=0.5)
