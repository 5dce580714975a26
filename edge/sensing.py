"""From the configuration to running drivers: which port has which driver, and one service for each port.

What always holds: a port has one owner; a reading is confirmed to its device only after *record* returned, which is
after the outbox commit; a port that is lost is told as ``bad`` readings of all its sensors, never as silence.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module

from edge.config import EdgeConfig, Port, Sensor
from edge.config_checks import REFERENCES
from edge.drivers.assessment import bad
from edge.drivers.port import Delivery, Driver
from edge.drivers.port_counts import PortCounts
from telemetry.messages import Reading
from telemetry.outbox import OutboxFull

DRIVERS = {
    "modbus": "edge.drivers.modbus:ModbusDriver",
    "serial_line": "edge.drivers.serial_line:SerialLineDriver",
    "mqtt": "edge.drivers.mqtt:MqttDriver",
    "onewire": "edge.drivers.onewire:OneWireDriver",
    "replay": "edge.drivers.replay:ReplayDriver",
}
Record = Callable[[Sequence[Reading], Mapping[str, str | None]], Awaitable[None]]


@dataclass(frozen=True)
class Source:
    """One port with the sensors on it; all have the same *kind*, a key of ``DRIVERS``."""

    kind: str
    port: Port
    sensors: tuple[Sensor, ...]

    @property
    def name(self) -> str:
        return f"{self.kind} port {self.port.id}"


def list_sources(config: EdgeConfig) -> list[Source]:
    """The ports that have sensors, in the order of the file."""
    sources: list[Source] = []
    for kind, (_, sections) in REFERENCES.items():
        for port in (port for section in sections for port in getattr(config, section)):
            sensors = tuple(item for item in config.sensors if item.type == kind and item.source == port.id)
            if sensors:
                sources.append(Source(kind, port, sensors))
    return sources


def make_driver(
    source: Source, clock_synced: Callable[[], bool], saved: Mapping[str, str], counts: PortCounts | None = None
) -> Driver:
    """The driver of a port, not entered yet; *saved* holds the states that its deliveries had committed."""
    module, _, name = DRIVERS[source.kind].partition(":")
    driver: Driver = getattr(import_module(module), name)(source.port, source.sensors, clock_synced, saved, counts)
    return driver


class SensingService:
    """`run()` under a supervisor: reads one port until cancelled, raises what its driver raises."""

    def __init__(
        self,
        source: Source,
        clock_synced: Callable[[], bool],
        record: Record,
        load_state: Callable[[], Mapping[str, str]],
    ) -> None:
        self.source = source
        self._clock_synced = clock_synced
        self._record = record
        self._load_state = load_state
        self.counts = PortCounts()
        self._lost = False

    async def run(self) -> None:
        try:
            async with make_driver(self.source, self._clock_synced, self._load_state(), self.counts) as driver:
                if self._lost:
                    self.counts.reconnects += 1
                async for delivery in driver.deliveries():
                    await self._take(delivery)
        except OSError as error:
            self._lost = True
            now, synced = datetime.now(UTC), self._clock_synced()
            lost = [bad(sensor, str(error), now, synced) for sensor in self.source.sensors]
            self.counts.take(lost)
            await self._record(lost, {})
            raise

    async def _take(self, delivery: Delivery) -> None:
        """Record and confirm. With the disk full, a device that can repeat is not confirmed and asked again later."""
        try:
            self.counts.take(delivery.readings)
            await self._record(delivery.readings, delivery.state)
        except OutboxFull:
            if delivery.refuse is not None:
                await self._record((), delivery.refuse())
                raise
        delivery.confirm()
