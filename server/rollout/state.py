"""How a roll-out goes on: pure, told by the boxes' states and the clock alone.

What always holds: a stage begins only when every box of the stages before it told that it applied the release, none of
them is silent, and the soak time since the last of them is over. A box that falls silent with the release, or fails
with it, takes the whole roll-out back. What never got as far as a box's disk pauses it, for a person to look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

State = Literal["running", "paused", "rolling_back", "rolled_back", "done"]
BoxState = Literal[
    "waiting",  # its stage has not begun
    "offered",  # the command waits for the box
    "installed",  # the box took it and restarts
    "applied",  # it ran well with it for its time of trial
    "refused",  # never took effect: its own check refused it, or the command expired
    "failed",  # tried it, and went back by itself
    "going_back",  # the one before is offered
    "back",
]
Move = Literal["pause", "resume", "roll_back"]
UNDER_WAY: tuple[State, ...] = ("running", "paused", "rolling_back")
WITH_IT: tuple[BoxState, ...] = ("installed", "applied")
TAKEN_BACK: tuple[BoxState, ...] = ("offered", "installed", "applied")  # an offer may be on the box's disk by now
AFTER_MOVE: dict[tuple[State, Move], State] = {
    ("running", "pause"): "paused",
    ("paused", "resume"): "running",
    ("running", "roll_back"): "rolling_back",
    ("paused", "roll_back"): "rolling_back",
    ("done", "roll_back"): "rolling_back",
}


@dataclass(frozen=True)
class Standing:
    """Where one box stands, since when, and whether the centre hears nothing of it."""

    box_id: str
    stage: int
    state: BoxState
    since: datetime
    silent: bool = False


@dataclass(frozen=True)
class Step:
    """What is to be done: the state and stage from now on, and the boxes that are offered something now."""

    state: State
    stage: int
    reason: str = ""
    offer: tuple[str, ...] = ()
    take_back: tuple[str, ...] = ()


def next_step(
    state: State, stage: int, soak_s: float, stages: int, boxes: Sequence[Standing], now: datetime
) -> Step | None:
    """The next step of a roll-out of so many *stages*, None while it waits."""
    if state == "rolling_back":
        return _step_back(stage, boxes)
    if state not in ("running", "paused"):
        return None
    if lost := [box for box in boxes if box.state == "failed" or (box.silent and box.state in WITH_IT)]:
        words = [f"{box.box_id} {'failed' if box.state == 'failed' else 'fell silent'}" for box in lost[:5]]
        return Step("rolling_back", stage, ", ".join(words))
    if state == "paused":
        return None
    if refused := [box.box_id for box in boxes if box.state == "refused"]:
        return Step("paused", stage, f"not taken by {', '.join(refused[:5])}")
    return _step_on(stage, soak_s, stages, [box for box in boxes if box.stage <= stage], now)


def _step_on(stage: int, soak_s: float, stages: int, begun: Sequence[Standing], now: datetime) -> Step | None:
    if offer := tuple(box.box_id for box in begun if box.state == "waiting"):
        return Step("running", stage, offer=offer)
    if any(box.state != "applied" or box.silent for box in begun):
        return None
    if now - max(box.since for box in begun) < timedelta(seconds=soak_s):
        return None
    return Step("done", stage) if stage + 1 >= stages else Step("running", stage + 1)


def _step_back(stage: int, boxes: Sequence[Standing]) -> Step | None:
    if take_back := tuple(box.box_id for box in boxes if box.state in TAKEN_BACK):
        return Step("rolling_back", stage, take_back=take_back)
    if any(box.state == "going_back" for box in boxes):
        return None
    return Step("rolled_back", stage)


def stage_of_each(count: int, stages: Sequence[int | str]) -> list[int]:
    """The stage of each of *count* boxes. A stage says how many have the release after it: a number, or ``"10%"``.

    Raises ValueError for stages that do not grow, or do not end with all.
    """
    if not 1 <= len(stages) <= 10:
        raise ValueError("give 1 to 10 stages")
    ends = [_end(item, count) for item in stages]
    if any(later < earlier for earlier, later in pairwise(ends)):
        raise ValueError("each stage has more boxes than the one before")
    ends = sorted(set(ends))  # of few boxes two shares may be the same number
    if ends[-1] != count:
        raise ValueError('the last stage has all boxes: "100%"')
    return [next(stage for stage, end in enumerate(ends) if index < end) for index in range(count)]


def _end(stage: int | str, count: int) -> int:
    if isinstance(stage, int):
        if stage < 1:
            raise ValueError("a stage has at least one box")
        return min(stage, count)
    share = stage.removesuffix("%")
    if not (stage.endswith("%") and share.isascii() and share.isdecimal() and 1 <= int(share[:4]) <= 100):
        raise ValueError('a stage is a number of boxes or a share such as "10%"')
    return -(-count * int(share) // 100)
