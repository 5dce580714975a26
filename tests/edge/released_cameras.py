"""A box with one camera, its disk, and a centre that releases models to it; what runs models is scripted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType

from edge.camera_desk import CameraDesk
from edge.camera_report import CameraReport
from edge.config_cameras import Camera, CameraModel
from edge.model_desk import ModelDesk
from edge.model_folder import ModelFolder
from edge.released_config import load_in_force, start_in_force
from edge.trial import TrialContext
from telemetry.batch import sha256_hex
from telemetry.command_call import Piece, PieceMissing
from telemetry.commands import Command
from telemetry.messages import Event, Scalar
from telemetry.uplink import UplinkUnavailable
from tests.server.rollout.fleet import manifest_of

OWN = """
box: {name: box-1, data_dir: data}
server: {url: "https://centre.example"}
cameras: [{id: kitchen, name: 备餐间, source: "rtsp://c/1"}]
"""
NOW = datetime(2026, 1, 2, tzinfo=UTC)
PIECE_BYTES = 4


class ScriptedCaller:
    """The centre's end of a fetch: by pieces of ``piece_bytes``; ``fails``: at these requests the line is cut."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.asked: list[int] = []
        self.fails: set[int] = set()
        self.piece_bytes = PIECE_BYTES

    async def __aenter__(self) -> ScriptedCaller:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    async def fetch(self, sha256: str) -> bytes:
        return self.blobs[sha256]

    async def fetch_piece(self, sha256: str, first: int) -> Piece:
        self.asked.append(first)
        if len(self.asked) in self.fails:
            raise UplinkUnavailable("down", 0.0)
        whole = self.blobs[sha256]
        if first >= len(whole):
            raise PieceMissing("beyond")
        return Piece(whole[first : first + self.piece_bytes], len(whole))


class CameraBox:
    """See the module's docstring. ``problems`` is what the check says, ``checked`` what it was asked."""

    def __init__(self, folder: Path, own: str = OWN) -> None:
        self.path = folder / "box.yaml"
        self.path.write_text(own, "utf-8")
        self.data = folder / "data"
        self.folder = ModelFolder(self.data)
        self.caller = ScriptedCaller()
        self.events: list[Event] = []
        self.restarts = asyncio.Event()
        self.problems: list[tuple[int, str]] = []
        self.checked: list[tuple[Sequence[Camera], Path | None]] = []
        self.camera = self._camera()
        self.lacks = ""
        self.trial_s = 0.0

    def _camera(self) -> CameraDesk:
        (camera,) = load_in_force(self.path).cameras
        return CameraDesk(
            camera, box_id="box-1", key_file=Path("k"), spool_dir=self.data / "spool", saved=None, record=self.record,
            wake=lambda: None,
        )  # fmt: skip

    async def record(self, events: Sequence[Event], state: dict[str, str | None]) -> None:
        self.events += events

    def _check(self, cameras: Sequence[Camera], model: Path | None = None) -> list[tuple[int, str]]:
        self.checked.append((cameras, model))
        return self.problems

    def desk(self) -> ModelDesk:
        context = TrialContext("box-1", self.record, self.restarts.set, self.trial_s, lambda: NOW)
        return ModelDesk(
            self.path, self.data, context, [self.camera], lambda: self.caller, lambda: self.lacks, self._check
        )

    def release(self, model: bytes) -> dict[str, Scalar]:
        """What a command names; the bytes are at the centre."""
        manifest = manifest_of(model)
        said = {"sha256": sha256_hex(manifest), "model_sha256": sha256_hex(model)}
        self.caller.blobs |= {said["sha256"]: manifest, said["model_sha256"]: model}
        return dict(said)

    def order(self, name: str, model: bytes | None, mode: str = "live", slot: str = "mask") -> tuple[str, str]:
        """The outcome and its reason; no *model*: the box's own again."""
        said = self.release(model) if model is not None else {"sha256": "", "model_sha256": ""}
        arguments = {"release": name if model is not None else "", "slot": slot, "mode": mode, **said}
        command = Command(
            command_id=f"c{name}", kind="apply", arguments=arguments, expires_at=NOW + timedelta(days=1)
        )  # fmt: skip
        outcome = asyncio.run(self.desk().carry_out(command))
        assert outcome.restart == (outcome.status == "done" and not outcome.facts["in_force"])
        return outcome.status, outcome.reason

    def start(self) -> CameraModel:
        """The box starts; its camera's model."""
        (model,) = start_in_force(self.path).cameras[0].models_used
        self.camera = self._camera()
        self.restarts.clear()
        return model

    async def judge(self, **told: object) -> None:
        """The camera judged a picture, or told something else."""
        said = {"camera": "kitchen", "type": "stats", "judged": 1, "rate_fps": 4.5, **told}
        await self.camera.take(CameraReport.model_validate(said))

    def live_on(self, *told: dict[str, object]) -> None:
        """The box stays up, judges, and its camera tells this; until all is told and done."""

        async def live() -> None:
            service = asyncio.create_task(self.desk().run())
            async with asyncio.timeout(20):
                await self.judge()
                while self._is_on_trial():
                    await asyncio.sleep(0)
                for report in told:
                    await self.judge(**report)
                if told:
                    await self.restarts.wait()
            service.cancel()
            with suppress(asyncio.CancelledError):
                await service

        asyncio.run(live())

    def _is_on_trial(self) -> bool:
        states = [self.folder.record(slot).state for slot in self.folder.slots()]
        return any(not state.current.confirmed or state.words for state in states)

    def prove(self, name: str, model: bytes | None, mode: str = "live") -> None:
        assert self.order(name, model, mode) == ("done", "")
        self.start()
        self.live_on()

    @property
    def told(self) -> list[tuple[object, object]]:
        words = [event.data for event in self.events if event.data.get("kind") == "release"]
        return [(data["release"], data["status"]) for data in words]

    def file_of(self, model: bytes) -> Path:
        return self.folder.path / sha256_hex(manifest_of(model)) / "model.onnx"
