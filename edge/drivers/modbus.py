"""Modbus RTU through pymodbus on pyserial: one owner per serial line polls all of its sensors in turn.

The only file that imports pymodbus. A unit that does not answer costs its own time-out, then waits longer and
longer before its next try, so that its neighbours keep their rhythm.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from edge.config import ModbusSensor, SerialPort
from telemetry.messages import Reading

if TYPE_CHECKING:
    from pymodbus.client import AsyncModbusSerialClient

UNIT_BACKOFF_S_MAX = 60.0
_FORMATS = {"int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "float32": ">f"}


@dataclass
class _Schedule:
    sensor: ModbusSensor
    due_s: float


@dataclass
class _UnitHealth:
    failures: int = 0
    not_before_s: float = 0.0


def decode_registers(registers: Sequence[int], sensor: ModbusSensor) -> float:
    """The engineering value of 1 or 2 registers (each 0–65535, big-endian bytes), before calibration."""
    ordered = registers if sensor.word_order == "big" else list(reversed(registers))
    raw = struct.pack(f">{len(ordered)}H", *ordered)
    return float(struct.unpack(_FORMATS[sensor.data_type], raw)[0]) * sensor.scale


class ModbusDriver:
    """All Modbus sensors of one serial line."""

    def __init__(self, port: SerialPort, sensors: Sequence[ModbusSensor], clock_synced: Callable[[], bool]) -> None:
        self._port = port
        self._sensors = sensors
        self._clock_synced = clock_synced
        self._units: dict[int, _UnitHealth] = {}
        self._client: AsyncModbusSerialClient | None = None

    async def __aenter__(self) -> ModbusDriver:
        from pymodbus import FramerType
        from pymodbus.client import AsyncModbusSerialClient

        port = self._port
        if not await asyncio.to_thread(Path(port.device).exists):
            raise OSError(f"serial port {port.id}: {port.device} is not there; check the cable and the device name")
        client = AsyncModbusSerialClient(
            str(port.device),
            framer=FramerType.RTU,
            baudrate=port.baud,
            parity=port.parity,
            stopbits=port.stop_bits,
            timeout=port.timeout_s,
            retries=0,
            reconnect_delay=0,
        )
        if not await client.connect():
            raise OSError(f"serial port {port.id}: {port.device} cannot be opened; is it in use?")
        self._client = client
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    async def readings(self) -> AsyncIterator[Reading]:
        """Readings for ever, each sensor at its own interval; raises OSError when the line is gone."""
        loop = asyncio.get_running_loop()
        queue = [_Schedule(sensor, loop.time()) for sensor in self._sensors]
        while True:
            item = min(queue, key=lambda entry: entry.due_s)
            await asyncio.sleep(max(0.0, item.due_s - loop.time()))
            item.due_s = max(item.due_s + item.sensor.poll_interval_s, loop.time())
            unit = self._units.setdefault(item.sensor.unit, _UnitHealth())
            if loop.time() < unit.not_before_s:
                continue
            reading = await self._read(item.sensor)
            yield reading
            if reading.reason != "no answer":
                unit.failures = 0
                continue
            unit.failures += 1
            unit.not_before_s = loop.time() + min(UNIT_BACKOFF_S_MAX, 0.5 * 2 ** min(unit.failures, 8))
            for other in self._sensors:  # the unit's other sensors are not asked for now, so they are told too
                if other.unit == item.sensor.unit and other is not item.sensor:
                    yield self._reading(other, None, "bad", "no answer")

    async def _read(self, sensor: ModbusSensor) -> Reading:
        from pymodbus.exceptions import ModbusException

        client = self._client
        if client is None or not client.connected:
            raise OSError(f"serial port {self._port.id}: {self._port.device} was lost")
        count = 1 if sensor.data_type.endswith("16") else 2
        call = {
            "input": client.read_input_registers,
            "holding": client.read_holding_registers,
            "coil": client.read_coils,
            "discrete": client.read_discrete_inputs,
        }[sensor.table]
        bits = sensor.table in ("coil", "discrete")
        try:
            answer = await call(sensor.register_address, count=1 if bits else count, device_id=sensor.unit)
        except ModbusException:
            return self._reading(sensor, None, "bad", "no answer")
        if answer.isError():
            return self._reading(sensor, None, "bad", f"the unit answered with an exception: {answer}"[:200])
        if len(answer.registers) != (0 if bits else count) or (bits and not answer.bits):
            return self._reading(sensor, None, "bad", "the unit answered with the wrong number of values")
        value = float(answer.bits[0]) if bits else decode_registers(answer.registers, sensor)
        value = round(value + sensor.calibration_offset, 6)
        if not -1e12 < value < 1e12:
            return self._reading(sensor, None, "bad", "not a finite number")
        inside = sensor.plausible is None or sensor.plausible.min <= value <= sensor.plausible.max
        return self._reading(
            sensor, value, "good" if inside else "suspect", None if inside else "outside plausible range"
        )

    def _reading(self, sensor: ModbusSensor, value: float | None, quality: str, reason: str | None) -> Reading:
        return Reading.model_validate(
            {
                "sensor_id": sensor.id,
                "quantity": sensor.quantity,
                "value": value,
                "unit": sensor.unit_of_measure,
                "observed_at": datetime.now(UTC),
                "quality": quality,
                "reason": reason,
                "clock_synced": self._clock_synced(),
            }
        )
