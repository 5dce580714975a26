"""The camera's own process with a camera that takes the connection and never answers."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.camera import END_S, CameraReport, CameraTask
from edge.camera_process import END_S as PARENT_END_S
from telemetry.signing import Signer
from tests.edge.console import ROOT

DEADLINE_S = 60


def start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "edge.camera"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_hung_camera_is_reported_blind_and_its_process_ends_soon_after_its_input(tmp_path: Path) -> None:
    Signer.generate().save(tmp_path / "box.key")
    with socket.create_server(("127.0.0.1", 0)) as hung:
        task = CameraTask(
            box_id="box-1", camera_id="kitchen", place="", source=f"rtsp://user:pa55@127.0.0.1:{hung.getsockname()[1]}/1",
            model=None, dwell_s=3, recover_s=10, rate_fps=5, confidence=0.4, key_file=tmp_path / "box.key",
            spool_dir=tmp_path / "spool", open_incidents={},
        )  # fmt: skip
        process = start()
        try:
            assert process.stdout is not None
            assert process.stdin is not None
            process.stdin.write(task.model_dump_json() + "\n")
            process.stdin.flush()
            report = CameraReport.model_validate_json(process.stdout.readline())
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


def test_process_without_settings_ends_with_status_2() -> None:
    process = start()
    assert process.communicate("", timeout=DEADLINE_S)[0] == ""
    assert process.returncode == 2


def test_camera_process_ends_itself_before_its_parent_kills_it() -> None:
    assert END_S < PARENT_END_S


@pytest.mark.parametrize("line", ["{}", '{"type": "stats", "more": 1}', '{"type": "fire"}', "[]"])
def test_report_with_unknown_words_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        CameraReport.model_validate_json(line)
