"""How well objects are followed: the measure on cases worked out by hand, the tracker on a scene with known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.vision.tracking_score import Frame, score
from vision.detections import NO_TRACK, Detections
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


def walk(frames: int, fps: float) -> list[Frame]:
    """Six people walk at up to 60 px/s on lanes; two of them pass behind one another, one leaves and comes back."""
    truth: list[Frame] = []
    for index in range(frames):
        at_s = index / fps
        people: Frame = {}
        for person in range(4):
            x = 300 + 220 * math.sin(2 * math.pi * at_s / 24 + person)
            people[person + 1] = (x, 20 + 90 * person, x + 40, 100 + 90 * person)
        people[5] = (20 + 45 * (at_s % 12), 400, 70 + 45 * (at_s % 12), 480)
        if at_s % 10 < 8:
            people[6] = (600, 150, 650, 240)
        truth.append(people)
    return truth


def follow(
    truth: list[Frame], fps: float, *, missed_share: float, jitter_px: float, invented_share: float
) -> list[Frame]:
    rng = np.random.default_rng(5)
    tracker = Tracker(confident=0.5)
    found: list[Frame] = []
    for index, frame in enumerate(truth):
        rows = [
            [*(np.array(box) + rng.normal(0, jitter_px, 4)), rng.uniform(0.3, 0.95)]
            for box in frame.values()
            if rng.random() >= missed_share
        ]
        if rng.random() < invented_share:
            x, y = rng.uniform(0, 600), rng.uniform(0, 440)
            rows.append([x, y, x + 40, y + 60, 0.55])
        table = np.array(rows).reshape(-1, 5)
        seen = tracker.update(Detections.of(table[:, :4], table[:, 4], np.zeros(len(table))), index / fps)
        boxes = zip(seen.track_id, seen.xyxy, strict=True)
        found.append({int(track): tuple(float(v) for v in box) for track, box in boxes if track != NO_TRACK})  # type: ignore[misc]
    return found


@pytest.mark.parametrize("fps", [5.0, 10.0])
def test_the_tracker_follows_people_through_misses_jitter_and_doubtful_sights(fps: float) -> None:
    truth = walk(round(60 * fps), fps)
    result = score(truth, follow(truth, fps, missed_share=0.1, jitter_px=2, invented_share=0.1))
    assert result.mota >= 0.85
    assert result.hota >= 0.7


def test_the_score_falls_when_tracks_are_not_kept() -> None:
    truth = walk(300, 5)
    numbered: list[Frame] = [{100 * index + k: box for k, box in frame.items()} for index, frame in enumerate(truth)]
    result = score(truth, numbered)
    assert result.hota < 0.1
    assert result.switches > 1000
