"""Orders of the centre on their way to a camera's process and back, with a scripted process."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge.camera_desk import CameraDesk
from edge.camera_service import CameraService
from edge.config_cameras import Camera
from edge.remote_desk import Outcome
from telemetry.commands import Command
from telemetry.messages import Event, Scalar

CHILD = Path(__file__).with_name("camera_child.py")
DEADLINE_S = 30


async def ask(folder: Path, end: str, **arguments: Scalar) -> tuple[Outcome, int]:
    """The outcome of a second look at camera *k*, and how often the spool was woken up."""
    wakes = 0

    def wake() -> None:
        nonlocal wakes
        wakes += 1

    async def record(events: Sequence[Event], state: dict[str, str | None]) -> None:
        del events, state

    script = folder / "script.json"
    script.write_text(json.dumps([json.dumps({"camera": "k", "type": "stats"}), end]))
    desk = CameraDesk(
        Camera(id="k", name="k", source="rtsp://c/1"), box_id="b", key_file=folder / "k", spool_dir=folder / "spool",
        saved=None, record=record, wake=wake,
    )  # fmt: skip
    service = CameraService([desk], folder / "vision", command=(sys.executable, str(CHILD), str(script)), end_s=2.0)
    task = asyncio.create_task(service.run())
    try:
        async with asyncio.timeout(DEADLINE_S):
            while desk.stats is None:
                await asyncio.sleep(0.02)
            command = Command(command_id="o1", kind="recheck", arguments=arguments, expires_at=datetime.now(UTC))
            return await service.carry_out(command), wakes
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=DEADLINE_S)


def test_answer_of_the_camera_is_the_outcome_and_its_picture_goes_at_once(tmp_path: Path) -> None:
    outcome, wakes = asyncio.run(ask(tmp_path, "answer", camera="k", kind="no_mask"))
    assert outcome.status == "done"
    assert (outcome.facts["verdict"], outcome.facts["evidence"], wakes) == ("compliant", ["e1"], 1)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"camera": "x", "kind": "no_mask"}, "this box has no camera x"),
        ({"kind": "no_mask"}, "camera: Field required"),
        ({"camera": "k", "what": "shell"}, "evil: Extra inputs are not permitted"),
    ],
)
def test_order_that_makes_no_sense_is_refused_with_the_reason(
    tmp_path: Path, arguments: dict[str, Scalar], reason: str
) -> None:
    evil = {"evil": 1} if "what" in arguments else {}
    outcome, _ = asyncio.run(ask(tmp_path, "obey", **arguments, **evil))
    assert (outcome.status, outcome.reason) == ("refused", reason)


def test_process_that_ends_before_its_answer_is_a_failure(tmp_path: Path) -> None:
    outcome, _ = asyncio.run(ask(tmp_path, "exit", camera="k", kind="no_mask"))
    assert (outcome.status, outcome.reason) == ("failed", "the camera gave no answer")
