"""The camera's own process with a camera that takes the connection and never answers."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyrage.x25519 import Identity

from edge.camera import END_S
from edge.camera_process import END_S as PARENT_END_S
from edge.camera_report import CameraOrder, CameraReport
from edge.camera_task import CameraTask, WatchTask
from edge.config_cameras import Camera
from edge.config_evidence import EvidenceSection
from firmware_sim.camera import Schedule, write_file
from telemetry.signing import Signer
from tests.edge.console import ROOT
from vision.evidence_file import read_key, verify_files

DEADLINE_S = 60


def start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "edge.camera"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def reports_of(process: subprocess.Popen[str], task: str) -> Iterator[CameraReport]:
    """What the process says once it was told its *task*, one line after the other."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(task + "\n")
    process.stdin.flush()
    return (CameraReport.model_validate_json(line) for line in process.stdout)


def told(folder: Path, *tasks: CameraTask) -> str:
    return WatchTask(cameras=tasks, crumbs_file=folder / "crumbs").model_dump_json(by_alias=True)


def test_hung_camera_is_reported_blind_and_its_process_ends_soon_after_its_input(tmp_path: Path) -> None:
    Signer.generate().save(tmp_path / "box.key")
    with socket.create_server(("127.0.0.1", 0)) as hung:
        task = CameraTask(
            box_id="box-1", key_file=tmp_path / "box.key", spool_dir=tmp_path / "spool", open_incidents={},
            camera=Camera(id="kitchen", name="k", source=f"rtsp://user:pa55@127.0.0.1:{hung.getsockname()[1]}/1"),
        )  # fmt: skip
        process = start()
        try:
            assert process.stdin is not None
            said = reports_of(process, told(tmp_path, task))
            report = next(report for report in said if report.type != "stats")
            assert (report.type, report.incident_id) == ("camera_blind", None)
            assert json.loads(report.model_dump_json())["reason"].startswith("offline: ")
            start_s = time.monotonic()
            process.stdin.close()
            process.wait(DEADLINE_S)
            assert time.monotonic() - start_s < END_S + 2
            rest, log = process.stdout.read(), process.stderr.read() if process.stderr else ""
            assert "pa55" not in rest + log + str(report.reason)
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()


def test_an_incident_is_told_with_pictures_then_with_its_sealed_clip_and_its_film_and_all_of_it_is_genuine(
    tmp_path: Path,
) -> None:
    signer = Signer.generate()
    signer.save(tmp_path / "box.key")
    write_file(Schedule("no_mask:60"), tmp_path / "film.mp4", 12, fps=5, width=640, height=360)
    camera = Camera(id="k", name="k", place="备餐间", source=str(tmp_path / "film.mp4"), dwell_s=1.5)
    task = CameraTask(
        box_id="b", camera=camera, key_file=tmp_path / "box.key", spool_dir=tmp_path / "spool", open_incidents={},
        evidence=EvidenceSection(sealed_to=(str(Identity.generate().to_public()),), free_bytes_min=0),
    )  # fmt: skip
    process = start()
    try:
        assert process.stdin is not None
        said = reports_of(process, told(tmp_path, task))
        opened = next(report for report in said if report.type == "violation_opened")
        clip = next(report for report in said if report.type == "violation_updated")
        film = next(report for report in said if report.type == "violation_updated" and report.is_film)
        process.stdin.close()
        process.wait(DEADLINE_S)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    reports = (opened, clip, film)
    assert {report.incident_id for report in reports} == {opened.incident_id}
    assert [report.evidence_missing for report in reports] == [[], [], []]
    assert [film.evidence[: len(report.evidence)] for report in reports] == [report.evidence for report in reports]
    files = [tmp_path / "spool" / f"{digest}.ble" for digest in film.evidence]
    report = verify_files(files, read_key(signer.public_key_b64))
    assert (report["genuine"], report["missing"]) == (True, [])
    shows = [row["shows"] for row in report["files"]]
    assert [row["role"] for row in shows] == ["annotated", "snapshot", "sealed", "sealed", "film"]
    assert [row["faces"] for row in shows] == ["blurred", "blurred", None, None, "blurred"]
    stays = list((tmp_path / "evidence" / "incidents" / str(opened.incident_id)).iterdir())
    report = verify_files(stays, read_key(signer.public_key_b64))
    assert (report["genuine"], report["missing"]) == (True, [])
    originals = {row["shows"]["role"]: row["shows"]["sha256"] for row in report["files"]}
    wanted = [originals[role] for role in ("original", "original", "original", "clip", "clip")]
    assert [row["original_sha256"] for row in shows] == wanted


