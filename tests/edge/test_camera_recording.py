"""The centre asks for a film of a moment long past: from the box's recording, through the camera's real process."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyrage import decrypt
from pyrage.x25519 import Identity

from edge.camera_desk import CameraDesk
from edge.camera_service import CameraService
from edge.config_cameras import Camera
from edge.config_evidence import EvidenceSection
from edge.evidence_folder import EvidenceFolder
from edge.old_recordings import drop_old, recording_dir
from edge.remote_desk import RemoteDesk
from firmware_sim.camera import Schedule, write_file
from telemetry.commands import Command
from telemetry.evidence import open_evidence
from telemetry.messages import Event
from telemetry.signing import Signer
from tests.edge.test_vision_crash import camera_processes
from tests.vision.test_packet_ring import unpacked
from vision.segments import NAME

DEADLINE_S = 90
RECORDED = {"id": "kitchen", "name": "k", "recording": {"hours": 24}}


class Box:
    """One recorded camera, and the desk of the centre's commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events: list[Event] = []
        self.signer = Signer.generate()
        self.signer.save(folder / "box.key")
        self.regulator = Identity.generate()
        film = folder / "film.mp4"
        write_file(Schedule("mask:60"), film, 20, fps=5, width=640, height=360)
        self.desk = CameraDesk(
            Camera.model_validate({**RECORDED, "source": str(film), "hardware": "none"}), box_id="b",
            key_file=folder / "box.key", spool_dir=folder / "spool", saved=None, record=self._record,
            wake=lambda: None, evidence=EvidenceSection(sealed_to=(str(self.regulator.to_public()),)),
        )  # fmt: skip
        self.service = CameraService([self.desk], folder / "vision")
        self.remote = RemoteDesk(
            ["clip"], "b", {}, self._record, lambda: None,
            evidence=EvidenceFolder(folder / "evidence", bytes_max=2**30, free_bytes_min=0), cameras=self.service,
        )  # fmt: skip

    async def _record(self, events: Sequence[Event], state: dict[str, str | None]) -> None:
        self.events += events

    async def ask(self, command_id: str, at: datetime) -> Event:
        """The event that tells what became of the command for a film of five seconds."""
        arguments = {"camera": "kitchen", "at": at.isoformat(), "before_s": 2, "after_s": 1}
        await self.remote.do(
            Command(command_id=command_id, kind="clip", arguments=arguments, expires_at=datetime.now(UTC))
        )
        return self.events[-1]

    async def until(self, what: str, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                await asyncio.sleep(0.05)

    def recorded_s(self) -> float:
        """How long the newest file of the recording goes on already."""
        paths = sorted(recording_dir(self.folder, "kitchen").glob("*.mp4"))
        if not paths or not (match := NAME.match(paths[-1].name)):
            return 0.0
        start_at = datetime.strptime(match[2], "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)
        return paths[-1].stat().st_mtime - start_at.timestamp()


@pytest.mark.slow
def test_a_film_from_before_a_kill_of_the_process_comes_from_the_recording_sealed(tmp_path: Path) -> None:
    async def scenario() -> tuple[Box, datetime, Event, Event]:
        box = Box(tmp_path)
        task = asyncio.create_task(box.service.run())
        try:
            await box.until("six seconds are recorded", lambda: box.recorded_s() >= 6)
            moment = datetime.now(UTC) - timedelta(seconds=4)
            (pid,) = camera_processes()
            os.kill(pid, signal.SIGKILL)
            await box.until("another process records", lambda: pid not in camera_processes() and camera_processes())
            await box.until("another file grows", lambda: 1 <= box.recorded_s() < 6)
            done = await box.ask("o1", moment)
            return box, moment, done, await box.ask("o2", moment - timedelta(hours=1))
        finally:
            task.cancel()
            await asyncio.wait([task], timeout=DEADLINE_S)

    box, moment, done, refused = asyncio.run(scenario())
    assert (done.data["status"], done.data.get("evidence_missing")) == ("done", None)
    (digest,) = done.data["evidence"]
    sealed = open_evidence((tmp_path / "spool" / f"{digest}.ble").read_bytes(), lambda _: box.signer.public_key)
    assert (sealed.manifest.role, sealed.manifest.incident_id) == ("sealed", "o1")
    frames = sealed.manifest.frames
    assert frames is not None
    assert frames.first_at <= moment - timedelta(seconds=1.5) < moment <= frames.last_at + timedelta(seconds=0.5)
    _, pictures = unpacked(decrypt(sealed.blob, [box.regulator]))
    assert pictures == frames.count >= 10
    assert refused.data["status"] == "refused"
    assert str(refused.data["reason"]).startswith("not recorded, kept is: 20")
    assert camera_processes() == []


def test_a_recording_of_masked_pictures_or_without_bounds_is_a_wrong_configuration() -> None:
    masks = [[[0, 0], [0.1, 0], [0.1, 0.1]]]
    with pytest.raises(ValueError, match="recording would show what masks hide"):
        Camera.model_validate({**RECORDED, "source": "x", "masks": masks})
    for wrong in ({"hours": 0}, {"hours": 10_000}, {"bytes_max": 1}, {"days": 3}):
        with pytest.raises(ValueError, match="recording"):
            Camera.model_validate({**RECORDED, "source": "x", "recording": wrong})
    assert Camera.model_validate({"id": "a", "name": "a", "source": "x"}).recording is None


def test_what_is_left_of_a_recording_goes_when_its_camera_is_recorded_no_more(tmp_path: Path) -> None:
    for name in ("gone", "still"):
        recording_dir(tmp_path, name).mkdir(parents=True)
        for number, at_s in ((1, 100), (2, 300)):
            path = recording_dir(tmp_path, name) / f"00000000{number}.mp4"
            path.write_bytes(b"x")
            os.utime(path, (at_s, at_s))
    assert drop_old(tmp_path, ["still"], 200) == 1
    left = sorted(str(path.relative_to(tmp_path / "recording")) for path in tmp_path.glob("recording/*/*"))
    assert left == ["gone/000000002.mp4", "still/000000001.mp4", "still/000000002.mp4"]
