"""The console loads only what a command needs, and says what is wrong without a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from telemetry.messages import Reading
from telemetry.outbox import Outbox
from telemetry.signing import Signer
from tests.edge.console import ROOT, RunEdge

HEAVY = ("onnxruntime", "cv2", "av", "pymodbus", "serial", "fastapi", "numpy", "httpx", "vision", "server")
CONFIG = "box: {name: b, data_dir: box}\nserver: {url: 'http://127.0.0.1:9'}\n"


def test_check_loads_no_heavy_library() -> None:
    code = "import json, sys; from edge.cli import main; status = main(['check', sys.argv[1]]); "
    code += "print(json.dumps([status, sorted({name.partition('.')[0] for name in sys.modules})]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "configs/edge-sample.yaml"],
        cwd=ROOT, env={**os.environ, "KITCHEN_CAMERA": "x"}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    status, loaded = json.loads(done.stdout.splitlines()[-1])
    assert status == 0
    assert "yaml" in loaded, "the probe itself works"
    assert not set(HEAVY) & set(loaded)


def test_run_of_a_box_that_is_not_enrolled_says_how_to_enrol_and_exits_with_2(
    run_edge: RunEdge, tmp_path: Path
) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    done = run_edge("run", tmp_path / "c.yaml")
    assert done.returncode == 2
    assert "not enrolled; run: brightline-edge enrol" in done.stderr
    assert "Traceback" not in done.stderr


def test_broken_identity_and_open_key_are_told_with_status_2(run_edge: RunEdge, enrolled: Path) -> None:
    config = enrolled.parent / "c.yaml"
    config.write_text(CONFIG)
    (enrolled / "box.key").chmod(0o644)
    done = run_edge("outbox", "status", config)
    assert (done.returncode, "chmod 600" in done.stderr) == (2, True)
    (enrolled / "box.key").chmod(0o600)
    for broken in (b"{}", b"\xff"):
        (enrolled / "identity.json").write_bytes(broken)
        done = run_edge("outbox", "verify", config)
        assert (done.returncode, "holds no identity" in done.stderr) == (2, True)


def test_looking_into_the_outbox_of_a_box_that_never_ran_makes_nothing(run_edge: RunEdge, enrolled: Path) -> None:
    config = enrolled.parent / "c.yaml"
    config.write_text(CONFIG)
    status = json.loads(run_edge("outbox", "status", "--json", config).stdout)
    assert (status["box_id"], status["lanes"]["readings"]["records"]) == ("box-1", 0)
    done = run_edge("outbox", "verify", config)
    assert (done.returncode, "the box makes it at its first start" in done.stderr) == (1, True)
    assert not (enrolled / "outbox.sqlite").exists()


def test_outbox_status_verify_and_export_work_beside_a_running_box(run_edge: RunEdge, enrolled: Path) -> None:
    config = enrolled.parent / "c.yaml"
    config.write_text(CONFIG)
    at = datetime(2026, 1, 2, tzinfo=UTC)
    signer = Signer.load(enrolled / "box.key")
    target = enrolled.parent / "waiting.blb"
    with Outbox.open(enrolled / "outbox.sqlite", "box-1", signer, boot_id="boot", batch_records=1) as outbox:
        for value in range(3):
            outbox.commit([Reading(sensor_id="s", quantity="t", value=value, unit="", observed_at=at)], [])
        status = json.loads(run_edge("outbox", "status", "--json", config).stdout)
        assert (status["box_id"], status["lanes"]["readings"]["pending_records"]) == ("box-1", 3)
        assert "waiting 3" in run_edge("outbox", "status", config).stdout
        assert json.loads(run_edge("outbox", "verify", "--json", config).stdout) == {
            "batches": 3,
            "records": 3,
            "problems": [],
        }
        assert json.loads(run_edge("outbox", "export", "--json", "--to", target, config).stdout)["batches"] == 3
    assert "0 wrong" in run_edge("outbox", "verify", "--file", target, config).stdout
    data = bytearray(target.read_bytes())
    data[200] ^= 1
    target.write_bytes(data)
    changed = run_edge("outbox", "verify", "--file", target, config)
    assert (changed.returncode, "WRONG" in changed.stdout) == (1, True)
    again = run_edge("outbox", "export", "--to", target, config)
    assert (again.returncode, "File exists" in again.stderr) == (1, True)
