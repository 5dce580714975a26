"""What the centre rolls out to this box, a configuration or a model, and who takes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from edge.camera_desk import CameraDesk
from edge.config import EdgeConfig
from edge.model_desk import ModelDesk
from edge.release_desk import ReleaseDesk
from edge.remote_desk import Outcome
from edge.trial import TrialContext
from edge.uplink import make_fetch
from telemetry.command_call import CommandCaller
from telemetry.commands import Command
from telemetry.messages import Scalar


class ReleaseDesks:
    """The desk of the configuration, and that of the models where there are cameras."""

    def __init__(
        self,
        config: EdgeConfig,
        context: TrialContext,
        cameras: Sequence[CameraDesk],
        open_caller: Callable[[], CommandCaller],
        lacks: Callable[[], str],
    ) -> None:
        """*config* comes from a file."""
        assert config.path is not None
        data_dir = config.box.data_dir
        self._configuration = ReleaseDesk(config.path, data_dir, context, make_fetch(open_caller), lacks)
        self._models = ModelDesk(config.path, data_dir, context, cameras, open_caller, lacks) if cameras else None

    def services(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        """To be supervised."""
        services: list[tuple[str, Callable[[], Awaitable[None]]]] = [("releases", self._configuration.run)]
        return [*services, ("models", self._models.run)] if self._models else services

    async def carry_out(self, command: Command) -> Outcome:
        """A command that names a slot is for a model."""
        if not command.arguments.get("slot"):
            return await self._configuration.carry_out(command)
        if self._models is None:
            return Outcome("refused", "this box has no cameras")
        return await self._models.carry_out(command)

    def became(self, command: str) -> bool:
        """See `edge.remote_desk.Releases`."""
        return self._configuration.became(command) or (self._models is not None and self._models.became(command))

    def facts(self) -> dict[str, Scalar | list[str]]:
        """What is in force, for the box's sign of life."""
        models = self._models.facts() if self._models else {}
        return {**self._configuration.facts(), **models}
