"""A camera whose models cannot do what it asks is found by `check`, before anything runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge.camera import model_problem
from edge.config_cameras import Camera
from tests.edge.console import ROOT, RunEdge
from vision.detector import DEFAULT_MODEL

HEAD = "box: {name: b, data_dir: box}\nserver: {url: 'http://127.0.0.1:9'}\n"


def camera(**changes: Any) -> Camera:
    return Camera.model_validate({"id": "kitchen", "name": "备餐间", "source": "rtsp://c/1", **changes})


def model(folder: Path, data: bytes | None = None, **changes: Any) -> Path:
    """The packaged model, or one whose bytes or manifest differ."""
    path = folder / "other.onnx"
    path.write_bytes(DEFAULT_MODEL.read_bytes() if data is None else data)
    manifest = json.loads(DEFAULT_MODEL.with_suffix(".json").read_text("utf-8"))
    path.with_suffix(".json").write_text(json.dumps({**manifest, **changes}), "utf-8")
    return path


def test_the_packaged_model_knows_what_the_default_violation_needs() -> None:
    assert model_problem(camera()) == ""


def test_a_violation_whose_class_no_model_knows_is_named_with_the_classes() -> None:
    problem = model_problem(camera(violations=["no_mask", "rodent"]))
    assert problem.startswith("rodent needs the classes ")
    assert "the models of this camera know mask, no_mask; missing: " in problem


def test_classes_of_all_models_of_a_camera_count(tmp_path: Path) -> None:
    rats = model(tmp_path, names={"0": "rat", "1": "mouse"}, thresholds={})
    assert model_problem(camera(models=[{}], violations=["rodent"])) != ""
    assert model_problem(camera(models=[{}, {"path": str(rats)}], violations=["no_mask", "rodent"])) == ""


@pytest.mark.parametrize(
    ("data", "complaint"), [(b"not what was signed", "its SHA-256 is"), (None, "")], ids=["other bytes", "the same"]
)
def test_bytes_that_are_not_those_of_the_manifest_are_told(tmp_path: Path, data: bytes | None, complaint: str) -> None:
    problem = model_problem(camera(model=str(model(tmp_path, data))))
    assert complaint in problem
    assert bool(problem) == bool(complaint)


def test_a_time_zone_or_period_that_does_not_exist_is_told() -> None:
    assert "no time zone" in model_problem(camera(times={"time_zone": "Mars/Base"})).replace("not a", "no")
    assert "no such period" in model_problem(camera(violations=[{"code": "no_mask", "active": ["supper"]}]))


def test_check_says_the_line_of_the_camera_and_runs_no_model(run_edge: RunEdge, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(
        f"{HEAD}cameras:\n  - {{id: a, name: A, source: a.mp4}}\n"
        "  - {id: b, name: B, source: b.mp4, violations: [rodent]}\n",
        "utf-8",
    )
    done = run_edge("check", config)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{config}:5: cameras.1.models: rodent needs the classes")
    assert done.stderr.count("\n") == 1
    probe = "import sys; from edge.camera_check import main; status = main(); assert 'onnxruntime' not in sys.modules"
    child = subprocess.run(
        [sys.executable, "-c", f"{probe}; assert 'numpy' in sys.modules; sys.exit(status)"],
        input=camera().model_dump_json(by_alias=True), cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert child.stdout == '[""]'
