"""Whose turn it is, under load and without it."""

from __future__ import annotations

import pytest

from vision.scheduler import Scheduler


def shares(intervals_s: list[float], *, cost_s: float, seconds: float) -> list[int]:
    """How often each camera is judged when a judgement takes *cost_s* and each has a picture at each interval."""
    scheduler = Scheduler(intervals_s)
    judged = [0] * len(intervals_s)
    pictures = [0] * len(intervals_s)  # the number of the last one that was taken
    now_s = 0.0
    while now_s < seconds:
        ready = [i for i, interval_s in enumerate(intervals_s) if int(now_s / interval_s) + 1 > pictures[i]]
        chosen = scheduler.choose(ready, now_s)
        if chosen is None:
            now_s += 0.001
            continue
        pictures[chosen] = int(now_s / intervals_s[chosen]) + 1
        judged[chosen] += 1
        now_s += cost_s
    return judged


def test_with_time_for_all_every_picture_is_judged() -> None:
    assert shares([0.2, 0.2, 0.1], cost_s=0.02, seconds=20) == [100, 100, 200]


@pytest.mark.parametrize("load", [1.5, 2, 4])
def test_under_overload_every_camera_gets_the_same_share_of_its_rate(load: float) -> None:
    intervals_s = [0.2] * 6 + [0.1, 0.5]
    wanted_fps = [1 / interval_s for interval_s in intervals_s]
    judged = shares(intervals_s, cost_s=load / sum(wanted_fps), seconds=60)
    part = [count / (60 * fps) for count, fps in zip(judged, wanted_fps, strict=True)]
    mean = sum(part) / len(part)
    assert all(abs(one - mean) <= 0.1 * mean for one in part), part
    assert mean == pytest.approx(1 / load, rel=0.05)


def test_a_camera_that_comes_back_gets_one_turn_and_not_all_that_it_missed() -> None:
    scheduler = Scheduler([0.2, 0.2])
    for step in range(100):
        assert scheduler.choose([0], step * 0.1) == 0
    assert [scheduler.choose([0, 1], 10 + step * 0.1) for step in range(6)] == [1, 0, 1, 0, 1, 0]


def test_nobody_is_chosen_when_nobody_is_ready() -> None:
    assert Scheduler([0.2]).choose([], 1.0) is None
