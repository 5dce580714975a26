"""The demo as a newcomer starts it, by its real command, ended by itself and by Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

from tests.waiting import wait_for

DEMO = (sys.executable, "-m", "firmware_sim.cli", "demo")


def processes_of(folder: Path) -> list[str]:
    """Command lines of running processes that name *folder*."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(folder) in line:
            found.append(line)
    return found


def test_the_demo_raises_both_alerts_verifies_everything_and_ends_by_itself(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    command = (*DEMO, "--folder", str(folder), "--duration", "66")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    summary = json.loads(done.stdout)
    assert done.returncode == 0, summary
    assert summary["ok"] is True
    assert summary["readings_stored"] == summary["readings_sent"] > 60
    with contextlib.closing(sqlite3.connect(folder / "centre" / "record.sqlite")) as record:
        points = dict(record.execute("SELECT sensor_id, count(value) FROM series_point GROUP BY sensor_id").fetchall())
    assert set(points) == {"cold-room-air", "cold-room-core", "fridge"}
    assert points["fridge"] > 10, "the MQTT sensor came through the centre's embedded broker"
    assert summary["alerts_raised"]["temperature_excursion"] == summary["alerts_raised"]["no_mask"] == 1
    assert summary["evidence_verified"] == 3, "snapshot, annotated snapshot and film"
    assert "alert: no mask" in done.stderr
    assert processes_of(folder) == []


def test_ctrl_c_ends_the_demo_and_leaves_no_process(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with subprocess.Popen((*DEMO, "--folder", str(folder)), stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stderr is not None
        for line in demo.stderr:
            if "End with Ctrl-C" in line:
                break
        wait_for("the box is up", lambda: len(processes_of(folder)) >= 3)
        demo.send_signal(signal.SIGINT)
        rest = demo.stderr.read()
        assert demo.wait(60) == 0, rest
    assert "killed" not in rest
    assert processes_of(folder) == []


def test_a_folder_that_is_no_demos_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    done = subprocess.run((*DEMO, "--folder", str(tmp_path)), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "give another one with --folder" in done.stderr
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_camera_that_is_not_there_is_named_with_the_remedy(tmp_path: Path) -> None:
    command = (*DEMO, "--folder", str(tmp_path / "demo"), "--duration", "20", "--camera", "/no/such/video.mp4")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "there is no video file /no/such/video.mp4; give rtsp://" in done.stderr
    assert processes_of(tmp_path) == []
