"""Takes a model that the centre rolls out, tries it, and tells how it fared.

Its files are checked by digest, its manifest against the cameras' violations, and a process of its own runs it once,
before anything is kept. Then the box starts anew with it on trial (`edge.released_models`): proved when cameras judged
pictures with it, taken back when their process dies of it or the cameras themselves take it back or turn it off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from edge.camera_check import check_cameras
from edge.camera_desk import CameraDesk
from edge.config_cameras import Camera
from edge.model_folder import ModelFolder
from edge.release_fetch import Caller, fetch_model, fetch_patiently
from edge.release_outcome import outcome_of
from edge.released_config import load_without_models
from edge.released_models import states_of, with_models
from edge.remote_desk import Outcome
from edge.trial import Trial, TrialContext, became
from edge.trial_record import Installed, installed_by
from telemetry.commands import Command
from telemetry.released_model import read_manifest
from telemetry.releases import ReleaseError

Check = Callable[[Sequence[Camera], Path | None], list[tuple[int, str]]]
LOSSES_MAX = 3  # ends of the camera process during a trial


class ModelDesk:
    """*path* is the box's own file, *lacks* says what of the box does not work yet; ``run`` is a supervised service."""

    def __init__(
        self,
        path: Path,
        data_dir: Path,
        context: TrialContext,
        cameras: Sequence[CameraDesk],
        caller: Callable[[], Caller],
        lacks: Callable[[], str],
        check: Check = check_cameras,
    ) -> None:
        self._path = path
        self._folder = ModelFolder(data_dir)
        self._context = context
        self._cameras = cameras
        self._caller = caller
        self._lacks = lacks
        self._check = check

    async def carry_out(self, command: Command) -> Outcome:
        """Install what the command names."""

        async def install() -> bool:
            slot, offered = self._offered(command)
            current = self._folder.record(slot).state.current
            if current.is_same(offered) and current.confirmed:
                return True
            if offered.sha256 and not await asyncio.to_thread(self._folder.is_whole, offered):
                await self._fetch(offered)
            await asyncio.to_thread(self._install, slot, offered)
            return False

        return await outcome_of("model", install)

    def _offered(self, command: Command) -> tuple[str, Installed]:
        """The slot and what shall stand in it; raises ReleaseError."""
        slot = str(command.arguments.get("slot"))
        desks = self._desks(slot)
        if not desks:
            raise ReleaseError(f"no camera of this box has a model with the slot {slot[:64]}")
        offered = installed_by(command, rates_fps={desk.camera_id: desk.rate_fps for desk in desks})
        if bool(offered.sha256) != bool(offered.model_sha256) or not (offered.sha256 or offered.mode == "live"):
            raise ReleaseError("the command names half a model")
        return slot, offered

    def _desks(self, slot: str) -> list[CameraDesk]:
        return [desk for desk in self._cameras if slot in desk.model_places]

    async def _fetch(self, offered: Installed) -> None:
        """Manifest and model are on the disk, whole; raises UplinkUnavailable, ReleaseError, OSError."""
        async with self._caller() as caller:
            manifest = await fetch_patiently(caller.fetch, offered.sha256)
            if read_manifest(manifest).sha256 != offered.model_sha256:
                raise ReleaseError("the manifest names another model than the command")
            await asyncio.to_thread(self._folder.drop_fetched, offered.model_sha256)
            part = self._folder.fetching(offered.model_sha256)
            await fetch_model(caller, offered.model_sha256, part)
            await asyncio.to_thread(self._folder.keep, offered, manifest, part)

    def _install(self, slot: str, offered: Installed) -> None:
        """Put it on trial once it was tried; raises ReleaseError, ConfigurationError, OSError."""
        own = load_without_models(self._path)
        states = states_of(self._folder)
        states[slot] = self._folder.record(slot).state.trying(offered)
        cameras = with_models(own, self._folder, states).cameras
        model = self._folder.model(offered) if offered.sha256 else None
        problems = self._check(cameras, model)
        if not problems:
            self._folder.install(slot, offered)
        paths = [model.path for camera in own.cameras for model in camera.models_used if model.path]
        self._folder.forget_others({path.parent.name for path in paths})
        if problems:
            raise ReleaseError("; ".join(text for _, text in problems))

    async def run(self) -> None:
        """Until cancelled: every slot's trial. Raises OutboxError, OSError."""
        async with asyncio.TaskGroup() as trials:
            for slot in self._folder.slots():
                trial = Trial(self._context, self._folder.record(slot), self._lacks_for(slot), self._failed_for(slot))
                trials.create_task(trial.run(), name=f"trial {slot}")
            await asyncio.get_running_loop().create_future()

    def _lacks_for(self, slot: str) -> Callable[[Installed], str]:
        def lacks(_: Installed) -> str:
            if any(desk.has_judged for desk in self._desks(slot)):
                return self._lacks()
            return "no camera judged a picture with it"

        return lacks

    def _failed_for(self, slot: str) -> Callable[[Installed], str]:
        def failed(installed: Installed) -> str:
            for desk in self._desks(slot):
                report = desk.taken_back
                if report is not None and report.other_sha256 == installed.model_sha256 and installed.mode == "live":
                    return f"camera {desk.camera_id} took it back: {report.reason}"
                report = desk.turned_off
                if report is not None and report.model_sha256 == installed.model_sha256:
                    return f"camera {desk.camera_id} turned it off: {report.reason}"
                if not installed.confirmed and len(desk.losses) >= LOSSES_MAX:
                    return f"camera {desk.camera_id}: {desk.losses[-1]}"
            return ""

        return failed

    def facts(self) -> dict[str, list[str]]:
        """Which model is in force in each slot, for the box's sign of life."""
        found = []
        for slot, state in states_of(self._folder).items():
            now = state.current
            trial = "" if now.confirmed else " on trial"
            if now.sha256:
                found.append(f"{slot} {now.release} {now.model_sha256[:12]} {now.mode}{trial}")
        return {"model_releases": found}

    def became(self, command: str) -> bool:
        """Whether the command with this id, in whose midst the box ended, had its effect."""
        return any(became(self._folder.record(slot), command) for slot in self._folder.slots())
