"""What a picture costs on this machine: the bare model, and all that is done around it.

Both are timed in turn on the same pictures, in CPU time of this process, so that neither the load of the machine nor
its clock favours one of them. ``overhead_pct`` is what pre- and post-processing with the tracker add to the bare
``session.run``, ``overhead_with_sight_pct`` the same with the check of the sight.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vision.detector import OnnxDetector
from vision.frame import Image
from vision.model_shelf import ModelShelf
from vision.sight import SightCheck
from vision.tracker import Tracker

WARM_UP = 5


def bench(model: Path, *, pictures: int, width: int, height: int, threads: int) -> dict[str, Any]:
    """Median, and 95th percentile, milliseconds of CPU for one picture of *width* × *height*; raises ModelError."""
    detector = OnnxDetector(model, confidence=0.15, shelf=ModelShelf(threads))
    images = _images(width, height)
    tensor = detector.tensor_of(images[0])
    tracker, sight = Tracker(), SightCheck()

    def bare(index: int) -> object:
        return detector.session.run(None, {detector.input_name: tensor})

    def whole(index: int) -> object:
        return tracker.update(detector.detect(images[index % len(images)]), index / 5)

    def looked(index: int) -> object:
        return sight.look(images[index % len(images)], index / 5)

    times = _in_turn([bare, whole, looked], pictures)
    bare_ms, whole_ms, sight_ms = (_figures(part) for part in times)
    differences = [b - a for a, b in zip(times[0], times[1], strict=True)]
    return {
        "model": model.name, "model_sha256": detector.sha256, "input_px": detector.manifest.input_px,
        "input": list(tensor.shape), "picture": [width, height],
        "pictures": pictures, "threads": threads, "cores": os.cpu_count(), "machine": platform.machine(),
        "session_run_ms": bare_ms, "detect_and_track_ms": whole_ms, "sight_check_ms": sight_ms,
        "overhead_pct": round(100 * statistics.median(differences) / bare_ms["p50"], 2),
        "overhead_with_sight_pct": round(100 * (statistics.median(differences) + sight_ms["p50"]) / bare_ms["p50"], 2),
    }  # fmt: skip


def _images(width: int, height: int) -> list[Image]:
    """Smooth pictures with edges: what a kitchen looks like to a resize."""
    across, along = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    base = np.stack([across, along, 255 - across], axis=2)
    images = []
    for shift in range(4):
        image = base.copy()
        image[height // 4 : height // 2, shift * 9 : width // 3 + shift * 9] = 40
        images.append(image.astype(np.uint8))
    return images


def _in_turn(tasks: list[Callable[[int], object]], rounds: int) -> list[list[float]]:
    """Milliseconds of CPU of each task, round by round."""
    times: list[list[float]] = [[] for _ in tasks]
    for index in range(WARM_UP + rounds):
        for task, kept in zip(tasks, times, strict=True):
            start_s = time.process_time()
            task(index)
            if index >= WARM_UP:
                kept.append(1000 * (time.process_time() - start_s))
    return times


def _figures(times_ms: list[float]) -> dict[str, float]:
    return {
        "p50": round(statistics.median(times_ms), 3),
        "p95": round(float(np.percentile(times_ms, 95)), 3),
    }
