"""The cameras' figures for the box's own metrics address: what their processes keep in DATA_DIR/metrics, given on.

The text files stay for node_exporter; this reads the same ones when it is asked, so that there is one source. A file
that nobody has renewed for a while is of a process that is gone: of it only ``up`` 0 is told.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

FILE_BYTES_MAX = 64 * 1024
STALE_S = 60.0  # a camera process reports every ten to fifteen seconds, blind or not
UP = "brightline_camera_up"


class CameraCollector(Collector):
    """Figures of the cameras *ids*, from their files in *folder*."""

    def __init__(self, folder: Path, ids: Sequence[str]) -> None:
        self._folder = folder
        self._ids = ids

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for camera_id in self._ids:
            for family in self._read(camera_id) or [_down(camera_id)]:
                families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                families[family.name].samples += family.samples
        yield from families.values()

    def _read(self, camera_id: str) -> list[Metric]:
        path = self._folder / f"camera-{camera_id}.prom"
        try:
            found = path.stat()
            if time.time() - found.st_mtime > STALE_S or found.st_size > FILE_BYTES_MAX:
                return []
            return list(text_string_to_metric_families(path.read_text("utf-8")))
        except (OSError, ValueError):  # not there yet, or no figures
            return []


def _down(camera_id: str) -> Metric:
    family = GaugeMetricFamily(UP, "1 while the camera sees, 0 while it is blind, offline or its process is dead",
                               labels=["camera"])  # fmt: skip
    family.add_metric([camera_id], 0)
    return family
