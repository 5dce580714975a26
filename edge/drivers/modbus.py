"""Modbus RTU and TCP through pymodbus: one owner per port reads all of its sensors in turn, functions 1-4 only.

The only file that imports pymodbus; it calls no write function, so neither a write nor a broadcast is possible. A unit
that does not answer costs one time-out, then waits longer and longer before its next try, so that its neighbours keep
their rhythm. An answer is taken only if its unit, function and length are those of the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from edge.config_ports import ModbusTcpPort, SerialPort
from edge.config_sensors import ModbusSensor
from edge.drivers.assessment import assess, bad
from edge.drivers.modbus_registers import Block, Request, Shape, decode_registers, plan_blocks
from edge.drivers.modbus_unit import Unit
from edge.drivers.port import Delivery, Driver
from edge.drivers.port_counts import PortCounts
from telemetry.messages import Reading

if TYPE_CHECKING:
    from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient

__all__ = ["ModbusDriver", "decode_registers"]
SILENT_READS_MAX = 4  # so many in a row without an answer of any unit: a TCP connection is taken for dead
REFUSED_BLOCK = (2, 3)  # exceptions "illegal data address" and "illegal data value", V1.1b3 section 7


class _NoAnswer(Exception):
    """Nothing that answers the request came in time."""


class _Refused(Exception):
    """The unit answered with an exception."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the unit answered with exception {code}")
        self.code = code


