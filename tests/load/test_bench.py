"""The parts of the bench run as they stand: a figure that cannot be taken any more is found here, not on the day."""

from __future__ import annotations

from pathlib import Path

from tests.load.many_boxes import measure_many_boxes
from tests.load.parts import bench_commit, bench_ingest


def test_the_parts_are_measured(tmp_path: Path) -> None:
    for figures in (bench_commit(tmp_path, 2, 2), bench_ingest(tmp_path, 2, 2, 2)):
        assert figures["per_s"] > 0
        assert figures["per_cpu_s"] > 0


def test_events_of_many_boxes_are_told_while_all_send_readings(tmp_path: Path) -> None:
    found = measure_many_boxes(tmp_path, boxes=10, period_s=1.0, events=5, duration_s=2.0)
    assert found["event_to_stream_ms"]["events"] == 5
    assert 0 < found["event_to_stream_ms"]["p50"] <= found["event_to_stream_ms"]["p99"]
    assert found["batches_per_s"] > 1
