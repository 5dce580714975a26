"""`replay` and `bench` on films with a known course of events."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from firmware_sim.camera import Schedule, write_file
from vision.cli import main


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds with a mask, nine without, fifteen with it again."""
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    write_file(Schedule("mask:6,no_mask:9,mask:15"), path, 30, fps=5, width=640, height=360)
    return path


def test_replay_tells_the_incident_with_its_times_and_what_was_judged(
    film: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(film), "--json", "--start", "2026-03-02T11:30+08:00"]) == 0
    report = json.loads(capsys.readouterr().out)
    (incident,) = report["incidents"]
    assert (incident["kind"], incident["zone"], incident["closed_because"]) == ("no_mask", "", "recovered")
    assert 6 <= incident["began_s"] <= 7.5
    assert incident["opened_s"] <= 6 + 3 + 2  # dwell and two seconds
    assert 15 + 9 <= incident["closed_s"] <= 15 + 13
    assert report["start"] == "2026-03-02T11:30:00+08:00"
    assert (report["frames"], report["blind"]) == (150, [])
    (covered,) = report["coverage"]
    assert covered["due_s"] == pytest.approx(29.8, abs=0.01)
    assert covered["judged_s"] == pytest.approx(29.6, abs=0.21)


@pytest.mark.slow
def test_replay_gives_the_same_answer_every_time(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for _ in range(2):
        assert main(["replay", str(film), "--json", "--start", "2026-03-02T11:30+08:00"]) == 0
        said.append(json.loads(capsys.readouterr().out))
    assert said[0] == said[1]


def test_replay_for_people_says_it_in_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = tmp_path / "film.mp4"
    write_file(Schedule("mask:1,no_mask:3"), short, 4, fps=5, width=640, height=360)
    assert main(["replay", str(short), "--dwell-s", "60"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("20 pictures")
    assert lines[1].startswith("judged for no_mask: ")
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["replay", "missing.mp4"], "no such video file"),
        (["replay", "notes.txt"], "cannot be played"),
        (["replay", "notes.txt", "--start", "2026-03-02T11:30"], "give its offset too"),
        (["replay", "notes.txt", "--violation", "juggling"], "juggling: no such violation"),
        (["replay", "notes.txt", "--violation", "rodent"], "missing: rat"),
        (["replay", "notes.txt", "--catalogue", "nowhere"], "holds 0 catalogue files"),
        (["bench", "--size", "0x0"], "give --size"),
        (["bench", "--pictures", "0"], "--pictures 1 to 10000"),
        (["bench", "--model", "missing.onnx"], "no usable manifest"),
    ],
)
def test_wrong_use_ends_with_2_and_a_remedy(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("no film")
    assert main(arguments) == 2
    assert complaint in capsys.readouterr().err


def test_bench_states_its_conditions_and_its_figures_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--json", "--pictures", "5"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["model"], report["input_px"], report["picture"], report["threads"]) == (
        "mask_v1.onnx", 320, [640, 360], 1,
    )  # fmt: skip
    assert 0 < report["session_run_ms"]["p50"] <= report["session_run_ms"]["p95"]
    assert report["detect_and_track_ms"]["p50"] > 0
    assert isinstance(report["overhead_pct"], float)
