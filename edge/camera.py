"""The camera process: `python -m edge.camera`. Looks, judges, seals the pictures, then says so on standard output.

The only importer of `vision`. It gets its settings as one JSON line on standard input and ends when that closes,
so it never outlives the box. Pictures are on disk, signed, before the violation is announced.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from edge.camera_evidence import EvidenceDesk, Subject
from edge.config_cameras import Camera, CameraHours
from telemetry.signing import Signer
from telemetry.spool import EvidenceSpool

if TYPE_CHECKING:
    from vision.happenings import CameraStatus, ModelChanged, ViolationOpened, WatchItem
    from vision.watch_settings import WatchSettings

END_S = 3.0  # from the end of standard input to the end of the process, whatever a camera does


class CameraTask(BaseModel):
    """What the parent tells the camera process. ``open_incidents``: kind, or kind@zone → incident id."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    box_id: str
    camera: Camera
    key_file: Path
    spool_dir: Path
    open_incidents: dict[str, str]


class CoverageLine(BaseModel):
    """Seconds that had to be watched, and were, of one kind in one zone (empty: the whole picture)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    zone: str
    due_s: float
    judged_s: float


class CameraReport(BaseModel):
    """One line of what the camera process says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal[
        "violation_opened",
        "violation_updated",
        "violation_closed",
        "camera_blind",
        "camera_recovered",
        "coverage",
        "stats",
        "misconfigured",
        "model_changed",
    ]
    at: AwareDatetime | None = None
    incident_id: str | None = None
    kind: str | None = None
    zone: str | None = None
    confidence: float | None = None
    duration_s: float | None = None
    model_sha256: str | None = None
    evidence: list[str] = []
    reason: str | None = None
    judged: int | None = None
    dropped: int | None = None
    doubtful: int | None = None
    rate_fps: float | None = None
    age_ms_max: float | None = None
    inference_ms_mean: float | None = None
    blind_s: float | None = None
    started_at: AwareDatetime | None = None
    coverage: list[CoverageLine] = []


