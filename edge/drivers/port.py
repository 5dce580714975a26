"""Port: a sensor driver. Opens its device on entry, gives readings until left, raises when the device is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Protocol

from telemetry.messages import Reading


class Driver(Protocol):
    """A value that could not be read comes as a ``bad`` reading with the reason; OSError means restart me."""

    async def __aenter__(self) -> Driver: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def readings(self) -> AsyncIterator[Reading]: ...
