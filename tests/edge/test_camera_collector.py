"""The box's metrics address gives the cameras' figures too, and never those of a process that is gone."""

from __future__ import annotations

import os
import time
import urllib.request
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from edge.camera_collector import FILE_BYTES_MAX, STALE_S, CameraCollector
from edge.camera_metrics import metrics_text, write_metrics
from edge.camera_report import CameraReport
from edge.metrics import serving_metrics

STATS = CameraReport(
    camera="a",
    type="stats",
    judged=100,
    drops={"overload": 3, "unclear": 2},
    rate_fps=4.5,
    age_ms_max=120,
    inference_ms_mean=41,
    blind_s=7.5,
)


def scrape(folder: Path, ids: list[str]) -> dict[tuple[str, ...], float]:
    """(name, camera, cause if any) → value, over HTTP."""
    ports: list[int] = []
    with serving_metrics(CameraCollector(folder, ids), 0, ports.append):
        address = f"http://127.0.0.1:{ports[0]}/metrics"
        with urllib.request.urlopen(address, timeout=10) as answer:
            text = answer.read().decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_camera_has_rate_age_drops_by_cause_cost_and_blind_time(tmp_path: Path) -> None:
    write_metrics(tmp_path, "a", metrics_text("a", STATS, sees=True))
    write_metrics(tmp_path, "b", metrics_text("b", STATS.model_copy(update={"rate_fps": 1.5}), sees=False))
    found = scrape(tmp_path, ["a", "b"])
    assert found["brightline_camera_up", "a"] == 1
    assert found["brightline_camera_up", "b"] == 0
    assert found["brightline_camera_rate_fps", "a"] == 4.5
    assert found["brightline_camera_rate_fps", "b"] == 1.5
    assert found["brightline_camera_age_ms_max", "a"] == 120
    assert found["brightline_camera_inference_ms_mean", "a"] == 41
    assert found["brightline_camera_blind_seconds_total", "a"] == 7.5
    assert found["brightline_camera_dropped_total", "a", "overload"] == 3
    assert found["brightline_camera_dropped_total", "b", "unclear"] == 2


def test_a_camera_without_fresh_figures_is_only_down(tmp_path: Path) -> None:
    for camera_id in ("old", "large", "torn", "removed"):
        write_metrics(tmp_path, camera_id, metrics_text(camera_id, STATS, sees=True))
    long_ago_s = time.time() - STALE_S - 5
    os.utime(tmp_path / "camera-old.prom", (long_ago_s, long_ago_s))
    (tmp_path / "camera-large.prom").write_text("#" * (FILE_BYTES_MAX + 1), "utf-8")
    (tmp_path / "camera-torn.prom").write_text('brightline_camera_up{camera="to', "utf-8")
    ids = ["old", "large", "torn", "never"]
    assert scrape(tmp_path, ids) == {("brightline_camera_up", camera_id): 0 for camera_id in ids}


def test_figures_of_several_cameras_share_one_family_each(tmp_path: Path) -> None:
    for camera_id in ("a", "b"):
        write_metrics(tmp_path, camera_id, metrics_text(camera_id, STATS, sees=True))
    registry = CollectorRegistry()
    registry.register(CameraCollector(tmp_path, ["a", "b"]))
    names = [family.name for family in registry.collect()]
    assert len(names) == len(set(names))
