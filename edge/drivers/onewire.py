"""DS18B20 sensors on the kernel's 1-Wire bus: the files under /sys/bus/w1/devices.

Reading such a file blocks for a conversion (0.75 s), longer on a faulty bus, perhaps for ever. So each read has a
thread of its own; a sensor whose read does not come back is told as ``bad``, costs its neighbours one time-out and
then nothing, and is never read twice at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from edge.config_ports import OneWireBus
from edge.config_sensors import OneWireSensor
from edge.drivers.assessment import assess, bad
from edge.drivers.port import Delivery, Driver
from edge.drivers.port_counts import PortCounts
from edge.drivers.scratchpad import ChecksumError, ScratchpadError, decode_scratchpad
from telemetry.messages import Reading

FILE_BYTES_MAX = 4096


@dataclass
class _Schedule:
    sensor: OneWireSensor
    due_s: float = 0.0
    pending: asyncio.Future[bytes] | None = None


class OneWireDriver(Driver):
    """All sensors of one bus, read in turn."""

    def __init__(
        self,
        bus: OneWireBus,
        sensors: Sequence[OneWireSensor],
        clock_synced: Callable[[], bool],
        saved: Mapping[str, str] | None = None,
        counts: PortCounts | None = None,
    ) -> None:
        self._bus = bus
        self._schedules = [_Schedule(sensor) for sensor in sensors]
        self._clock_synced = clock_synced
        self._counts = counts or PortCounts()

    async def __aenter__(self) -> OneWireDriver:
        if not await asyncio.to_thread(self._bus.folder.is_dir):
            raise OSError(f"1-Wire bus {self._bus.id}: {self._bus.folder} is not there; is the w1 driver loaded?")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for schedule in self._schedules:
            if schedule.pending is not None:
                schedule.pending.cancel()
                schedule.pending = None

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """One delivery for each read, each sensor in its own rhythm."""
        loop = asyncio.get_running_loop()
        while True:
            schedule = min(self._schedules, key=lambda item: item.due_s)
            await asyncio.sleep(max(0.0, schedule.due_s - loop.time()))
            asked_s = loop.time()
            schedule.due_s = max(schedule.due_s + schedule.sensor.poll_interval_s, asked_s)
            reading, raw = await self._read(schedule)
            yield Delivery([reading], [raw], latency_s=loop.time() - asked_s)

    async def _read(self, schedule: _Schedule) -> tuple[Reading, bytes | None]:
        sensor = schedule.sensor
        text: bytes | None = None
        try:
            text = await self._text(schedule)
            celsius = decode_scratchpad(text)
        except TimeoutError:
            self._counts.timeouts += 1
            reason = f"no answer in {self._bus.timeout_s:g} s"
        except ChecksumError as error:
            self._counts.frame_errors += 1
            reason = str(error)
        except ScratchpadError as error:
            self._counts.decode_errors += 1
            reason = str(error)
        except OSError as error:
            self._counts.timeouts += 1
            reason = f"not on the bus ({error.strerror})"
        else:
            return assess(sensor, celsius * sensor.scale, datetime.now(UTC), self._clock_synced()), text
        return bad(sensor, reason, datetime.now(UTC), self._clock_synced()), text

    async def _text(self, schedule: _Schedule) -> bytes:
        """The file's text; while an earlier read hangs no other is started, and what it gives at last is too old."""
        if schedule.pending is not None and not schedule.pending.done():
            raise TimeoutError
        schedule.pending = _read_in_thread(self._bus.folder / schedule.sensor.device / "w1_slave")
        done, _ = await asyncio.wait([schedule.pending], timeout=self._bus.timeout_s)
        if not done:
            raise TimeoutError
        pending, schedule.pending = schedule.pending, None
        return pending.result()


def _read_in_thread(path: Path) -> asyncio.Future[bytes]:
    """Read *path* in a daemon thread: one that hangs in the kernel must not keep the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[bytes] = loop.create_future()

    def settle(result: bytes | OSError) -> None:
        if future.done():
            return
        if isinstance(result, OSError):
            future.set_exception(result)
        else:
            future.set_result(result)

    def read() -> None:
        result: bytes | OSError
        try:
            with path.open("rb") as file:
                result = file.read(FILE_BYTES_MAX)
        except OSError as error:
            result = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result)

    threading.Thread(target=read, name=f"onewire {path.parent.name}", daemon=True).start()
    return future
