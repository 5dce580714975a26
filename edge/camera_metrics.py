"""What a camera is doing, as a Prometheus text file that node_exporter's textfile collector picks up.

One file each, replaced whole, so that a scrape never reads half of one. The figures are those that the camera process
reports every ten seconds; ``up`` is 0 from the moment it is blind, offline or dead. Format: Prometheus text 0.0.4.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.camera_report import CameraReport

# name, type, help; the value is found in `_values`
METRICS = (
    ("up", "gauge", "1 while the camera sees, 0 while it is blind, offline or its process is dead"),
    ("judged_total", "counter", "pictures judged since the camera process started"),
    ("rate_fps", "gauge", "pictures judged a second, over the last report"),
    ("age_ms_max", "gauge", "oldest picture when its verdict was there, over the last report"),
    ("inference_ms_mean", "gauge", "cost of a picture: models, tracks and rules, over the last report"),
    ("blind_seconds_total", "counter", "seconds without a clear picture since the camera process started"),
)
DROPPED = ("dropped_total", "counter", "pictures that were due and not judged, by cause")


def metrics_text(camera_id: str, report: CameraReport | None, *, sees: bool) -> str:
    """The whole file; before the first report there is only ``up``. *camera_id* is an Identifier: nothing to escape."""
    values: dict[str, float | None] = {"up": float(sees)}
    drops: dict[str, int] = {}
    if report is not None:
        values |= {
            "judged_total": report.judged, "rate_fps": report.rate_fps, "age_ms_max": report.age_ms_max,
            "inference_ms_mean": report.inference_ms_mean, "blind_seconds_total": report.blind_s,
        }  # fmt: skip
        drops = report.drops
    lines = []
    for name, kind, text in METRICS:
        value = values.get(name)
        if value is not None:
            lines += _head(name, kind, text)
            lines.append(f'brightline_camera_{name}{{camera="{camera_id}"}} {value:g}')
    lines += _head(*DROPPED) if drops else []
    lines += [
        f'brightline_camera_dropped_total{{camera="{camera_id}",cause="{cause}"}} {value}'
        for cause, value in drops.items()
        if cause.isidentifier()
    ]
    return "\n".join(lines) + "\n"


def _head(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP brightline_camera_{name} {text}", f"# TYPE brightline_camera_{name} {kind}"]


def write_metrics(folder: Path, camera_id: str, text: str) -> None:
    """Replace the camera's file in *folder*; raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"camera-{camera_id}.{os.getpid()}.part"
    part.write_text(text, "utf-8")
    part.rename(folder / f"camera-{camera_id}.prom")