def main() -> int:
    """Run until standard input closes; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    line = sys.stdin.readline()
    if not line:
        return 2
    task = CameraTask.model_validate_json(line)
    stop = threading.Event()

    def end_with_parent() -> None:
        sys.stdin.read()
        stop.set()
        threading.Timer(END_S, os._exit, (1,)).start()  # a hung native call shall not keep the process alive

    threading.Thread(target=end_with_parent, daemon=True).start()
    status = _watch(task, stop)
    sys.stdout.flush()
    os._exit(status)  # threads inside native libraries are not waited for


def _watch(task: CameraTask, stop: threading.Event) -> int:
    from vision.manifest import ModelError
    from vision.pipeline import Watch

    try:
        watch = Watch(_settings(task))
    except (ModelError, ValueError) as error:
        _say(CameraReport(type="misconfigured", reason=str(error)[:500]))
        return 2
    desk = EvidenceDesk(task, Signer.load(task.key_file), EvidenceSpool(task.spool_dir))
    for item in watch.run(stop):
        _say(_report(item, desk))
    return 0


def model_problem(camera: Camera) -> str:
    """Why *camera* cannot be watched with its models, by their manifests; empty when it can."""
    from vision.manifest import ModelError
    from vision.readiness import check_models

    nowhere = Path()
    try:
        check_models(_settings(CameraTask(
            box_id="check", camera=camera, key_file=nowhere, spool_dir=nowhere, open_incidents={}
        )))  # fmt: skip
    except (ModelError, ValueError) as error:
        return str(error)
    return ""


def _say(report: CameraReport) -> None:
    sys.stdout.write(report.model_dump_json(exclude_none=True) + "\n")
    sys.stdout.flush()


def _settings(task: CameraTask) -> WatchSettings:
    from vision.catalogue import DEFAULT_FOLDER
    from vision.detector import DEFAULT_MODEL
    from vision.site_times import SiteTimes, Span
    from vision.watch_settings import ModelUse, OpenIncident, ShadowUse, Watched, WatchSettings
    from vision.zones import Zone

    def spans(hours: tuple[CameraHours, ...]) -> tuple[Span, ...]:
        return tuple(Span(item.start, item.end, item.days) for item in hours)

    camera = task.camera
    times = camera.times
    incidents = [(*key.partition("@")[::2], incident) for key, incident in task.open_incidents.items()]
    return WatchSettings(
        camera_id=camera.id,
        source=camera.source,
        models=tuple(
            ModelUse(
                item.path or DEFAULT_MODEL,
                item.rate_fps,
                item.regions,
                item.close_look,
                ShadowUse(**dict(item.shadow)) if item.shadow else None,
            )
            for item in camera.models_used
        ),
        violations=tuple(Watched(item.code, item.zones, camera.changes_for(item)) for item in camera.violations),
        zones=tuple(Zone(item.id, item.kind, item.polygon, item.anchor) for item in camera.zones),
        masks=camera.masks,
        times=SiteTimes(
            times.time_zone, spans(times.open), {name: spans(hours) for name, hours in times.meals.items()}
        ),
        catalogue=camera.catalogue or DEFAULT_FOLDER,
        rate_fps=camera.rate_fps,
        shadow_dir=task.spool_dir.parent / "shadow" / camera.id,
        open_incidents=tuple(OpenIncident(incident, kind, zone) for kind, zone, incident in incidents),
    )


def _report(item: WatchItem, desk: EvidenceDesk) -> CameraReport:
    from vision.happenings import CameraStatus, ClipReady, FrameStats, ModelChanged, ViolationClosed, ViolationOpened

    if isinstance(item, ViolationOpened):
        return _opened(item, desk)
    if isinstance(item, ClipReady):
        subject = Subject(item.incident_id, item.kind, item.at, item.model_sha256, f"film of {item.kind}", item.zone)
        return CameraReport(
            type="violation_updated", at=item.at, incident_id=item.incident_id, kind=item.kind, zone=item.zone,
            evidence=[*desk.of_incident(item.incident_id), desk.keep("clip", item.clip_mp4, subject)],
        )  # fmt: skip
    if isinstance(item, ViolationClosed):
        return CameraReport(
            type="violation_closed", at=item.at, incident_id=item.incident_id, kind=item.kind, zone=item.zone,
            reason=item.reason,
        )  # fmt: skip
    if isinstance(item, CameraStatus | ModelChanged):
        return _changed(item)
    if isinstance(item, FrameStats):
        return CameraReport(
            type="stats", judged=item.judged, dropped=item.dropped, doubtful=item.doubtful, blind_s=item.blind_s,
            rate_fps=item.rate_fps, age_ms_max=item.age_ms_max, inference_ms_mean=item.inference_ms_mean,
        )  # fmt: skip
    rows = [CoverageLine(kind=row.kind, zone=row.zone, due_s=row.due_s, judged_s=row.judged_s) for row in item.rows]
    return CameraReport(type="coverage", at=item.at, started_at=item.started_at, blind_s=item.blind_s, coverage=rows)


def _changed(item: CameraStatus | ModelChanged) -> CameraReport:
    from vision.happenings import ModelChanged

    if isinstance(item, ModelChanged):
        change = "promoted" if item.promoted else "rolled_back"
        return CameraReport(
            type="model_changed", at=item.at, kind=change, reason=item.reason, model_sha256=item.model_sha256
        )
    kind: Literal["camera_blind", "camera_recovered"] = "camera_blind" if item.blind else "camera_recovered"
    return CameraReport(type=kind, at=item.at, reason=item.reason)


def _opened(item: ViolationOpened, desk: EvidenceDesk) -> CameraReport:
    where = f" in zone {item.zone}" if item.zone else ""
    subject = Subject(
        item.incident_id,
        item.kind,
        item.at,
        item.model_sha256,
        f"{item.kind}{where} for {item.duration_s:.1f} s",
        item.zone,
    )
    return CameraReport(
        type="violation_opened",
        at=item.at,
        incident_id=item.incident_id,
        kind=item.kind,
        zone=item.zone,
        confidence=round(item.confidence, 4),
        duration_s=round(item.duration_s, 2),
        model_sha256=item.model_sha256,
        evidence=[
            desk.keep("annotated", item.annotated_jpeg, subject),
            desk.keep("snapshot", item.snapshot_jpeg, subject),
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
