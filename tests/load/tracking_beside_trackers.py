"""MOTA and HOTA of our tracker beside `trackers` (PyPI) ByteTrack on the same doubtful sights of one scene, as JSON.

    python -m tests.load.tracking_beside_trackers

Needs `trackers` and `supervision`. Its ByteTrack is run as it comes (told the frame rate) and with thresholds that
correspond to ours (a track begins at 0.5, at once); every figure is the mean over ten seeds of one minute each.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import supervision as sv
from trackers import ByteTrackTracker

from tests.vision.tracking_scene import sights, tracks, walk
from tests.vision.tracking_score import Frame, score
from vision.detections import Detections
from vision.tracker import Tracker

SEEDS = range(10)
SECONDS = 60
Update = Callable[[Detections, float], Frame]


def ours(fps: float) -> Update:
    tracker = Tracker(confident=0.5)
    return lambda seen, at_s: tracks(tracker.update(seen, at_s))


def bytetrack(fps: float, **settings: Any) -> Update:
    tracker = ByteTrackTracker(frame_rate=fps, **settings)

    def update(seen: Detections, at_s: float) -> Frame:
        found = tracker.update(sv.Detections(xyxy=seen.xyxy, confidence=seen.confidence, class_id=seen.class_id))
        ids = found.tracker_id if found.tracker_id is not None else []
        rows = zip(ids, found.xyxy, strict=True)
        return {int(track): tuple(float(v) for v in box) for track, box in rows if track >= 0}  # type: ignore[misc]

    return update


TRACKERS: dict[str, Callable[[float], Update]] = {
    "ours": ours,
    "bytetrack as it comes": bytetrack,
    "bytetrack, thresholds as ours": lambda fps: bytetrack(
        fps, track_activation_threshold=0.5, high_conf_det_threshold=0.5, minimum_consecutive_frames=1,
        lost_track_buffer=90,
    ),
}  # fmt: skip


def measure(make: Callable[[float], Update], fps: float) -> dict[str, float]:
    truth = walk(round(SECONDS * fps), fps)
    scores, cost_s = [], 0.0
    for seed in SEEDS:
        seen = sights(truth, seed=seed)
        update, start_s = make(fps), time.process_time()
        found = [update(item, index / fps) for index, item in enumerate(seen)]
        cost_s += time.process_time() - start_s
        scores.append(score(truth, found))
    return {
        "mota": round(statistics.mean(item.mota for item in scores), 3),
        "hota": round(statistics.mean(item.hota for item in scores), 3),
        "switches": statistics.mean(item.switches for item in scores),
        "cpu_ms_per_frame": round(1000 * cost_s / (len(SEEDS) * len(truth)), 3),
    }


def main() -> int:
    figures = {f"{fps} fps": {name: measure(make, fps) for name, make in TRACKERS.items()} for fps in (5.0, 10.0)}
    sys.stdout.write(json.dumps({"trackers": version("trackers"), **figures}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
