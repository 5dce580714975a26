"""What a recorded film would have raised: incidents with their times, blindness, and how long was judged.

The same watch as live, on the film's own clock, so that the same film always gives the same answer.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from vision.coverage import CoverageReport
from vision.film import read_film
from vision.happenings import CameraStatus, ViolationClosed, ViolationOpened, WatchItem
from vision.pipeline import Watch


def replay(watch: Watch, path: Path, start: datetime) -> dict[str, Any]:
    """The report on the film at *path* whose first picture is of *start*; seconds count from there. ValueError."""
    report = _Report(start)
    frames, last = 0, start
    for frame in read_film(path, watch.settings.rate_fps, start):
        frames, last = frames + 1, frame.captured_at
        for item in watch.judge(frame):
            report.take(item)
    for item in watch.finish():
        report.take(item)
    return {"video": str(path), "start": start.isoformat(), "frames": frames,
            "duration_s": round((last - start).total_seconds(), 3), **report.as_dict()}  # fmt: skip


class _Report:
    def __init__(self, start: datetime) -> None:
        self._start = start
        self._incidents: dict[str, dict[str, Any]] = {}
        self._blind: list[dict[str, Any]] = []
        self._coverage: dict[tuple[str, str], list[float]] = {}

    def take(self, item: WatchItem) -> None:
        if isinstance(item, ViolationOpened):
            began = item.at - timedelta(seconds=item.duration_s)
            self._incidents[item.incident_id] = {
                "kind": item.kind, "zone": item.zone, "began_s": self._s(began), "opened_s": self._s(item.at),
                "closed_s": None, "confidence": round(item.confidence, 4), "model_sha256": item.model_sha256,
            }  # fmt: skip
        elif isinstance(item, ViolationClosed):
            self._incidents[item.incident_id] |= {"closed_s": self._s(item.at), "closed_because": item.reason}
        elif isinstance(item, CameraStatus) and item.blind:
            self._blind.append({"from_s": self._s(item.at), "to_s": None, "reason": item.reason})
        elif isinstance(item, CameraStatus):
            self._blind[-1]["to_s"] = self._s(item.at)
        elif isinstance(item, CoverageReport):
            for row in item.rows:
                sums = self._coverage.setdefault((row.kind, row.zone), [0.0, 0.0])
                sums[0] += row.due_s
                sums[1] += row.judged_s

    def as_dict(self) -> dict[str, Any]:
        coverage = [
            {"kind": kind, "zone": zone, "due_s": round(due_s, 3), "judged_s": round(judged_s, 3)}
            for (kind, zone), (due_s, judged_s) in self._coverage.items()
        ]
        return {"incidents": list(self._incidents.values()), "blind": self._blind, "coverage": coverage}

    def _s(self, at: datetime) -> float:
        return round((at - self._start).total_seconds(), 3)


def summary(report: dict[str, Any]) -> str:
    """The report for people, a line each."""
    lines = [f"{report['video']}: {report['duration_s']} s, {report['frames']} pictures"]
    for item in report["incidents"]:
        end = "still open" if item["closed_s"] is None else f"closed at {item['closed_s']} s ({item['closed_because']})"
        where = f" in {item['zone']}" if item["zone"] else ""
        lines.append(f"{item['kind']}{where}: confirmed at {item['opened_s']} s, {end}")
    lines += [f"blind from {item['from_s']} s to {item['to_s']} s: {item['reason']}" for item in report["blind"]]
    for item in report["coverage"]:
        where = f" in {item['zone']}" if item["zone"] else ""
        lines.append(f"judged for {item['kind']}{where}: {item['judged_s']} of {item['due_s']} s")
    return "\n".join(lines) + "\n"
