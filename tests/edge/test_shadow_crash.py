"""A candidate model aborts the real camera process: it is turned off and told, and the live model goes on watching."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from edge.camera_desk import CameraDesk
from edge.camera_service import CameraService
from edge.config_cameras import Camera
from firmware_sim.camera import Schedule, write_file
from telemetry.messages import Event
from telemetry.signing import Signer
from tests.edge.service_run import run_until
from vision.detector import DEFAULT_MODEL
from vision.shadow_folder import ShadowFolder

CHILD = Path(__file__).with_name("aborting_candidate.py")
DEADLINE_S = 90


def copy_model(path: Path) -> str:
    """The packaged model with other bytes; returns their digest."""
    data = DEFAULT_MODEL.read_bytes() + b"\x32\x01x"  # a doc_string, in ONNX' protobuf
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    manifest = json.loads(DEFAULT_MODEL.with_suffix(".json").read_text("utf-8"))
    path.with_suffix(".json").write_text(json.dumps({**manifest, "sha256": digest}), "utf-8")
    return digest


class Box:
    """Two cameras, the first with a candidate that aborts after *runs*."""

    def __init__(self, folder: Path, runs: int) -> None:
        self.events: list[Event] = []
        self.digest = copy_model(folder / "candidate.onnx")
        film = folder / "film.mp4"
        write_file(Schedule("no_mask:60"), film, 30, fps=5, width=640, height=360)
        Signer.generate().save(folder / "box.key")
        shadow = {"path": str(folder / "candidate.onnx"), "share": 1.0, "cpu_share": 1.0}
        common = {"source": str(film), "dwell_s": 1.5, "hardware": "none"}
        self.desks = [
            CameraDesk(
                Camera.model_validate({**common, "id": name, "name": name, "models": models}),
                box_id="b", key_file=folder / "box.key", spool_dir=folder / "spool", saved=None, record=self._record,
                wake=lambda: None,
            )
            for name, models in (("one", [{"shadow": shadow}]), ("two", []))
        ]  # fmt: skip
        command = (sys.executable, str(CHILD), self.digest, str(runs))
        self.service = CameraService(self.desks, folder / "vision", command=command)

    async def _record(self, events: Sequence[Event], state: dict[str, str | None]) -> None:
        self.events += events

    async def run_until(self, condition: Callable[[], bool]) -> None:
        await run_until(self.service, condition, DEADLINE_S)

    def told(self) -> list[Event]:
        return [event for event in self.events if event.type == "box_status"]

    def violating(self) -> set[str]:
        return {event.source_id for event in self.events if event.type == "violation_opened"}


@pytest.mark.slow
@pytest.mark.parametrize("runs", [0, 1], ids=["when_it_is_loaded", "when_it_looks"])
def test_a_candidate_that_aborts_is_turned_off_and_the_live_model_watches_on(tmp_path: Path, runs: int) -> None:
    async def scenario() -> Box:
        box = Box(tmp_path, runs)
        await box.run_until(lambda: bool(box.told()) and box.violating() == {"one", "two"})
        return box

    box = asyncio.run(scenario())
    (told,) = box.told()
    assert told.source_id == "one"
    assert (told.data["kind"], told.data["change"], told.data["model_sha256"]) == ("model", "candidate_off", box.digest)
    assert box.service.alone == [], "the camera is not to blame"
    refusal = ShadowFolder(tmp_path / "shadow" / "one" / "0").refusal(box.digest)
    assert refusal is not None
    assert refusal.reason == told.data["reason"]
    assert box.desks[0].task().crashed_shadows == ()
