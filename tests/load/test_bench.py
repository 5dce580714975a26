"""The parts of the bench run as they stand: a figure that cannot be taken any more is found here, not on the day."""

from __future__ import annotations

from pathlib import Path

from tests.load.parts import bench_commit, bench_ingest


def test_the_parts_are_measured(tmp_path: Path) -> None:
    for figures in (bench_commit(tmp_path, 2, 2), bench_ingest(tmp_path, 2, 2, 2)):
        assert figures["per_s"] > 0
        assert figures["per_cpu_s"] > 0
