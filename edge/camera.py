"""The camera process: `python -m edge.camera`. Looks, judges, seals the pictures, then says so on standard output.

The only importer of `vision`. It gets its settings as one JSON line on standard input and ends when that closes,
so it never outlives the box. Pictures are on disk, signed, before the violation is announced.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import uuid
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from telemetry.batch import sha256_hex
from telemetry.evidence import EvidenceManifest, seal_evidence
from telemetry.signing import Signer
from telemetry.spool import EvidenceSpool

END_S = 3.0  # from the end of standard input to the end of the process, whatever a camera does


class CameraTask(BaseModel):
    """What the parent tells the camera process."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    box_id: str
    camera_id: str
    place: str
    source: str
    model: Path | None
    dwell_s: float
    recover_s: float
    rate_fps: float
    confidence: float
    key_file: Path
    spool_dir: Path
    open_incidents: dict[str, str]  # kind → incident id


class CameraReport(BaseModel):
    """One line of what the camera process says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["violation_opened", "violation_closed", "camera_blind", "camera_recovered", "stats"]
    at: AwareDatetime | None = None
    incident_id: str | None = None
    kind: str | None = None
    confidence: float | None = None
    duration_s: float | None = None
    model_sha256: str | None = None
    evidence: list[str] = []
    reason: str | None = None
    judged: int | None = None
    dropped: int | None = None


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
    _watch(task, stop)
    sys.stdout.flush()
    os._exit(0)  # threads inside native libraries are not waited for


def _watch(task: CameraTask, stop: threading.Event) -> None:
    from vision.detector import DEFAULT_MODEL
    from vision.pipeline import (
        CameraStatus,
        FrameStats,
        OpenIncident,
        ViolationClosed,
        ViolationOpened,
        Watch,
        WatchSettings,
    )

    settings = WatchSettings(
        camera_id=task.camera_id,
        source=task.source,
        model_path=task.model or DEFAULT_MODEL,
        dwell_s=task.dwell_s,
        recover_s=task.recover_s,
        rate_fps=task.rate_fps,
        confidence=task.confidence,
        open_incidents=tuple(OpenIncident(incident, kind) for kind, incident in task.open_incidents.items()),
    )
    signer = Signer.load(task.key_file)
    spool = EvidenceSpool(task.spool_dir)
    for item in Watch(settings).run(stop):
        if isinstance(item, ViolationOpened):
            report = _opened(task, item, signer, spool)
        elif isinstance(item, ViolationClosed):
            report = CameraReport(type="violation_closed", at=item.at, incident_id=item.incident_id, kind=item.kind)
        elif isinstance(item, CameraStatus):
            kind: Literal["camera_blind", "camera_recovered"] = "camera_blind" if item.blind else "camera_recovered"
            report = CameraReport(type=kind, at=item.at, reason=item.reason)
        elif isinstance(item, FrameStats):
            report = CameraReport(type="stats", judged=item.judged, dropped=item.dropped)
        sys.stdout.write(report.model_dump_json(exclude_none=True) + "\n")
        sys.stdout.flush()


def _opened(task: CameraTask, item: object, signer: Signer, spool: EvidenceSpool) -> CameraReport:
    from vision.pipeline import ViolationOpened

    assert isinstance(item, ViolationOpened)
    config = sha256_hex(json.dumps(task.model_dump(mode="json", exclude={"source", "open_incidents"})).encode())
    digests: list[str] = []
    pictures: tuple[tuple[Literal["annotated", "snapshot"], bytes], ...] = (
        ("annotated", item.annotated_jpeg),
        ("snapshot", item.snapshot_jpeg),
    )
    for role, blob in pictures:
        manifest = EvidenceManifest(
            evidence_id=uuid.uuid4().hex,
            sha256=sha256_hex(blob),
            size_bytes=len(blob),
            media_type="image/jpeg",
            role=role,
            incident_id=item.incident_id,
            box_id=task.box_id,
            camera_id=task.camera_id,
            place=task.place,
            taken_at=item.at,
            kind=item.kind,
            model_sha256=item.model_sha256,
            config_sha256=config,
            description=f"one person, {item.kind} for {item.duration_s:.1f} s",
        )
        spool.put(seal_evidence(manifest, blob, signer), manifest.sha256)
        digests.append(manifest.sha256)
    return CameraReport(
        type="violation_opened",
        at=item.at,
        incident_id=item.incident_id,
        kind=item.kind,
        confidence=round(item.confidence, 4),
        duration_s=round(item.duration_s, 2),
        model_sha256=item.model_sha256,
        evidence=digests,
    )


if __name__ == "__main__":
    sys.exit(main())
