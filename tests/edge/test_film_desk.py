"""Orders of films outlive a crash, end in a film or in a reason, and are tried a few times only."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from edge import film_desk
from edge.camera_evidence import EvidenceDesk
from edge.camera_task import CameraTask
from edge.config_cameras import Camera
from edge.evidence_folder import EvidenceFolder
from edge.film_desk import TRIES_MAX, FilmDesk, FilmOrder, FilmTold
from telemetry.batch import sha256_hex
from telemetry.evidence import FrameTimes, open_evidence
from telemetry.spool import EvidenceSpool
from tests.edge.originals import NOON, SIGNER, key_of

CLIP = b"the camera's own packets"
FRAMES = FrameTimes(first_at=NOON, last_at=NOON + timedelta(seconds=10), count=250)
ORDER = FilmOrder(
    incident_id="i1", kind="no_mask", zone="line", at=NOON, model_sha256="a" * 64, tier="II",
    clip_sha256=sha256_hex(CLIP), frames=FRAMES,
)  # fmt: skip
ANSWER = {"faces": "blurred", "pictures": 50, "first_s": 0.0, "last_s": 9.8}
MAKES_A_FILM = f"""
import sys
print('{json.dumps(ANSWER)}')
print(sys.stdin.read()[::-1], end="")
"""


class Bench:
    """A desk with one clip, whose films are made by a few lines of Python."""

    def __init__(self, box: Path, program: str = MAKES_A_FILM) -> None:
        self.box = box
        camera = Camera(id="kitchen", name="k", source="rtsp://c/1")
        task = CameraTask(box_id="box-1", camera=camera, key_file=box, spool_dir=box / "spool", open_incidents={})
        folder = EvidenceFolder(task.evidence_dir, bytes_max=10**9, free_bytes_min=0)
        self.evidence = EvidenceDesk(task, SIGNER, EvidenceSpool(task.spool_dir), folder)
        self.told: list[FilmTold] = []
        command = (sys.executable, "-c", program)
        self.films = FilmDesk(
            self.evidence, "kitchen", [Path("m.onnx")], None, SIGNER.public_key, self.told.append, command
        )

    def with_clip(self) -> Bench:
        assert self.evidence.keep_clip(CLIP, FRAMES, ORDER.subject).missing == []
        return self

    def orders(self) -> list[Path]:
        return list((self.box / "evidence" / "films").glob("*/*"))


def test_a_film_is_made_signed_and_told_and_names_the_clip_that_it_was_made_of(tmp_path: Path) -> None:
    bench = Bench(tmp_path).with_clip()
    bench.films.order(ORDER)
    bench.films.work()
    (told,) = bench.told
    assert told.missing == []
    film = open_evidence((tmp_path / "spool" / f"{told.evidence[-1]}.ble").read_bytes(), key_of)
    assert film.blob == CLIP[::-1]
    said = film.manifest
    assert (said.role, said.incident_id, said.zone, said.tier, said.faces) == ("film", "i1", "line", "II", "blurred")
    assert said.original_sha256 == sha256_hex(CLIP)
    assert said.frames == FrameTimes(first_at=NOON, last_at=NOON + timedelta(seconds=9.8), count=50)
    assert bench.orders() == []


def test_an_order_from_before_a_restart_is_carried_out(tmp_path: Path) -> None:
    Bench(tmp_path).with_clip().films.order(ORDER)
    again = Bench(tmp_path)
    again.films.work()
    assert len(again.told) == 1
    assert again.orders() == []


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import sys; sys.exit('warning\\nthe film cannot be made: no picture')", "film: the film cannot be made"),
        ("import os; os.kill(os.getpid(), 9)", "film: its process ended with status -9"),
        ("print('{}')", "film: its process said something that is no film"),
        ("import sys; sys.stdin.read()", "film: its process said something that is no film"),
    ],
)
def test_a_film_that_cannot_be_made_is_told_with_the_reason(tmp_path: Path, program: str, reason: str) -> None:
    bench = Bench(tmp_path, program).with_clip()
    bench.films.order(ORDER)
    bench.films.work()
    assert [told.missing[0][: len(reason)] for told in bench.told] == [reason]
    assert bench.orders() == []


def test_a_film_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film_desk, "FILM_S_MAX", 0.2)
    bench = Bench(tmp_path, "import signal; signal.pause()").with_clip()
    bench.films.order(ORDER)
    bench.films.work()
    assert [told.missing for told in bench.told] == [["film: it took more than 0 s"]]


def test_a_film_whose_making_ends_the_box_each_time_is_given_up_after_a_few_tries(tmp_path: Path) -> None:
    for number in range(TRIES_MAX + 1):
        bench = Bench(tmp_path).with_clip()
        if not number:
            bench.films.order(ORDER)

        def end_the_box(_: bytes) -> tuple[film_desk.FilmAnswer, bytes]:
            raise KeyboardInterrupt

        bench.films._make = end_the_box  # type: ignore[method-assign]
        if number < TRIES_MAX:
            with pytest.raises(KeyboardInterrupt):
                bench.films.work()
        else:
            bench.films.work()
            assert [told.missing for told in bench.told] == [[f"film: gave up after {TRIES_MAX} tries"]]
    assert bench.orders() == []


def test_a_clip_that_is_gone_or_damaged_is_the_reason(tmp_path: Path) -> None:
    bench = Bench(tmp_path).with_clip()
    (clip,) = bench.evidence.folder.files()
    clip.path.write_bytes(clip.path.read_bytes()[:-1] + b"!")
    bench.films.order(ORDER)
    bench.films.work()
    clip.path.unlink()
    bench.films.order(ORDER)
    bench.films.work()
    assert [told.missing for told in bench.told] == [
        ["film: its clip is damaged (digest)"], ["film: its clip is not kept any more"]
    ]  # fmt: skip


def test_an_order_that_is_torn_is_dropped_and_the_next_is_carried_out(tmp_path: Path) -> None:
    bench = Bench(tmp_path).with_clip()
    (tmp_path / "evidence" / "films" / "kitchen" / "i0.json").write_text('{"incident_id"')
    bench.films.order(ORDER)
    bench.films.work()
    assert len(bench.told) == 1
    assert bench.orders() == []
