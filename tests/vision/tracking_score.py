"""MOTA (Bernardin and Stiefelhagen, 2008) and HOTA (Luiten et al., 2021) of a tracker on a scene whose truth is known.

Matching within a frame is greedy by overlap, pairs of the frames before first (as CLEAR MOT asks); that is the optimal
one where objects of the truth do not overlap one another by more than the threshold.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from vision.detections import iou_matrix

Frame = dict[int, tuple[float, float, float, float]]  # id → box
ALPHAS = tuple(round(0.05 * step, 2) for step in range(1, 20))


@dataclass(frozen=True)
class Score:
    """Shares of 1; MOTA may be below 0."""

    mota: float
    hota: float
    switches: int


def score(truth: list[Frame], found: list[Frame]) -> Score:
    """The tracks *found* frame by frame against the *truth*."""
    pairs = _matches(truth, found, 0.5)
    objects, boxes = sum(map(len, truth)), sum(map(len, found))
    hits = sum(map(len, pairs))
    last: dict[int, int] = {}
    switches = 0
    for matched in pairs:
        for true_id, found_id in matched.items():
            switches += last.get(true_id, found_id) != found_id
            last[true_id] = found_id
    mota = 1 - ((objects - hits) + (boxes - hits) + switches) / objects
    return Score(mota, float(np.mean([_hota(truth, found, alpha) for alpha in ALPHAS])), switches)


def _hota(truth: list[Frame], found: list[Frame], alpha: float) -> float:
    pairs = Counter(pair for matched in _matches(truth, found, alpha) for pair in matched.items())
    hits = sum(pairs.values())
    true_count, found_count = (Counter(item for frame in frames for item in frame) for frames in (truth, found))
    false = sum(true_count.values()) + sum(found_count.values()) - 2 * hits
    association = sum(
        count * count / (true_count[true_id] + found_count[found_id] - count)
        for (true_id, found_id), count in pairs.items()
    )
    return float(np.sqrt(association / (hits + false))) if hits else 0.0


def _matches(truth: list[Frame], found: list[Frame], alpha: float) -> list[dict[int, int]]:
    matches: list[dict[int, int]] = []
    before: dict[int, int] = {}
    for true, seen in zip(truth, found, strict=True):
        true_ids, found_ids = list(true), list(seen)
        overlap = iou_matrix(_array(true), _array(seen))
        rows = [
            (before.get(true_id) != found_id, -float(overlap[i, j]), true_id, found_id)
            for i, true_id in enumerate(true_ids)
            for j, found_id in enumerate(found_ids)
            if overlap[i, j] >= alpha
        ]
        matched: dict[int, int] = {}
        for _, _, true_id, found_id in sorted(rows):
            if true_id not in matched and found_id not in matched.values():
                matched[true_id] = found_id
        before |= matched
        matches.append(matched)
    return matches


def _array(frame: Frame) -> np.ndarray:
    return np.array(list(frame.values()), np.float32).reshape(-1, 4)
