"""The box's clock: steady from a wrong start, mended once, and thrown by no jump of a year in either direction."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from edge.clock import STATE_KEY, STEP_CONFIRM_S, BoxClock, ClockStep, boot_id, boottime_s, clock_synced
from edge.timekeeping import Timekeeper
from telemetry.messages import Event, Reading

YEAR_S = 365 * 86_400.0
TRUE_S = datetime(2026, 6, 1, tzinfo=UTC).timestamp()


class Kernel:
    """The clocks of a machine: real time passes, the wall clock may be anywhere."""

    def __init__(self, *, wrong_by_s: float = 0.0, synced: bool = True) -> None:
        self.passed_s = 0.0
        self.wrong_by_s = wrong_by_s
        self.synced = synced

    def clock(self, saved: str | None = None, boot: str = "boot-1") -> BoxClock:
        return BoxClock(
            saved,
            boot=boot,
            wall_s=lambda: TRUE_S + self.passed_s + self.wrong_by_s,
            steady_s=lambda: 1000.0 + self.passed_s,
            kernel_synced=lambda: self.synced,
        )

    def error_s(self, clock: BoxClock) -> float:
        """How far the box's time is from the truth."""
        return clock.now().timestamp() - (TRUE_S + self.passed_s)


def test_time_before_the_first_synchronisation_is_steady_and_mended_by_one_number() -> None:
    kernel = Kernel(wrong_by_s=-YEAR_S, synced=False)
    clock = kernel.clock()
    told = []
    for wrong_by_s in (-YEAR_S, -YEAR_S, +YEAR_S, -3 * YEAR_S):  # somebody sets the clock by hand, twice
        kernel.passed_s += 60
        kernel.wrong_by_s = wrong_by_s
        assert clock.poll() is None
        told.append((kernel.passed_s, clock.now()))
    assert not clock.synced()
    kernel.wrong_by_s, kernel.synced = 0.0, True
    step = clock.poll()
    assert step is not None
    assert step.first
    assert step.offset_s == pytest.approx(YEAR_S)
    assert clock.synced()
    for passed_s, at in told:
        assert at.timestamp() + step.offset_s == pytest.approx(TRUE_S + passed_s)
    assert clock.poll() is None


@pytest.mark.parametrize("jump_s", [YEAR_S, -YEAR_S])
def test_a_jump_that_the_kernel_does_not_vouch_for_is_ignored(jump_s: float) -> None:
    kernel = Kernel()
    clock = kernel.clock()
    kernel.synced, kernel.wrong_by_s = False, jump_s
    for _ in range(100):
        kernel.passed_s += 60
        assert clock.poll() is None
        assert abs(kernel.error_s(clock)) < 1e-3
    assert clock.synced()
    kernel.synced, kernel.wrong_by_s = True, 0.2
    assert clock.poll() is None
    assert kernel.error_s(clock) == pytest.approx(0.2, abs=1e-3)


def test_a_jump_that_the_kernel_vouches_for_is_taken_over_when_it_lasts() -> None:
    kernel = Kernel()
    clock = kernel.clock()
    kernel.wrong_by_s = YEAR_S
    assert clock.poll() is None
    kernel.passed_s += STEP_CONFIRM_S / 2
    kernel.wrong_by_s = 0.0
    assert clock.poll() is None
    kernel.wrong_by_s = -YEAR_S
    assert clock.poll() is None
    kernel.passed_s += STEP_CONFIRM_S
    step = clock.poll()
    assert step is not None
    assert not step.first
    assert step.offset_s == pytest.approx(-YEAR_S)


def test_a_restart_within_the_boot_goes_on_counting_and_another_boot_begins_anew() -> None:
    kernel = Kernel(wrong_by_s=-YEAR_S, synced=False)
    saved = kernel.clock().dump()
    kernel.wrong_by_s, kernel.passed_s = +YEAR_S, 30.0
    assert kernel.error_s(kernel.clock(saved)) == pytest.approx(-YEAR_S)
    assert kernel.error_s(kernel.clock(saved, boot="boot-2")) == pytest.approx(YEAR_S)
    assert kernel.error_s(kernel.clock("damaged")) == pytest.approx(YEAR_S)


def test_only_what_was_stamped_just_now_by_the_wall_clock_is_put_into_the_boxs_time() -> None:
    kernel = Kernel()
    clock = kernel.clock()
    kernel.synced, kernel.wrong_by_s = False, YEAR_S
    wall = datetime.fromtimestamp(TRUE_S + YEAR_S, UTC)
    reading = Reading(sensor_id="s", quantity="t", value=1, unit="", observed_at=wall, clock_synced=False)
    (mended,) = clock.restamp([reading])
    assert (mended.observed_at.timestamp(), mended.clock_synced) == (pytest.approx(TRUE_S), True)
    own = reading.model_copy(update={"observed_at": wall - timedelta(hours=1)})
    assert clock.restamp([own])[0] is own
    kernel.wrong_by_s = 0.0
    right = reading.model_copy(update={"observed_at": datetime.fromtimestamp(TRUE_S, UTC)})
    assert clock.restamp([right])[0] is right


def test_the_centre_is_told_the_offset_together_with_the_moved_timers() -> None:
    kernel = Kernel(wrong_by_s=-100.0, synced=False)
    clock = kernel.clock()
    recorded: list[tuple[Sequence[Event], Mapping[str, str | None]]] = []

    async def record(events: Sequence[Event], state: dict[str, str | None]) -> None:
        recorded.append((events, state))

    def shift(step: ClockStep) -> dict[str, str | None]:
        return {"rule/a": str(step.offset_s)}

    keeper = Timekeeper(clock, "box-1", record, shift)
    asyncio.run(keeper.poll())
    kernel.synced, kernel.wrong_by_s = True, 0.0
    asyncio.run(keeper.poll())
    asyncio.run(keeper.poll())
    [(events, state)] = recorded
    assert [event.type for event in events] == ["clock_corrected"]
    assert events[0].data == {"boot_id": "boot-1", "offset_s": pytest.approx(100.0)}
    assert events[0].at.timestamp() == pytest.approx(TRUE_S)
    assert float(str(state["rule/a"])) == pytest.approx(100.0)
    assert state[STATE_KEY] == clock.dump()


def test_this_machines_kernel_can_be_asked() -> None:
    assert len(boot_id()) == 36
    assert clock_synced() in (True, False)
    assert 0 < boottime_s() <= boottime_s()
    assert abs((BoxClock().now() - datetime.now(UTC)).total_seconds()) < 5
