"""Port: a sensor driver. Opens its device on entry, gives deliveries until left, raises OSError when it is gone.

What always holds: a value that could not be read comes as a ``bad`` reading with the reason, never as silence; the
readings of a delivery are the box's only once ``confirm`` was called, and a driver that can ask its device to repeat
(MQTT) does so for every delivery that was not confirmed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from telemetry.messages import Reading


def _no_one_waits() -> None:
    """For devices that cannot repeat: nobody needs to hear that the readings are safe."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Readings that came together.

    ``raws`` is what the device said for each of them, for commissioning; ``state`` must be committed together with
    the readings (None deletes a key); ``latency_s`` is from request to answer, None for devices that are not asked.
    ``refuse`` is there if the device repeats what was not confirmed: it gives the state to commit when the readings
    found no room, after which the driver is entered anew.
    """

    readings: Sequence[Reading]
    raws: Sequence[object] = ()
    state: Mapping[str, str | None] = field(default_factory=dict)
    latency_s: float | None = None
    confirm: Callable[[], None] = _no_one_waits
    refuse: Callable[[], Mapping[str, str | None]] | None = None


class Driver(ABC):
    """One port and all sensors on it. ``OSError`` means: enter me again, the device may come back."""

    @abstractmethod
    async def __aenter__(self) -> Driver: ...

    @abstractmethod
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @abstractmethod
    def deliveries(self) -> AsyncIterator[Delivery]:
        """Deliveries for ever."""

    async def readings(self) -> AsyncIterator[Reading]:
        """The readings alone; each delivery is confirmed when its last reading was taken."""
        async for delivery in self.deliveries():
            for reading in delivery.readings:
                yield reading
            delivery.confirm()
