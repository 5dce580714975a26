"""A scene of six people with known truth, and what a doubtful detector would see of it: the same for every tracker."""

from __future__ import annotations

import math

import numpy as np

from tests.vision.tracking_score import Frame
from vision.detections import NO_TRACK, Detections


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


def sights(
    truth: list[Frame], *, missed_share: float = 0.1, jitter_px: float = 2, invented_share: float = 0.1, seed: int = 5
) -> list[Detections]:
    """Frame by frame what is detected of *truth*, with doubtful scores from 0.3 to 0.95."""
    rng = np.random.default_rng(seed)
    found: list[Detections] = []
    for frame in truth:
        rows = [
            [*(np.array(box) + rng.normal(0, jitter_px, 4)), rng.uniform(0.3, 0.95)]
            for box in frame.values()
            if rng.random() >= missed_share
        ]
        if rng.random() < invented_share:
            x, y = rng.uniform(0, 600), rng.uniform(0, 440)
            rows.append([x, y, x + 40, y + 60, 0.55])
        table = np.array(rows).reshape(-1, 5)
        found.append(Detections.of(table[:, :4], table[:, 4], np.zeros(len(table))))
    return found


def tracks(seen: Detections) -> Frame:
    """The boxes that have a track."""
    boxes = zip(seen.track_id, seen.xyxy, strict=True)
    return {int(track): tuple(float(v) for v in box) for track, box in boxes if track != NO_TRACK}  # type: ignore[misc]
