"""Pre- and post-processing over the bare `session.run`, ours beside ultralytics' `predict` on the same ONNX, as JSON.

    taskset -c 0,1 python -m tests.load.detect_beside_ultralytics MODEL.onnx... [--rounds 60]

Needs ultralytics and torch beside the box's own packages. All three are timed in turn on the same pictures, two threads
each: the bare run of our session, our detection (picture to boxes), ultralytics' `predict` (picture to boxes, with a
session of its own, whose idle threads spin on: an untimed bare run lets them end before the next round). Overheads are
medians of the differences to the bare run of the same round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from firmware_sim.scene import Kitchen
from tests.vision.ultralytics_parity import predict
from vision.detector import OnnxDetector
from vision.model_shelf import ModelShelf

THREADS = 2
WARM_UP = 5
Task = Callable[[int], object]


def tasks_of(path: Path) -> tuple[OnnxDetector, dict[str, Task]]:
    """The detector, and what is timed by name."""
    import torch
    import ultralytics

    torch.set_num_threads(THREADS)
    detector = OnnxDetector(path, confidence=0.15, shelf=ModelShelf(THREADS))
    theirs = ultralytics.YOLO(str(path), task="detect")
    side, per_class = detector.manifest.input_px, detector.manifest.per_class
    kitchen = Kitchen(640, 360)
    images = [kitchen.frame(2 * index, "no_mask") for index in range(8)]
    tensor = detector.tensor_of(images[0])
    return detector, {
        "session_run": lambda _: detector.session.run(None, {detector.input_name: tensor}),
        "ours": lambda index: detector.detect(images[index % len(images)]),
        "ultralytics": lambda index: predict(theirs, images[index % len(images)], side, per_class=per_class),
    }


def measure(path: Path, rounds: int) -> dict[str, Any]:
    detector, tasks = tasks_of(path)
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for index in range(WARM_UP + rounds):
        tasks["session_run"](index)
        for name, task in tasks.items():
            start_s = time.perf_counter()
            task(index)
            if index >= WARM_UP:
                times[name].append(1000 * (time.perf_counter() - start_s))
    bare_ms = statistics.median(times["session_run"])
    over = {
        name: 100 * statistics.median(b - a for a, b in zip(times["session_run"], times[name], strict=True)) / bare_ms
        for name in ("ours", "ultralytics")
    }
    return {
        "model": path.name, "input": list(detector.tensor_of(np.zeros((360, 640, 3), np.uint8)).shape),
        "picture": [640, 360], "rounds": rounds,
        "p50_ms": {name: round(statistics.median(values), 3) for name, values in times.items()},
        "overhead_pct": {name: round(value, 1) for name, value in over.items()},
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+", help="ONNX models with their manifests")
    parser.add_argument("--rounds", type=int, default=60)
    args = parser.parse_args()
    report = {
        "threads": THREADS, "cores": sorted(os.sched_getaffinity(0)), "load_before": os.getloadavg(),
        "models": [measure(path, args.rounds) for path in args.models],
        "load_after": os.getloadavg(),
    }  # fmt: skip
    sys.stdout.write(json.dumps(report) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
