"""Many cameras, one process: who is set apart after crashes, and what the others notice of it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from edge.camera_desk import CameraDesk
from edge.camera_service import SUSPICION_S, CameraService, Suspicion
from edge.config_cameras import Camera
from telemetry.messages import Event
from tests.edge.service_run import run_until

CHILD = Path(__file__).with_name("crashing_child.py")
DEADLINE_S = 30
NAMES = ["a", "b", "c"]


def test_the_second_crash_within_ten_minutes_sets_a_suspect_apart() -> None:
    suspicion = Suspicion()
    assert suspicion.blame(["b"], NAMES, 0) == []
    assert suspicion.blame(["a", "b"], NAMES, 30) == ["b"]


def test_crashes_that_are_far_apart_are_put_down_to_chance() -> None:
    suspicion = Suspicion()
    assert suspicion.blame(["b"], NAMES, 0) == []
    assert suspicion.blame(["b"], NAMES, SUSPICION_S + 1) == []


def test_a_candidate_is_turned_off_at_its_second_crash_and_another_one_begins_anew() -> None:
    suspicion = Suspicion()
    assert [suspicion.blame_shadows([("b", 0)], at_s) for at_s in (0, 30, 40)] == [[], [("b", 0)], []]


def test_crashes_that_nobody_explains_end_with_each_alone() -> None:
    suspicion = Suspicion()
    assert [suspicion.blame([], NAMES, at_s) for at_s in (0, 10, 20)] == [[], [], NAMES]


class ScriptedBox:
    """Three cameras whose processes do as their script says; keeps the events."""

    def __init__(self, folder: Path, *, bad: str, how: str) -> None:
        self.folder = folder
        self.events: list[Event] = []
        self.desks = [
            CameraDesk(
                Camera(id=name, name=name, source="rtsp://c/1"), box_id="b", key_file=folder / "k",
                spool_dir=folder / "spool", saved=json.dumps({"no_mask": f"open-{name}"}), record=self._record,
                wake=lambda: None,
            )
            for name in NAMES
        ]  # fmt: skip
        command = (sys.executable, str(CHILD), str(folder), bad, how)
        self.service = CameraService(self.desks, folder / "vision", command=command, end_s=2.0)

    async def _record(self, events: Sequence[Event], state: dict[str, str | None]) -> None:
        self.events += events

    def starts(self) -> list[dict[str, Any]]:
        path = self.folder / "starts"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    async def run_until(self, condition: Callable[[], bool]) -> None:
        await run_until(self.service, condition, DEADLINE_S)

    def recovered(self, camera_id: str) -> int:
        return sum(event.type == "camera_recovered" for event in self.events if event.source_id == camera_id)


@pytest.mark.parametrize("how", ["abort", "fail", "misconfigured"])
def test_a_camera_that_takes_the_others_along_is_set_apart_and_they_go_on(tmp_path: Path, how: str) -> None:
    async def scenario() -> ScriptedBox:
        box = ScriptedBox(tmp_path, bad="b", how=how)
        if how != "misconfigured":
            await box.run_until(lambda: box.service.alone == ["b"] and min(map(box.recovered, "ac")) >= 3)
        else:
            await box.run_until(lambda: box.service.alone == ["b"] and len(box.starts()) > 1)
        return box

    box = asyncio.run(scenario())
    together = [start["cameras"] for start in box.starts() if len(start["cameras"]) > 1]
    assert together == ([NAMES] if how == "misconfigured" else [NAMES, NAMES, ["a", "c"]])
    assert all(start["open"] == [f"open-{name}" for name in start["cameras"]] for start in box.starts())
    assert [event.type for event in box.events if event.source_id == "a"][-1] == "camera_recovered"


def test_a_candidate_that_takes_the_cameras_along_is_turned_off_and_no_camera_is_set_apart(tmp_path: Path) -> None:
    async def scenario() -> ScriptedBox:
        box = ScriptedBox(tmp_path, bad="b", how="shadow")
        await box.run_until(lambda: any(event.type == "box_status" for event in box.events))
        return box

    box = asyncio.run(scenario())
    assert box.service.alone == []
    assert [start["crashed_shadows"] for start in box.starts()] == [[[], [], []], [[], [], []], [[], [0], []]]
    assert box.desks[1].task().crashed_shadows == (), "it is told once"
    (told,) = [event for event in box.events if event.type == "box_status"]
    assert (told.source_id, told.data["change"], told.data["model_sha256"]) == ("b", "candidate_off", "c" * 64)


def test_a_kill_from_outside_blames_nobody(tmp_path: Path) -> None:
    async def scenario() -> ScriptedBox:
        box = ScriptedBox(tmp_path, bad="b", how="kill")
        await box.run_until(lambda: len(box.starts()) >= 4)
        return box

    box = asyncio.run(scenario())
    assert box.service.alone == []
    assert {tuple(start["cameras"]) for start in box.starts()} == {tuple(NAMES)}
