"""`brightline-vision` with the real model: what it prints, and how it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from firmware_sim.camera import Schedule, write_file
from firmware_sim.scene import Kitchen, Look
from vision.cli import main

SHARED = Path(os.environ.get("BRIGHTLINE_SHARED") or Path(__file__).resolve().parents[3] / "shared")
FACES = SHARED / "data" / "vision" / "facemask"


def save_look(path: Path, look: Look) -> Path:
    cv2.imwrite(str(path), Kitchen(640, 360).frame(3, look))
    return path


@pytest.mark.parametrize("look", ["no_mask", "mask"])
def test_detect_tells_the_masked_from_the_unmasked_portrait(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], look: Look
) -> None:
    assert main(["detect", "--close-look", str(save_look(tmp_path / "a.png", look))]) == 0
    report = json.loads(capsys.readouterr().out)
    (found,) = report["detections"]
    assert found["class"] == look
    assert found["confidence"] >= 0.4
    left, top, right, bottom = found["xyxy"]
    assert 0 <= left < right <= 640
    assert 0 <= top < bottom <= 360
    assert len(report["model_sha256"]) == 64


def test_detect_sees_nobody_in_an_empty_kitchen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect", "--close-look", str(save_look(tmp_path / "a.png", "empty"))]) == 0
    assert json.loads(capsys.readouterr().out)["detections"] == []


def watched(film: Path, capsys: pytest.CaptureFixture[str], *more: str) -> list[dict[str, object]]:
    assert main(["run", "--once", "--dwell-s", "1.5", "--source", str(film), *more]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_run_finds_the_unmasked_person_and_saves_the_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_file(Schedule("no_mask:60"), tmp_path / "film.mp4", 8, fps=5, width=640, height=360)
    before = signal.getsignal(signal.SIGTERM)
    items = watched(tmp_path / "film.mp4", capsys, "--save", str(tmp_path / "seen"))
    (opened,) = [item for item in items if item["type"] == "ViolationOpened"]
    assert opened["kind"] == "no_mask"
    assert "snapshot_jpeg" not in opened
    picture = cv2.imread(str(tmp_path / "seen" / f"{opened['incident_id']}.jpg"))
    assert picture is not None
    assert picture.shape == (360, 640, 3)
    assert signal.getsignal(signal.SIGTERM) is before


def test_run_finds_nothing_on_the_masked_person(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_file(Schedule("mask:60"), tmp_path / "film.mp4", 8, fps=5, width=640, height=360)
    items = watched(tmp_path / "film.mp4", capsys)
    assert {item["type"] for item in items} == {"FrameStats", "CoverageReport"}


def test_run_ends_on_sigterm(tmp_path: Path) -> None:
    write_file(Schedule("mask:60"), tmp_path / "film.mp4", 5, fps=5, width=640, height=360)
    command = [sys.executable, "-m", "vision.cli", "run", "--source", str(tmp_path / "film.mp4")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            assert b"FrameStats" in child.stdout.readline()  # it runs
            child.send_signal(signal.SIGTERM)
            assert child.wait(30) == 0
        finally:
            child.kill()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["detect", "missing.jpg"], "missing.jpg: cannot be read"),
        (["detect", "notes.jpg"], "not a picture that can be read; give a JPEG or PNG file"),
        (["detect", "notes.jpg", "--model", "missing.onnx"], "not a picture"),
        (["detect", "good.png", "--model", "missing.onnx"], "write sha256, input_px, names and licence"),
        (["detect", "good.png", "--confidence", "7"], "must be between 0 and 1"),
        (["run", "--source", "missing.mp4"], "no such video file; give a file, rtsp://"),
        (["run", "--source", "ftp://me:secret@host/film"], "use rtsp://"),
        (["run", "--source", "notes.jpg", "--dwell-s", "-1"], "dwell_s"),
        (["run", "--source", "notes.jpg", "--confidence", "0"], "confidence"),
        (["evaluate", "--data", "missing.yaml"], "give a YOLO data.yaml"),
        (["evaluate", "--data", "data.yaml", "--split", "val"], "choose one with --split"),
        (["evaluate", "--data", "data.yaml"], "no class in common"),
        (["evaluate", "--data", "data.yaml", "--confidence", "2"], "must be between 0 and 1"),
    ],
)
def test_wrong_use_ends_with_2_and_a_remedy(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.jpg").write_text("no picture")
    Path("images").mkdir()
    for name in ("good.png", "images/good.png"):
        cv2.imwrite(name, np.zeros((9, 9, 3), np.uint8))
    Path("data.yaml").write_text("test: images\nnames: [rat]\n")
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("brightline-vision: ")
    assert complaint in said.err
    assert "secret" not in said.err


def portraits(folder: Path) -> Path:
    """A data set of the two portraits, the boxes taken from the model itself."""
    from vision.close_look import CloseLookDetector
    from vision.detector import OnnxDetector

    detector = CloseLookDetector(OnnxDetector(confidence=0.4))
    looks: tuple[Look, ...] = ("mask", "no_mask")
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for number, look in enumerate(looks):
        path = save_look(folder / "images" / f"{look}.png", look)
        left, top, right, bottom = detector.detect(np.asarray(cv2.imread(str(path)), np.uint8)).xyxy[0]
        shares = ((left + right) / 1280, (top + bottom) / 720, (right - left) / 640, (bottom - top) / 360)
        text = " ".join(f"{share:.6f}" for share in shares)
        (folder / "labels" / f"{look}.txt").write_text(f"{number} {text}\n")
    (folder / "data.yaml").write_text(yaml.safe_dump({"test": "images", "names": [*looks, "visor"]}))
    return folder / "data.yaml"


def test_evaluate_prints_figures_per_class_as_json_and_as_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "--close-look", "--data", str(portraits(tmp_path))]
    assert main([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["classes"]) == {"mask", "no_mask"}
    for row in report["classes"].values():
        assert set(row) == {"ap50", "ap50_95", "precision", "recall", "boxes"}
        assert (row["boxes"], row["ap50"], row["recall"]) == (1, 1.0, 1.0)
    assert (report["map50"], report["pictures"], report["only_in_data"]) == (1.0, 2, ["visor"])
    assert main(arguments) == 0
    table = capsys.readouterr().out
    assert "ap50_95" in table
    assert "not compared, only in data: visor" in table


@pytest.mark.slow
@pytest.mark.skipif(not FACES.is_dir(), reason=f"the face-mask pictures are not in {FACES}")
def test_the_packaged_model_scores_on_the_held_out_split_what_its_card_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from vision.training.prepare import prepare
    from vision.training.train_mask import CLASS_MAP

    data = prepare(FACES, tmp_path / "set", CLASS_MAP)
    assert main(["evaluate", "--data", str(data), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["pictures"] == 346
    assert report["map50"] == pytest.approx(0.757, abs=0.01)