def test_a_camera_that_cannot_see_what_it_watches_for_says_so_and_ends_with_status_2(tmp_path: Path) -> None:
    camera = Camera.model_validate({"id": "k", "name": "k", "source": "rtsp://u:pa55@c/1", "violations": ["no_hat"]})
    task = CameraTask(box_id="b", camera=camera, key_file=tmp_path / "k", spool_dir=tmp_path / "s", open_incidents={})
    process = start()
    assert process.stdin is not None
    process.stdin.write(told(tmp_path, task) + "\n")
    process.stdin.flush()
    process.wait(DEADLINE_S)  # with its input open: once that is closed it has only END_S left
    said, log = process.communicate()
    report = CameraReport.model_validate_json(said)
    assert (process.returncode, report.type) == (2, "misconfigured")
    assert str(report.reason).startswith(
        "no_hat needs the classes person, hat; the models of this camera know mask, no_"
    )
    assert "pa55" not in said + log


def test_a_camera_with_an_impossible_address_is_told_and_the_others_are_watched(tmp_path: Path) -> None:
    Signer.generate().save(tmp_path / "box.key")
    write_file(Schedule("mask:60"), tmp_path / "film.mp4", 3, fps=5, width=640, height=360)
    tasks = [
        CameraTask(
            box_id="b", key_file=tmp_path / "box.key", spool_dir=tmp_path / "spool", open_incidents={},
            camera=Camera(id=name, name=name, source=source), blind=True,
        )
        for name, source in (("bad", "rtmp://u:pa55@c/1"), ("well", str(tmp_path / "film.mp4")))
    ]  # fmt: skip
    process = start()
    try:
        assert process.stdin is not None
        said = reports_of(process, told(tmp_path, *tasks))
        refused = next(said)
        assert (refused.camera, refused.type, "pa55" in str(refused.reason)) == ("bad", "misconfigured", False)
        seeing = next(report for report in said if report.type == "camera_recovered")
        assert seeing.camera == "well"
    finally:
        process.kill()
        process.communicate()


def test_process_without_settings_ends_with_status_2() -> None:
    process = start()
    assert process.communicate("", timeout=DEADLINE_S)[0] == ""
    assert process.returncode == 2


def test_camera_process_ends_itself_before_its_parent_kills_it() -> None:
    assert END_S < PARENT_END_S


@pytest.mark.parametrize(
    "line",
    ["{}", '{"camera": "k", "type": "stats", "more": 1}', '{"camera": "k", "type": "fire"}', '{"type": "stats"}'],
)
def test_report_with_unknown_words_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        CameraReport.model_validate_json(line)


def test_orders_are_answered_with_a_snapshot_a_verdict_and_a_clip_that_are_genuine(tmp_path: Path) -> None:
    signer = Signer.generate()
    signer.save(tmp_path / "box.key")
    write_file(Schedule("no_mask:60"), tmp_path / "film.mp4", 8, fps=5, width=640, height=360)
    camera = Camera(id="k", name="k", place="备餐间", source=str(tmp_path / "film.mp4"), dwell_s=1.5)
    task = CameraTask(
        box_id="b", camera=camera, key_file=tmp_path / "box.key", spool_dir=tmp_path / "spool", open_incidents={},
        evidence=EvidenceSection(sealed_to=(str(Identity.generate().to_public()),), free_bytes_min=0, films=False),
    )  # fmt: skip
    process = start()
    try:
        assert process.stdin is not None
        said = reports_of(process, told(tmp_path, task))
        opened = next(report for report in said if report.type == "violation_opened")
        orders = [
            CameraOrder(order_id="o1", camera="k", what="snapshot"),
            CameraOrder(order_id="o2", camera="k", what="recheck", kind="no_mask"),
            CameraOrder(order_id="o3", camera="k", what="clip", at=opened.at, before_s=1, after_s=1),
            CameraOrder(order_id="o4", camera="k", what="clip", at=datetime(2026, 1, 2, tzinfo=UTC)),
        ]
        process.stdin.write("no order\n" + "".join(order.model_dump_json() + "\n" for order in orders))
        process.stdin.flush()
        looked: dict[str | None, CameraReport] = {}
        while len(looked) < len(orders):
            report = next(report for report in said if report.type == "looked")
            looked[report.order_id] = report
        process.stdin.close()
        process.wait(DEADLINE_S)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    assert {name: (item.status, item.verdict) for name, item in looked.items()} == {
        "o1": ("done", None), "o2": ("done", "violating"), "o3": ("done", None), "o4": ("refused", None),
    }  # fmt: skip
    assert str(looked["o4"].reason).startswith("gone")
    for name, roles in (("o1", ["snapshot", "sealed"]), ("o2", ["snapshot", "sealed"]), ("o3", ["sealed"])):
        files = [tmp_path / "spool" / f"{digest}.ble" for digest in looked[name].evidence]
        rows = verify_files(files, read_key(signer.public_key_b64))["files"]
        assert [row["shows"]["role"] for row in rows] == roles
        assert {row["shows"]["incident_id"] for row in rows} == {name}
