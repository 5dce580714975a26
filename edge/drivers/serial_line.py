"""Devices that talk by themselves over a serial line: text, CSV or JSON, in lines or between STX and ETX.

What always holds: a damaged frame never gives a value, is told at most once a second, and costs only itself; a sensor
that is not heard for its ``silence_s`` is told as ``bad``. Nothing is ever sent to the device.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType

from edge.config_ports import SerialPort
from edge.config_sensors import SerialLineSensor
from edge.drivers.assessment import assess, bad
from edge.drivers.decoders.payload import PayloadError, find, parse_json, split_path, to_number
from edge.drivers.framing import Frame, FrameReader
from edge.drivers.port import Delivery, Driver
from edge.drivers.port_counts import PortCounts
from edge.drivers.serial_stream import SerialStream
from telemetry.messages import Reading

WAIT_S = 0.5
DAMAGE_TOLD_S = 1.0

Extract = Callable[[bytes], float | None]


def make_extractor(sensor: SerialLineSensor, content: str, delimiter: str) -> Extract:
    """A function from a frame's content to the sensor's number, None if the frame is about something else.

    It raises PayloadError when the frame is the sensor's and holds no number.
    """
    if content == "text":
        pattern = re.compile(sensor.field)

        def from_text(data: bytes) -> float | None:
            found = pattern.search(data.decode("utf-8", "replace"))
            return None if found is None else to_number(found[1] or "", sensor.values)

        return from_text
    if content == "csv":
        column = int(sensor.field)

        def from_csv(data: bytes) -> float | None:
            cells = [cell.strip() for cell in data.decode("utf-8", "replace").split(delimiter)]
            if sensor.key is not None and cells[0] != sensor.key:
                return None
            if column >= len(cells):
                raise PayloadError(f"the line has only {len(cells)} columns")
            return to_number(cells[column], sensor.values)

        return from_csv
    path = split_path(sensor.field)

    def from_json(data: bytes) -> float | None:
        try:
            value = find(parse_json(data), path)
        except KeyError:
            return None
        return to_number(value, sensor.values)

    return from_json


class SerialLineDriver(Driver):
    """All sensors of one talking line."""

    def __init__(
        self,
        port: SerialPort,
        sensors: Sequence[SerialLineSensor],
        clock_synced: Callable[[], bool],
        saved: Mapping[str, str] | None = None,
        counts: PortCounts | None = None,
    ) -> None:
        self._sensors = sensors
        self._clock_synced = clock_synced
        self._stream = SerialStream(port)
        self._frames = FrameReader(port.line)
        self._extract = [make_extractor(sensor, port.line.content, port.line.delimiter) for sensor in sensors]
        self._counts = counts or PortCounts()
        self._silent_at_s: dict[str, float] = {}
        self._damage_told_s = float("-inf")

    async def __aenter__(self) -> SerialLineDriver:
        await self._stream.__aenter__()
        now_s = asyncio.get_running_loop().time()
        self._silent_at_s = {sensor.id: now_s + sensor.silence_s for sensor in self._sensors}
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stream.__aexit__(kind, error, trace)

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """One delivery for each frame that has a value, and for each silence; raises OSError when the line is gone."""
        while True:
            data = await self._stream.read(WAIT_S)
            for frame in self._frames.feed(data):
                readings = self._take(frame)
                if readings:
                    yield Delivery(readings, [frame.content] * len(readings))
            silent = self._silent()
            if silent:
                yield Delivery(silent, [None] * len(silent))

    def _take(self, frame: Frame) -> list[Reading]:
        now, synced = datetime.now(UTC), self._clock_synced()
        now_s = asyncio.get_running_loop().time()
        if frame.damaged is not None:
            self._counts.frame_errors += 1
            if now_s - self._damage_told_s < DAMAGE_TOLD_S:
                return []
            self._damage_told_s = now_s
            return [bad(sensor, f"a damaged frame came: {frame.damaged}", now, synced) for sensor in self._sensors]
        readings: list[Reading] = []
        for sensor, extract in zip(self._sensors, self._extract, strict=True):
            try:
                value = extract(frame.content)
            except PayloadError as error:
                self._counts.decode_errors += 1
                readings.append(bad(sensor, str(error), now, synced))
                continue
            if value is not None:
                readings.append(assess(sensor, value * sensor.scale, now, synced))
                self._silent_at_s[sensor.id] = now_s + sensor.silence_s
        return readings

    def _silent(self) -> list[Reading]:
        now_s = asyncio.get_running_loop().time()
        now, synced = datetime.now(UTC), self._clock_synced()
        found: list[Reading] = []
        for sensor in self._sensors:
            if self._silent_at_s[sensor.id] <= now_s:
                self._silent_at_s[sensor.id] = now_s + sensor.silence_s
                self._counts.timeouts += 1
                found.append(bad(sensor, f"nothing came for {sensor.silence_s:g} s", now, synced))
        return found
