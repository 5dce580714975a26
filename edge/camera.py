"""The camera process: `python -m edge.camera`. Watches several cameras, seals the pictures, says so on standard output.

The only importer of `vision`. It gets its settings as one JSON line on standard input and ends when that closes,
so it never outlives the box. Pictures are on disk, signed, before the violation is announced.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from edge.camera_evidence import EvidenceDesk, Kept, Pictures, Subject, Tier
from edge.camera_report import CANDIDATE_OFF, CameraOrder, CameraReport, CoverageLine
from edge.camera_task import CameraTask, WatchTask
from edge.clock import clock_synced
from edge.config_cameras import Camera, CameraHours
from edge.evidence_folder import EvidenceFolder
from edge.film_desk import FilmDesk, FilmOrder, FilmTold
from edge.old_recordings import recording_dir
from telemetry.batch import sha256_hex
from telemetry.evidence import FrameTimes
from telemetry.signing import Signer
from telemetry.spool import EvidenceSpool

if TYPE_CHECKING:
    from vision import happenings
    from vision.crumbs import Crumbs
    from vision.looks import LookDesk
    from vision.model_shelf import ModelShelf
    from vision.pipeline import Watch
    from vision.segments import RecordingUse
    from vision.watch_settings import WatchSettings

RECORDING_RESERVE_BYTES = 128 * 1024 * 1024  # so that new evidence removes old minutes, never old evidence
END_S = 3.0  # from the end of standard input to the end of the process, whatever a camera does


def main() -> int:
    """Run until standard input closes; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    line = sys.stdin.readline()
    if not line:
        return 2
    task = WatchTask.model_validate_json(line)
    stop = threading.Event()
    desks: dict[str, LookDesk] = {}

    def end_with_parent() -> None:
        for line in sys.stdin:
            _order(line, desks)
        stop.set()
        threading.Timer(END_S, os._exit, (1,)).start()  # a hung native call shall not keep the process alive

    threading.Thread(target=end_with_parent, daemon=True).start()
    status = _watch(task, stop, desks)
    sys.stdout.flush()
    os._exit(status)  # threads inside native libraries are not waited for


def suspects(crumbs_file: Path, camera_ids: Sequence[str], *, judged_only: bool) -> list[str]:
    """Which cameras of a process that died were inside of native code, or only: were being judged."""
    from vision.crumbs import read_suspects

    return read_suspects(crumbs_file, camera_ids, judged_only=judged_only)


def suspected_shadows(crumbs_file: Path, camera_ids: Sequence[str]) -> list[tuple[str, int]]:
    """Which candidates were inside of native code when a process died: camera and number of the model."""
    from vision.crumbs import read_suspected_shadows

    return read_suspected_shadows(crumbs_file, camera_ids)


def _order(line: str, desks: Mapping[str, LookDesk]) -> None:
    """Have an order carried out; one for a camera that is not watched has no answer."""
    from vision.looks import LookOrder

    try:
        order = CameraOrder.model_validate_json(line)
    except ValidationError as error:
        logging.getLogger(__name__).error("an order cannot be read: %s", error.errors()[0]["msg"])
        return
    if order.camera in desks:
        desks[order.camera].take(
            LookOrder(order.order_id, order.what, order.kind, order.zone, order.at, order.before_s, order.after_s)
        )


def _watch(task: WatchTask, stop: threading.Event, desks: dict[str, LookDesk]) -> int:
    from vision.crumbs import Crumbs
    from vision.model_shelf import ModelShelf
    from vision.watchroom import share_cores, watch_cameras

    spare = max(1, len(os.sched_getaffinity(0)) - 1)  # one core is for the decoders and the box
    judges, threads = share_cores(spare, len(task.cameras))
    shelf = ModelShelf(threads)
    crumbs = Crumbs(task.crumbs_file, [one.camera.id for one in task.cameras])
    watches = [watch for one in task.cameras if (watch := _open_watch(one, shelf, crumbs))]
    if not watches:
        return 2
    desks.update({watch.settings.camera_id: watch.looks for watch in watches})
    keepers = {one.camera.id: _keeper(one) for one in task.cameras}
    for item in watch_cameras(watches, stop, crumbs, judges=judges):
        keeper = keepers[item.camera_id]
        if report := _report(item, keeper):
            _say(report)
        for state in keeper.desk.storage_changes():
            _say(CameraReport(camera=item.camera_id, type="storage", reason=state))
    return 0


def _open_watch(task: CameraTask, shelf: ModelShelf, crumbs: Crumbs) -> Watch | None:
    """None when the camera is misconfigured, which is told; the others go on."""
    from vision.manifest import ModelError
    from vision.pipeline import Watch
    from vision.watchroom import check_source

    try:
        watch = Watch(_settings(task), shelf=shelf, in_shadow=partial(crumbs.of_shadow, task.camera.id))
        check_source(watch)
        return watch
    except (ModelError, ValueError) as error:
        _say(CameraReport(camera=task.camera.id, type="misconfigured", reason=str(error)[:500]))
        return None


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


