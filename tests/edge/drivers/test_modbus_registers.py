"""Registers: planning of requests, orders of bytes and words, bit fields; a table of published encodings."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.config_ports import RegisterBlocks
from edge.config_sensors import ModbusSensor
from edge.drivers.modbus_registers import decode_registers, plan_blocks


def sensor(**options: Any) -> ModbusSensor:
    values = {"type": "modbus", "id": "s", "name": "s", "port": "p", "unit": 1, "register": 0}
    return ModbusSensor.model_validate(values | options)


# 123456.78 as IEEE 754 single is 0x47F12064; A is the highest byte
@pytest.mark.parametrize(
    ("word_order", "byte_order", "registers"),
    [
        ("big", "big", [0x47F1, 0x2064]),  # ABCD
        ("little", "big", [0x2064, 0x47F1]),  # CDAB
        ("big", "little", [0xF147, 0x6420]),  # BADC
        ("little", "little", [0x6420, 0xF147]),  # DCBA
    ],
)
def test_all_four_orders_of_a_float_give_the_same_value(word_order: str, byte_order: str, registers: list[int]) -> None:
    item = sensor(data_type="float32", word_order=word_order, byte_order=byte_order)
    assert decode_registers(registers, item) == pytest.approx(123456.78, rel=1e-7)


@pytest.mark.parametrize(
    ("data_type", "registers", "value"),
    [
        ("int16", [0xFFFF], -1),
        ("int16", [0x8000], -32768),
        ("uint16", [0xFFFF], 65535),
        ("int32", [0xFFFF, 0xFFFE], -2),
        ("uint32", [0xFFFF, 0xFFFF], 4294967295),
        ("float32", [0xC1C8, 0x0000], -25.0),
    ],
)
def test_data_types_cover_their_whole_range(data_type: str, registers: list[int], value: float) -> None:
    assert decode_registers(registers, sensor(data_type=data_type)) == value
    assert decode_registers(registers, sensor(data_type=data_type, scale=0.5)) == value / 2


def test_not_a_number_passes_through_to_be_judged() -> None:
    assert math.isnan(decode_registers([0x7FC0, 0x0000], sensor(data_type="float32")))


@pytest.mark.parametrize(
    ("first_bit", "bit_count", "value"), [(0, 1, 1), (1, 1, 0), (4, 4, 0xB), (15, 1, 1), (0, 16, 0x80B5)]
)
def test_bit_fields_are_cut_from_the_value(first_bit: int, bit_count: int, value: int) -> None:
    item = sensor(data_type="uint16", bits={"first_bit": first_bit, "bit_count": bit_count})
    assert decode_registers([0x80B5], item) == value


@pytest.mark.parametrize(
    "options",
    [
        {"data_type": "int16", "bits": {"first_bit": 0}},
        {"data_type": "uint16", "bits": {"first_bit": 15, "bit_count": 2}},
        {"data_type": "uint32", "register": 65_535},
        {"unit": 0},
        {"unit": 248},
    ],
)
def test_what_no_unit_can_answer_is_refused_in_the_configuration(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        sensor(**options)


def test_unit_255_is_the_device_itself_over_tcp() -> None:
    assert sensor(unit=255).unit == 255


def test_neighbours_are_read_together_up_to_the_gap_limit_and_no_further() -> None:
    addresses = [0, 1, 5, 10, 30]
    sensors = [sensor(id=f"s{address}", register=address) for address in addresses]
    spans = [(block.address, block.count) for block in plan_blocks(sensors, RegisterBlocks(gap_registers_max=4))]
    assert spans == [(0, 11), (30, 1)]
    spans = [(block.address, block.count) for block in plan_blocks(sensors, RegisterBlocks(gap_registers_max=0))]
    assert spans == [(0, 2), (5, 1), (10, 1), (30, 1)]


def test_different_units_tables_and_rhythms_are_never_mixed() -> None:
    sensors = [
        sensor(id="a"),
        sensor(id="b", unit=2, register=1),
        sensor(id="c", table="holding", register=1),
        sensor(id="d", poll_interval_s=60, register=1),
    ]
    assert sorted(len(block.sensors) for block in plan_blocks(sensors, RegisterBlocks())) == [1, 1, 1, 1]


@given(
    places=st.lists(st.tuples(st.integers(0, 400), st.booleans()), min_size=1, max_size=40),
    gap=st.integers(0, 124),
    most=st.integers(2, 125),
)
def test_every_sensor_is_read_once_from_its_own_registers(places: list[tuple[int, bool]], gap: int, most: int) -> None:
    sensors = [
        sensor(id=f"s{number}", register=address, data_type="uint32" if wide else "uint16")
        for number, (address, wide) in enumerate(places)
    ]
    blocks = plan_blocks(sensors, RegisterBlocks(gap_registers_max=gap, block_registers_max=most))
    assert sorted(item.id for block in blocks for item in block.sensors) == sorted(item.id for item in sensors)
    for block in blocks:
        assert block.count <= most
        values = list(range(block.address, block.address + block.count))
        for item in block.sensors:
            assert block.raw(item, values) == list(range(item.register_address, item.register_address + item.width))


@given(
    raw=st.binary(min_size=4, max_size=4),
    data_type=st.sampled_from(["int16", "uint16", "int32", "uint32", "float32"]),
    word_order=st.sampled_from(["big", "little"]),
    byte_order=st.sampled_from(["big", "little"]),
    scale=st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_registers_decode_to_some_float(
    raw: bytes, data_type: str, word_order: str, byte_order: str, scale: float
) -> None:
    item = sensor(data_type=data_type, word_order=word_order, byte_order=byte_order, scale=scale)
    registers = struct.unpack(">2H", raw)[: item.width]
    assert isinstance(decode_registers(registers, item), float)
