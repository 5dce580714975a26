"""How well objects are followed: the measure on cases worked out by hand, the tracker on a scene with known truth."""

from __future__ import annotations

import math

import pytest

from tests.vision.tracking_scene import sights, tracks, walk
from tests.vision.tracking_score import Frame, score
from vision.tracker import Tracker

BOX = (10.0, 10.0, 50.0, 50.0)
FAR = (200.0, 10.0, 240.0, 50.0)


def test_perfect_tracks_score_one() -> None:
    truth: list[Frame] = [{1: BOX, 2: FAR}] * 10
    result = score(truth, [{7: BOX, 9: FAR}] * 10)
    assert (result.mota, result.hota, result.switches) == (1, pytest.approx(1), 0)


def test_a_missed_frame_and_an_invented_box_cost_what_the_definitions_say() -> None:
    truth: list[Frame] = [{1: BOX}] * 4
    result = score(truth, [{7: BOX}, {}, {7: BOX, 8: FAR}, {7: BOX}])
    assert result.mota == 1 - 2 / 4
    # 3 hits, 1 missed, 1 invented; the association of each hit is 3 / (4 + 3 - 3)
    assert result.hota == pytest.approx(math.sqrt(3 * (3 / 4) / 5))


def test_a_track_that_breaks_in_half_is_one_switch_and_half_an_association() -> None:
    result = score([{1: BOX}] * 4, [{7: BOX}, {7: BOX}, {8: BOX}, {8: BOX}])
    assert (result.mota, result.switches) == (1 - 1 / 4, 1)
    assert result.hota == pytest.approx(math.sqrt(4 * (2 / 4) / 4))


@pytest.mark.parametrize("fps", [5.0, 10.0])
def test_the_tracker_follows_people_through_misses_jitter_and_doubtful_sights(fps: float) -> None:
    truth = walk(round(60 * fps), fps)
    tracker = Tracker(confident=0.5)
    found = [tracks(tracker.update(seen, index / fps)) for index, seen in enumerate(sights(truth))]
    result = score(truth, found)
    assert result.mota >= 0.85
    assert result.hota >= 0.7


def test_the_score_falls_when_tracks_are_not_kept() -> None:
    truth = walk(300, 5)
    numbered: list[Frame] = [{100 * index + k: box for k, box in frame.items()} for index, frame in enumerate(truth)]
    result = score(truth, numbered)
    assert result.hota < 0.1
    assert result.switches > 1000