class ModbusDriver(Driver):
    """All Modbus sensors of one serial line or of one TCP server."""

    def __init__(
        self,
        port: SerialPort | ModbusTcpPort,
        sensors: Sequence[ModbusSensor],
        clock_synced: Callable[[], bool],
        saved: Mapping[str, str] | None = None,
        counts: PortCounts | None = None,
    ) -> None:
        self._port = port
        self._blocks = plan_blocks(sensors, port)
        self._units = {sensor.unit: Unit() for sensor in sensors}
        self._clock_synced = clock_synced
        self._counts = counts or PortCounts()
        self._silent_reads = 0
        self._pause_s = _frame_pause_s(port.baud) if isinstance(port, SerialPort) else 0.0
        self._client: AsyncModbusSerialClient | AsyncModbusTcpClient | None = None

    async def __aenter__(self) -> ModbusDriver:
        client = await self._make_client()
        if not await client.connect():
            client.close()
            raise OSError(f"port {self._port.id}: {self._address} cannot be opened; is it in use or switched off?")
        self._client = client
        self._silent_reads = 0
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    @property
    def _address(self) -> str:
        port = self._port
        return str(port.device) if isinstance(port, SerialPort) else f"{port.host}:{port.port}"

    async def _make_client(self) -> AsyncModbusSerialClient | AsyncModbusTcpClient:
        from pymodbus import FramerType
        from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient

        port = self._port
        client: AsyncModbusSerialClient | AsyncModbusTcpClient
        if isinstance(port, SerialPort):
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
        else:
            client = AsyncModbusTcpClient(
                port.host, port=port.port, timeout=port.timeout_s, retries=0, reconnect_delay=0
            )
        client.set_max_no_responses(1_000_000_000)  # whether the line is dead is decided in here, over all units
        _drop_undecodable(client.ctx.framer, self._counts, lambda: not client.ctx.response_future.done())
        return client

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """One delivery for each block read, each block in its own rhythm; raises OSError when the line is gone."""
        loop = asyncio.get_running_loop()
        while True:
            block = min(self._blocks, key=lambda item: item.due_s)
            await asyncio.sleep(max(0.0, block.due_s - loop.time()))
            asked_s = loop.time()
            block.due_s = max(block.due_s + block.poll_interval_s, asked_s)
            readings, raws = await self._read(block)
            if readings:
                yield Delivery(readings, raws, latency_s=loop.time() - asked_s)

    async def _read(self, block: Block) -> tuple[list[Reading], list[object]]:
        unit = self._units[block.unit]
        try:
            values = await self._ask(block, unit)
        except _NoAnswer as error:
            return self._without_answer(block, unit, str(error))
        except _Refused as error:
            if error.code in REFUSED_BLOCK and len(block.sensors) > 1:
                self._blocks.remove(block)
                self._blocks += block.split()
                for part in self._blocks[-len(block.sensors) :]:
                    part.due_s = 0.0
                return [], []
            self._counts.refusals += 1
            return self._all_bad(block.sensors, str(error))
        now, synced = datetime.now(UTC), self._clock_synced()
        raws = [block.raw(sensor, values) for sensor in block.sensors]
        readings = [
            assess(
                sensor, raw[0] * sensor.scale if block.request.is_bits else decode_registers(raw, sensor), now, synced
            )
            for sensor, raw in zip(block.sensors, raws, strict=True)
        ]
        self._counts.decode_errors += sum(reading.quality == "bad" for reading in readings)
        return readings, list(raws)

    def _without_answer(self, block: Block, unit: Unit, reason: str) -> tuple[list[Reading], list[object]]:
        """The unit's other blocks that are due would only cost more time-outs: they share its fate."""
        now_s = asyncio.get_running_loop().time()
        unit.failed(now_s)
        sensors = list(block.sensors)
        for other in self._blocks:
            if other.unit == block.unit:
                if other is not block and other.due_s <= now_s:
                    sensors += other.sensors
                other.due_s = max(other.due_s, unit.not_before_s)
        self._silent_reads += 1
        if isinstance(self._port, ModbusTcpPort) and self._silent_reads >= SILENT_READS_MAX:
            raise OSError(f"port {self._port.id}: {self._address} takes requests but answers none")
        return self._all_bad(sensors, reason)

    def _all_bad(self, sensors: Sequence[ModbusSensor], reason: str) -> tuple[list[Reading], list[object]]:
        now, synced = datetime.now(UTC), self._clock_synced()
        return [bad(sensor, reason, now, synced) for sensor in sensors], [None for _ in sensors]

    async def _ask(self, block: Block, unit: Unit) -> list[int]:
        """The block's values; raises _NoAnswer, _Refused, or OSError when the line is gone."""
        now_s = asyncio.get_running_loop().time()
        if isinstance(self._port, SerialPort) and unit.may_mistake(block.request, now_s):
            probe = unit.probe(block)
            if probe is None:
                raise _NoAnswer("no answer; waiting until late ones are past")
            try:
                await self._exchange(probe, block.unit, unit)
            except _Refused as error:
                if not unit.refusal_is_certain(probe):
                    raise _NoAnswer("no answer in step with the requests") from error
                unit.answered()
        return await self._exchange(block.request, block.unit, unit)

    async def _exchange(self, request: Request, number: int, unit: Unit) -> list[int]:
        from pymodbus.exceptions import ModbusException

        client = self._client
        if client is None or not client.connected:
            raise OSError(f"port {self._port.id}: {self._address} was lost")
        call = {
            "input": client.read_input_registers,
            "holding": client.read_holding_registers,
            "coil": client.read_coils,
            "discrete": client.read_discrete_inputs,
        }[request.table]
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._pause_s)
        try:
            answer = await call(request.address, count=request.count, device_id=number)
        except ModbusException as error:
            unit.timed_out(request, loop.time())
            self._counts.timeouts += 1
            raise _NoAnswer("no answer") from error
        self._silent_reads = unit.failures = 0
        if answer.function_code == request.refusal.function:
            raise _Refused(answer.exception_code)
        values = [int(value) for value in (answer.bits if request.is_bits else answer.registers)]
        data_bytes = len(values) // 8 if request.is_bits else 2 * len(values)
        if Shape(answer.function_code, data_bytes) != request.shape:
            unit.timed_out(request, loop.time())
            self._counts.late_frames += 1
            raise _NoAnswer("an answer to another request came and was rejected")
        unit.answered()
        return values


def _frame_pause_s(baud: int) -> float:
    """The silence between frames: 3.5 characters of 11 bits, 1.75 ms above 19,200 baud (Serial Line V1.02, 2.5.1.1)."""
    return 3.5 * 11 / baud if baud <= 19_200 else 0.001_75


def _drop_undecodable(framer: Any, counts: PortCounts, waits: Callable[[], bool]) -> None:
    """Make the framer skip a frame whose checksum is right but whose content is not, and count what it drops.

    pymodbus raises such frames into the event loop, or cuts an odd number of bytes down to whole registers; what it
    understood must be, byte for byte, in what came.
    """
    from pymodbus.exceptions import ModbusException

    handle = framer.handleFrame

    def handle_strictly(data: bytes, unit: int, transaction: int) -> tuple[int, Any]:
        try:
            used, pdu = handle(data, unit, transaction)
        except ModbusException:
            counts.frame_errors += 1
            return len(data), None
        if pdu is None and used:  # a frame of another unit or request, or none at all
            if framer.decode(data)[3]:
                counts.late_frames += 1
            else:
                counts.frame_errors += 1
        elif pdu is not None and bytes([pdu.function_code]) + pdu.encode() not in data:
            counts.frame_errors += 1
            return used, None
        elif pdu is not None and not waits():
            counts.late_frames += 1
        return used, pdu

    framer.handleFrame = handle_strictly
