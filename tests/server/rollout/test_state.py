"""A roll-out goes on only over boxes that are well with the release, and back by itself when one is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from server.rollout.state import BoxState, Standing, Step, next_step, stage_of_each

START = datetime(2026, 1, 2, tzinfo=UTC)
SOAK_S = 600


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def boxes(*states: BoxState) -> list[Standing]:
    """Box 0 is stage 0, box 1 is stage 1 ..."""
    return [Standing(f"b{number}", number, state, START) for number, state in enumerate(states)]


def step(standings: list[Standing], stage: int = 0, seconds: float = 0) -> Step | None:
    return next_step("running", stage, SOAK_S, len(standings), standings, at(seconds))


def test_only_the_boxes_of_the_stage_under_way_are_offered_the_release() -> None:
    assert step(boxes("waiting", "waiting")) == Step("running", 0, offer=("b0",))
    assert step(boxes("applied", "waiting"), stage=1) == Step("running", 1, offer=("b1",))


def test_next_stage_waits_for_every_word_and_for_the_soak_time() -> None:
    for state in ("offered", "installed"):
        assert step(boxes(state, "waiting"), seconds=10 * SOAK_S) is None
    assert step(boxes("applied", "waiting"), seconds=SOAK_S - 1) is None
    assert step(boxes("applied", "waiting"), seconds=SOAK_S) == Step("running", 1)
    assert step(boxes("applied", "applied"), stage=1, seconds=SOAK_S) == Step("done", 1)


@pytest.mark.parametrize("state", ["installed", "applied"])
def test_box_that_falls_silent_with_the_release_takes_all_back_also_when_paused(state: BoxState) -> None:
    standings = boxes(state, "waiting")
    standings[0] = replace(standings[0], silent=True)
    for course in ("running", "paused"):
        found = next_step(course, 0, SOAK_S, 2, standings, at(SOAK_S))
        assert found == Step("rolling_back", 0, "b0 fell silent")


def test_box_that_is_silent_before_it_took_anything_holds_the_stage_up_and_no_more() -> None:
    standings = boxes("offered", "waiting")
    standings[0] = replace(standings[0], silent=True)
    assert step(standings, seconds=10 * SOAK_S) is None


def test_failed_box_takes_all_back_and_a_refusing_one_pauses() -> None:
    assert step(boxes("failed", "waiting")) == Step("rolling_back", 0, "b0 failed")
    assert step(boxes("refused", "waiting")) == Step("paused", 0, "not taken by b0")


def test_taking_back_reaches_every_box_that_may_have_it_and_ends_when_all_told() -> None:
    standings = boxes("applied", "installed", "offered", "waiting", "failed")
    found = next_step("rolling_back", 2, SOAK_S, 5, standings, START)
    assert found == Step("rolling_back", 2, take_back=("b0", "b1", "b2"))
    assert next_step("rolling_back", 2, SOAK_S, 2, boxes("going_back", "failed"), START) is None
    assert next_step("rolling_back", 2, SOAK_S, 2, boxes("back", "failed"), START) == Step("rolled_back", 2)


@pytest.mark.parametrize("state", ["done", "rolled_back"])
def test_what_is_over_goes_nowhere(state: str) -> None:
    assert next_step(state, 0, SOAK_S, 1, boxes("failed"), START) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "stages", "each"),
    [
        (1, [1, "10%", "100%"], [0]),
        (3, [1, "10%", "100%"], [0, 1, 1]),
        (20, [1, "10%", "100%"], [0, 1] + [2] * 18),
        (4, ["50%", 9], [0, 0, 1, 1]),
    ],
)
def test_stages_are_numbers_or_shares_of_all(count: int, stages: list[int | str], each: list[int]) -> None:
    assert stage_of_each(count, stages) == each


@pytest.mark.parametrize(
    "stages", [[], [0], ["0%"], ["101%"], ["x"], [1, "10%"], ["50%", "10%", "100%"], ["100%"] * 11]
)
def test_impossible_stages_are_refused(stages: list[int | str]) -> None:
    with pytest.raises(ValueError):
        stage_of_each(100, stages)
