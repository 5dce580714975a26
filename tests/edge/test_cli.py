"""The console loads only what a command needs, and says what is wrong without a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

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
        done = run_edge("outbox", "status", config)
        assert (done.returncode, "holds no identity" in done.stderr) == (2, True)


def test_outbox_status_and_verify_of_a_fresh_box(run_edge: RunEdge, enrolled: Path) -> None:
    config = enrolled.parent / "c.yaml"
    config.write_text(CONFIG)
    status = run_edge("outbox", "status", config)
    assert json.loads(status.stdout)["box_id"] == "box-1"
    verify = run_edge("outbox", "verify", config)
    assert (verify.returncode, verify.stdout) == (0, "ok\n")