def load_problem(model: Path) -> str:
    """Why *model* does not run here; empty when it looked at a picture."""
    from vision.detector import OnnxDetector
    from vision.manifest import ModelError

    try:
        OnnxDetector(model)
    except (ModelError, ValueError) as error:
        return str(error).replace(f"{model.parent}/", "")  # it is told to the centre, which knows no folders of ours
    return ""


@dataclass(frozen=True)
class Keeper:
    """Where one camera's evidence goes. ``tiers``: of each kind in its catalogue. ``masked``: its own films show what
    nobody may see, and are only what the shared ones are made of."""

    desk: EvidenceDesk
    films: FilmDesk | None
    tiers: Mapping[str, Tier]
    masked: bool

    def order_masked(self, clip_mp4: bytes, order: FilmOrder) -> None:
        """Have the shared film made of a clip that is not to be kept; where none are made, it is dropped."""
        if self.films is not None:
            self.films.order(order, clip_mp4)


def _keeper(task: CameraTask) -> Keeper:
    from vision.catalogue import DEFAULT_FOLDER, Catalogue
    from vision.detector import DEFAULT_MODEL

    settings = task.evidence
    signer = Signer.load(task.key_file)
    folder = EvidenceFolder(
        task.evidence_dir, bytes_max=settings.local_bytes_max, free_bytes_min=settings.free_bytes_min
    )
    desk = EvidenceDesk(task, signer, EvidenceSpool(task.spool_dir), folder)
    catalogue = Catalogue.load(task.camera.catalogue or DEFAULT_FOLDER)
    films = None
    if settings.films:
        models = [item.path or DEFAULT_MODEL for item in task.camera.models_used]
        tell = partial(_tell_film, task.camera.id)
        films = FilmDesk(
            desk, task.camera.id, models, settings.face_model, signer.public_key, tell, masks=task.camera.masks
        )
        films.start()
    tiers = {code: item.tiers[0] for code, item in catalogue.violations.items()}
    return Keeper(desk, films, tiers, masked=bool(task.camera.masks))


_SAYING = threading.Lock()  # the film desk says things from its own thread


def _say(report: CameraReport) -> None:
    with _SAYING:
        sys.stdout.write(report.model_dump_json(exclude_none=True) + "\n")
        sys.stdout.flush()


def _tell_film(camera_id: str, told: FilmTold) -> None:
    order = told.order
    if order.asked:
        _say(CameraReport(
            camera=camera_id, type="looked", at=order.at, order_id=order.incident_id, evidence=told.evidence,
            status="failed" if told.missing else "done", reason="; ".join(told.missing),
        ))  # fmt: skip
        return
    _say(CameraReport(
        camera=camera_id, type="violation_updated", at=order.at, incident_id=order.incident_id, kind=order.kind,
        zone=order.zone, evidence=told.evidence, evidence_missing=told.missing, is_film=True,
    ))  # fmt: skip


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
        source=camera.watched_source,
        clip_source=camera.film_source,
        keyframes_only=camera.keyframes_only,
        hardware=camera.hardware,
        view=camera.view,
        sight_file=task.spool_dir.parent / "vision" / f"{camera.id}.view.npz",
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
        crashed_shadows=task.crashed_shadows,
        recording=_recording(task),
        masked_films=task.evidence.films,
        open_incidents=tuple(OpenIncident(incident, kind, zone) for kind, zone, incident in incidents),
        face_model=task.evidence.face_model,
        blind=task.blind,
    )


def _recording(task: CameraTask) -> RecordingUse | None:
    from vision.segments import RecordingUse

    if (wanted := task.camera.recording) is None:
        return None
    folder = recording_dir(task.spool_dir.parent, task.camera.id)
    free_bytes_min = task.evidence.free_bytes_min + RECORDING_RESERVE_BYTES
    return RecordingUse(folder, wanted.hours, wanted.bytes_max, free_bytes_min, clock_synced)


def _report(item: happenings.WatchItem, keeper: Keeper) -> CameraReport | None:
    """None for what is told later, when there is a film of it."""
    from vision import happenings
    from vision.coverage import CoverageReport

    if isinstance(item, happenings.ViolationOpened):
        return _opened(item, keeper)
    if isinstance(item, happenings.ClipReady | happenings.ClipMissing | happenings.Looked):
        return _looked(item, keeper) if isinstance(item, happenings.Looked) else _filmed(item, keeper)
    if isinstance(item, happenings.ViolationClosed):
        return CameraReport(
            camera=item.camera_id, type="violation_closed", at=item.at,
            incident_id=item.incident_id, kind=item.kind, zone=item.zone,
            reason=item.reason,
        )  # fmt: skip
    if isinstance(item, happenings.FrameStats):
        return CameraReport(
            camera=item.camera_id, type="stats", judged=item.judged, drops=dict(item.drops), blind_s=item.blind_s,
            rate_fps=item.rate_fps, age_ms_max=item.age_ms_max, inference_ms_mean=item.inference_ms_mean,
        )  # fmt: skip
    if not isinstance(item, CoverageReport):
        return _changed(item)
    rows = [CoverageLine(kind=row.kind, zone=row.zone, due_s=row.due_s, judged_s=row.judged_s) for row in item.rows]
    return CameraReport(
        camera=item.camera_id, type="coverage", at=item.at, started_at=item.started_at, blind_s=item.blind_s,
        coverage=rows, models=list(item.models),
    )  # fmt: skip


