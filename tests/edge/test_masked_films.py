"""A camera with masks gives films, and nowhere on the box is there a picture of what the masks cover."""

from __future__ import annotations

import io
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import numpy as np
import pytest
from pyrage.x25519 import Identity

from edge.camera import Keeper, _filmed, _looked, _report
from edge.camera_report import CameraOrder, CameraReport
from edge.camera_task import CameraTask
from edge.config_cameras import Camera
from edge.config_evidence import EvidenceSection
from firmware_sim.camera import Schedule, write_file
from telemetry.evidence import SealedEvidence, open_evidence
from tests.edge.originals import NOON, SIGNER, key_of
from tests.edge.test_camera_child import reports_of, start, told
from tests.edge.test_film_desk import CLIP, Bench
from vision.happenings import ClipMissing, ClipReady, Looked
from vision.zones import BLANK

MASK = ((0.75, 0.0), (1.0, 0.0), (1.0, 0.5), (0.75, 0.5))
LAST = NOON + timedelta(seconds=10)


def kept(folder: Path) -> list[SealedEvidence]:
    return [open_evidence(path.read_bytes(), key_of) for path in folder.rglob("*.ble")]


def test_the_film_of_an_incident_is_made_of_a_clip_that_is_never_kept(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    keeper = Keeper(bench.evidence, bench.films, {"no_mask": "II"}, masked=True)
    assert _filmed(ClipReady("i1", "no_mask", "", NOON, "kitchen", CLIP, NOON, LAST, 250, "a" * 64), keeper) is None
    assert CLIP not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    bench.films.work()
    (film,) = kept(tmp_path)
    said = film.manifest
    assert (film.blob, said.role, said.incident_id, said.tier) == (CLIP[::-1], "film", "i1", "II")
    assert (said.original_sha256, said.original_role) == (None, None)
    assert [told.missing for told in bench.told] == [[]]
    bench.films.work()
    assert len(bench.told) == 1


def test_the_film_that_somebody_asked_for_is_told_when_it_is_made(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    keeper = Keeper(bench.evidence, bench.films, {}, masked=True)
    asked = Looked("o1", "kitchen", LAST, "done", "", clip_mp4=CLIP, first_at=NOON, last_at=LAST, frames=250)
    assert _looked(asked, keeper) is None
    bench.films.work()
    (told,) = bench.told
    assert (told.order.asked, told.order.incident_id, len(told.evidence)) == (True, "o1", 1)
    assert [item.manifest.role for item in kept(tmp_path)] == ["film"]


def test_a_crash_costs_the_film_and_not_the_secret_and_only_a_few_clips_wait_in_memory(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    keeper = Keeper(bench.evidence, bench.films, {}, masked=True)
    for name in ("i1", "i2", "i3"):
        _filmed(ClipReady(name, "no_mask", "", NOON, "kitchen", CLIP, NOON, LAST, 250, "a" * 64), keeper)
    assert [told.missing for told in bench.told] == [["film: too many films wait to be made"]]
    again = Bench(tmp_path)
    again.films.work()
    assert [told.missing for told in again.told] == [["film: the process ended before it was made"]] * 2
    assert kept(tmp_path) == []
    _filmed(
        ClipReady("i4", "no_mask", "", NOON, "kitchen", CLIP, NOON, LAST, 250, "a" * 64),
        Keeper(again.evidence, None, {}, masked=True),
    )
    assert kept(tmp_path) == [], "where no films are made nothing is kept either"


def test_an_incident_without_a_film_says_so_in_an_update_of_its_own(tmp_path: Path) -> None:
    missing = ClipMissing("i1", "no_mask", "line", NOON, "kitchen", "the camera's stream is lost")
    report = _report(missing, Keeper(Bench(tmp_path).evidence, None, {}, masked=False))
    assert report is not None
    assert (report.type, report.incident_id, report.kind, report.zone) == ("violation_updated", "i1", "no_mask", "line")
    assert (report.evidence, report.evidence_missing) == ([], ["clip: the camera's stream is lost"])


def shown_of_mask(picture: np.ndarray) -> float:
    """The share of the masked part, less its rim, that is not the grey of masks."""
    height, width = picture.shape[:2]
    part = picture[8 : height // 2 - 8, int(0.75 * width) + 8 : width - 8]
    return float((np.abs(part.astype(int) - BLANK).max(axis=2) > 20).mean())


@pytest.mark.slow
def test_a_real_camera_with_masks_gives_films_in_which_they_are_grey(tmp_path: Path) -> None:
    SIGNER.save(tmp_path / "box.key")
    # Long: where a film begins anew the packets of the round before are forgotten.
    write_file(Schedule("no_mask:100"), tmp_path / "film.mp4", 90, fps=5, width=640, height=360)
    with av.open(str(tmp_path / "film.mp4")) as container:
        assert shown_of_mask(next(container.decode(video=0)).to_ndarray(format="bgr24")) > 0.5
    camera = Camera(id="k", name="k", source=str(tmp_path / "film.mp4"), dwell_s=1.5, masks=(MASK,), hardware="none")
    task = CameraTask(
        box_id="box-1", camera=camera, key_file=tmp_path / "box.key", spool_dir=tmp_path / "spool",
        open_incidents={}, evidence=EvidenceSection(sealed_to=(str(Identity.generate().to_public()),)),
    )  # fmt: skip
    process = start()
    try:
        reports = _told_of(process, task, tmp_path)
    finally:
        process.kill()
        process.communicate()
    assert [report.evidence_missing for report in reports] == [[], [], []]
    assert reports[2].status == "done"
    left = kept(tmp_path / "spool")
    assert sorted(item.manifest.role for item in left) == ["annotated", "film", "film", "sealed", "snapshot"]
    assert [item.manifest.role for item in kept(tmp_path / "evidence")] == ["original"]
    for film in (item.blob for item in left if item.manifest.role == "film"):
        with av.open(io.BytesIO(film)) as container:
            shown = [picture.to_ndarray(format="bgr24") for picture in container.decode(video=0)]
        assert len(shown) >= 10
        assert max(shown_of_mask(picture) for picture in shown) < 0.02


def _told_of(process: subprocess.Popen[str], task: CameraTask, folder: Path) -> list[CameraReport]:
    """The incident, its film, and the film that is asked for then."""
    assert process.stdin is not None
    said = reports_of(process, told(folder, task))
    opened = next(report for report in said if report.type == "violation_opened")
    film = next(report for report in said if report.type == "violation_updated" and report.is_film)
    order = CameraOrder(order_id="o1", camera="k", what="clip", at=datetime.now(UTC) - timedelta(seconds=3))
    process.stdin.write(order.model_dump_json() + "\n")
    process.stdin.flush()
    return [opened, film, next(report for report in said if report.type == "looked")]
