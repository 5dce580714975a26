"""The tracker: ids stay with their heads through doubt, occlusion and crossing, and belong to one tracker."""

from __future__ import annotations

import numpy as np
import pytest

from vision.detections import NO_TRACK, Detections
from vision.tracker import Tracker

FPS = 5.0


def heads(*centres: tuple[float, float], confidence: float = 0.9, size: float = 60) -> Detections:
    half = size / 2
    boxes = [[x - half, y - half, x + half, y + half] for x, y in centres]
    return Detections.of(boxes, [confidence] * len(boxes), [0] * len(boxes))


def test_two_heads_keep_their_ids_while_they_move() -> None:
    tracker = Tracker()
    seen = [tracker.update(heads((100 + 8 * i, 100), (400 - 8 * i, 300)), i / FPS).track_id for i in range(20)]
    assert {tuple(ids) for ids in seen} == {(1, 2)}


def test_ids_do_not_depend_on_the_order_of_the_boxes() -> None:
    tracker = Tracker()
    tracker.update(heads((100, 100), (300, 100)), 0)
    assert tracker.update(heads((302, 100), (101, 100)), 0.2).track_id.tolist() == [2, 1]


def test_a_head_that_turns_doubtful_keeps_its_id() -> None:
    tracker = Tracker(confident=0.5)
    tracker.update(heads((100, 100)), 0)
    ids = [tracker.update(heads((100, 100), confidence=0.2), i / FPS).track_id.tolist() for i in range(1, 30)]
    assert ids == [[1]] * 29


def test_a_doubtful_box_alone_starts_no_track() -> None:
    tracker = Tracker(confident=0.5)
    assert tracker.update(heads((100, 100), confidence=0.2), 0).track_id.tolist() == [NO_TRACK]
    assert tracker.update(heads((100, 100), confidence=0.9), 0.2).track_id.tolist() == [1]


def test_a_doubtful_box_never_takes_the_track_of_a_sure_one() -> None:
    tracker = Tracker(confident=0.5)
    tracker.update(heads((100, 100)), 0)
    both = Detections.of([[70, 70, 130, 130], [74, 70, 134, 130]], [0.2, 0.9], [0, 0])
    assert tracker.update(both, 0.2).track_id.tolist() == [NO_TRACK, 1]


def test_a_head_hidden_for_two_seconds_is_the_same_when_it_comes_back() -> None:
    tracker = Tracker(lost_s_max=3)
    for i in range(5):
        tracker.update(heads((100 + i % 2, 100)), i / FPS)
    for i in range(5, 15):
        assert not len(tracker.update(heads(), i / FPS))
    assert tracker.update(heads((103, 101)), 15 / FPS).track_id.tolist() == [1]


def test_a_head_hidden_for_longer_than_the_limit_is_a_new_one() -> None:
    tracker = Tracker(lost_s_max=3)
    tracker.update(heads((100, 100)), 0)
    assert tracker.update(heads((100, 100)), 3.1).track_id.tolist() == [2]


def test_a_moving_head_is_looked_for_where_it_goes() -> None:
    tracker = Tracker()
    for i in range(10):
        tracker.update(heads((100 + 20 * i, 100)), i / FPS)
    for i in range(10, 14):  # 80 px on: no overlap with where it was last seen
        tracker.update(heads(), i / FPS)
    assert tracker.update(heads((100 + 20 * 14, 100)), 14 / FPS).track_id.tolist() == [1]


def test_two_heads_that_cross_keep_their_ids() -> None:
    tracker = Tracker()
    for i in range(31):  # both walk 16 px a frame and hide each other for a moment in the middle
        left, right = (100 + 16 * i, 100), (580 - 16 * i, 112)
        shown = [left] if abs(left[0] - right[0]) < 20 else [left, right]
        ids = tracker.update(heads(*shown), i / FPS).track_id
    assert ids.tolist() == [1, 2]


def test_each_camera_counts_its_own_ids() -> None:
    first, second = Tracker(), Tracker()
    first.update(heads((100, 100), (300, 100)), 0)
    assert second.update(heads((100, 100)), 0).track_id.tolist() == [1]


def test_two_pictures_of_one_moment_do_not_throw_the_track_away() -> None:
    tracker = Tracker()
    tracker.update(heads((100, 100)), 1.0)
    tracker.update(heads((110, 100)), 1.0)
    assert tracker.update(heads((112, 100)), 1.2).track_id.tolist() == [1]


def test_lost_tracks_are_forgotten() -> None:
    tracker = Tracker(lost_s_max=3)
    for i in range(200):  # every head stands elsewhere: each is a new track
        tracker.update(heads((100 * (i % 50), 100 * (i // 50))), float(i))
    assert len(tracker._tracks) <= 4


@pytest.mark.parametrize("count", [0, 1, 40])
def test_the_detections_come_back_unchanged_but_for_their_ids(count: int) -> None:
    found = heads(*((80 * (i % 8) + 40, 80 * (i // 8) + 40) for i in range(count)))
    tracked = Tracker().update(found, 0)
    assert np.array_equal(tracked.xyxy, found.xyxy)
    assert sorted(tracked.track_id.tolist()) == list(range(1, count + 1))