def _looked(item: happenings.Looked, keeper: Keeper) -> CameraReport | None:
    """What an order showed is kept under the order's id: it is no incident."""
    about = f"asked for: {item.kind or 'picture'}"
    subject = Subject(item.order_id, item.kind or "snapshot", item.at, item.model_sha256, about, item.zone)
    kept = Kept()
    if item.original_jpeg:
        kept = keeper.desk.keep_look(Pictures(item.original_jpeg, item.snapshot_jpeg, b"", item.faces), subject)
    elif item.clip_mp4 and item.first_at and item.last_at:
        frames = FrameTimes(first_at=item.first_at, last_at=item.last_at, count=item.frames)
        if keeper.masked:
            keeper.order_masked(item.clip_mp4, FilmOrder(
                incident_id=item.order_id, kind=subject.kind, zone=item.zone, at=item.at,
                model_sha256=item.model_sha256, clip_sha256=None, frames=frames, asked=True,
            ))  # fmt: skip
            return None
        kept = keeper.desk.keep_clip(item.clip_mp4, frames, subject)
    return CameraReport(
        camera=item.camera_id, type="looked", at=item.at, order_id=item.order_id, status=item.status,
        reason=item.reason, verdict=item.verdict, evidence=kept.evidence, evidence_missing=kept.missing,
    )  # fmt: skip


def _filmed(item: happenings.ClipReady | happenings.ClipMissing, keeper: Keeper) -> CameraReport | None:
    from vision.happenings import ClipMissing

    if isinstance(item, ClipMissing):
        return _film_told(item, keeper, [f"clip: {item.reason}"])
    frames = FrameTimes(first_at=item.first_at, last_at=item.last_at, count=item.frames)
    order = FilmOrder(
        incident_id=item.incident_id, kind=item.kind, zone=item.zone, at=item.at, model_sha256=item.model_sha256,
        tier=keeper.tiers.get(item.kind), clip_sha256=None if keeper.masked else sha256_hex(item.clip_mp4),
        frames=frames,
    )  # fmt: skip
    if keeper.masked:
        keeper.order_masked(item.clip_mp4, order)
        return None
    kept = keeper.desk.keep_clip(item.clip_mp4, frames, order.subject)
    if keeper.films is not None and not kept.missing:
        keeper.films.order(order)
    return _film_told(item, keeper, kept.missing)


def _film_told(item: happenings.ClipReady | happenings.ClipMissing, keeper: Keeper, missing: list[str]) -> CameraReport:
    return CameraReport(
        camera=item.camera_id, type="violation_updated", at=item.at, incident_id=item.incident_id, kind=item.kind,
        zone=item.zone, evidence=keeper.desk.of_incident(item.incident_id), evidence_missing=missing,
    )  # fmt: skip


def _changed(
    item: happenings.CameraStatus | happenings.ModelChanged | happenings.CandidateOff | happenings.RecordingChanged,
) -> CameraReport:
    from vision import happenings

    if isinstance(item, happenings.RecordingChanged):
        reason = "recording_on" if item.on else f"recording_off: {item.reason}"[:200]
        return CameraReport(camera=item.camera_id, type="storage", at=item.at, reason=reason)
    if not isinstance(item, happenings.CameraStatus):
        change, other_sha256 = CANDIDATE_OFF, None
        if isinstance(item, happenings.ModelChanged):
            change, other_sha256 = "promoted" if item.promoted else "rolled_back", item.other_sha256
        return CameraReport(
            camera=item.camera_id, type="model_changed", at=item.at, kind=change, reason=item.reason,
            model_sha256=item.model_sha256, other_sha256=other_sha256,
        )  # fmt: skip
    kind: Literal["camera_blind", "camera_recovered"] = "camera_blind" if item.blind else "camera_recovered"
    return CameraReport(camera=item.camera_id, type=kind, at=item.at, reason=item.reason)


def _opened(item: happenings.ViolationOpened, keeper: Keeper) -> CameraReport:
    where = f" in zone {item.zone}" if item.zone else ""
    about = f"{item.kind}{where} for {item.duration_s:.1f} s"
    tier = keeper.tiers.get(item.kind)
    subject = Subject(item.incident_id, item.kind, item.at, item.model_sha256, about, item.zone, tier, item.box)
    pictures = Pictures(item.original_jpeg, item.snapshot_jpeg, item.annotated_jpeg, item.faces)
    kept = keeper.desk.keep_pictures(pictures, subject)
    return CameraReport(
        camera=item.camera_id, type="violation_opened", at=item.at, incident_id=item.incident_id, kind=item.kind,
        zone=item.zone, confidence=round(item.confidence, 4), duration_s=round(item.duration_s, 2),
        model_sha256=item.model_sha256, evidence=kept.evidence, evidence_missing=kept.missing,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
