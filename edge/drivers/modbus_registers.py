"""What to ask a Modbus unit for and what its registers mean. Pure.

Limits and layouts are those of "MODBUS Application Protocol V1.1b3": at most 125 registers (6.3, 6.4) or 2000 bits
(6.1, 6.2) at once, registers of 16 bits with the high byte first.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from edge.config_ports import RegisterBlocks
from edge.config_sensors import ModbusSensor

Table = Literal["input", "holding", "coil", "discrete"]
BITS_MAX = 2000
FUNCTIONS: dict[Table, int] = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
_FORMATS = {"int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "float32": ">f"}


@dataclass(frozen=True)
class Shape:
    """What tells answers of one unit apart on a serial line, which has no transaction numbers: function and bytes."""

    function: int
    data_bytes: int


@dataclass(frozen=True)
class Request:
    """A read of *count* registers or bits from *address* on."""

    table: Table
    address: int
    count: int

    @property
    def is_bits(self) -> bool:
        return self.table in ("coil", "discrete")

    @property
    def shape(self) -> Shape:
        """The shape of the answer that holds the data."""
        return Shape(FUNCTIONS[self.table], (self.count + 7) // 8 if self.is_bits else 2 * self.count)

    @property
    def refusal(self) -> Shape:
        """The shape of the exception that refuses the request: the function with its highest bit set."""
        return Shape(FUNCTIONS[self.table] | 0x80, 1)


@dataclass(eq=False)
class Block:
    """*count* neighbouring registers (or bits) of one unit that are read with one request, and when next."""

    unit: int
    table: Table
    address: int
    count: int
    poll_interval_s: float
    sensors: list[ModbusSensor] = field(default_factory=list)
    due_s: float = 0.0

    @property
    def request(self) -> Request:
        return Request(self.table, self.address, self.count)

    def probes(self) -> Iterable[Request]:
        """Reads whose answers cannot be mistaken for this block's: shorter ones, then other tables.

        A unit without such a table says so (exception 1 or 2), which is as good an answer.
        """
        step = 8 if self.request.is_bits else 1
        for count in range(self.count - step, 0, -step):
            yield Request(self.table, self.address, count)
        for table in FUNCTIONS:
            if table != self.table:
                yield Request(table, self.address, 1)

    def split(self) -> list[Block]:
        """One block for each sensor, for units that refuse to be read over a gap."""
        return [
            Block(self.unit, self.table, item.register_address, item.width, self.poll_interval_s, [item], self.due_s)
            for item in self.sensors
        ]

    def raw(self, sensor: ModbusSensor, values: Sequence[int]) -> list[int]:
        """The sensor's own part of the block's *values*."""
        start = sensor.register_address - self.address
        return list(values[start : start + sensor.width])


def plan_blocks(sensors: Iterable[ModbusSensor], limits: RegisterBlocks) -> list[Block]:
    """The fewest requests: neighbours of one unit, table and rhythm are read together over gaps up to the limit."""
    blocks: list[Block] = []
    order = sorted(sensors, key=lambda item: (item.unit, item.table, item.poll_interval_s, item.register_address))
    for sensor in order:
        block = blocks[-1] if blocks else None
        if block is None or not _joins(block, sensor, limits):
            block = Block(sensor.unit, sensor.table, sensor.register_address, 0, sensor.poll_interval_s)
            blocks.append(block)
        block.count = max(block.count, sensor.register_address + sensor.width - block.address)
        block.sensors.append(sensor)
    return blocks


def _joins(block: Block, sensor: ModbusSensor, limits: RegisterBlocks) -> bool:
    same = (block.unit, block.table, block.poll_interval_s) == (sensor.unit, sensor.table, sensor.poll_interval_s)
    gap = sensor.register_address - (block.address + block.count)
    most = BITS_MAX if block.request.is_bits else limits.block_registers_max
    return same and gap <= limits.gap_registers_max and sensor.register_address + sensor.width - block.address <= most


def decode_registers(registers: Sequence[int], sensor: ModbusSensor) -> float:
    """The engineering value of 1 or 2 registers (each 0–65535), before calibration; may be NaN or infinite."""
    words = [register.to_bytes(2, sensor.byte_order) for register in registers]
    if sensor.word_order == "little":
        words.reverse()
    value = struct.unpack(_FORMATS[sensor.data_type], b"".join(words))[0]
    if sensor.bits is not None:
        value = value >> sensor.bits.first_bit & (1 << sensor.bits.bit_count) - 1
    return float(value) * sensor.scale
