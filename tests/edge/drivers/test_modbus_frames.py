"""Whatever bytes a line carries, the framer gives a whole answer of the asked unit or nothing, and never raises."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU

from edge.drivers.modbus import _drop_undecodable
from edge.drivers.port_counts import PortCounts
from firmware_sim.modbus_slave import crc16


def rtu(counts: PortCounts | None = None, *, waits: bool = True) -> FramerRTU:
    framer = FramerRTU(DecodePDU(False))
    _drop_undecodable(framer, counts or PortCounts(), lambda: waits)
    return framer


def tcp() -> FramerSocket:
    framer = FramerSocket(DecodePDU(False))
    _drop_undecodable(framer, PortCounts(), lambda: True)
    return framer


def sealed(body: bytes) -> bytes:
    return body + crc16(body)


BODIES = st.binary(max_size=60) | st.tuples(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=30)).map(
    lambda parts: sealed(bytes(parts[:2]) + bytes([len(parts[2])]) + parts[2])
)


@given(st.lists(BODIES, max_size=3).map(b"".join), st.integers(1, 247))
def test_any_bytes_on_a_serial_line_are_an_answer_of_the_unit_or_nothing(data: bytes, unit: int) -> None:
    used, answer = rtu().handleFrame(data, unit, 0)
    assert 0 <= used <= len(data)
    if answer is not None:
        assert answer.dev_id == unit
        frame = bytes([unit, answer.function_code]) + answer.encode()
        assert sealed(frame) in data


@given(
    st.binary(max_size=60)
    | st.tuples(st.integers(0, 3), st.integers(0, 255), st.integers(0, 255), st.binary(max_size=30)).map(
        lambda item: struct.pack(">HHHBB", item[0], 0, len(item[3]) + 2, item[1], item[2]) + item[3]
    )
)
def test_any_bytes_over_tcp_are_the_answer_of_the_transaction_or_nothing(data: bytes) -> None:
    used, answer = tcp().handleFrame(data, 1, 2)
    assert 0 <= used <= len(data) + 1
    if answer is not None:
        assert (answer.dev_id, answer.transaction_id) in ((1, 2), (1, 0))


@pytest.mark.parametrize(
    ("answer", "registers"), [(b"\x04\x04\x00\x01\x00\x02", [1, 2]), (b"\x04\x02\xff\xdc", [0xFFDC])]
)
def test_a_whole_answer_is_taken(answer: bytes, registers: list[int]) -> None:
    _, found = rtu().handleFrame(sealed(b"\x01" + answer), 1, 0)
    assert found is not None
    assert list(found.registers) == registers


WHOLE = sealed(b"\x01\x04\x02\x00\x20")


@pytest.mark.parametrize(
    ("data", "unit", "waits", "frame_errors", "late_frames"),
    [
        (WHOLE, 1, True, 0, 0),
        (WHOLE[:-1] + bytes([WHOLE[-1] ^ 1]), 1, True, 1, 0),
        (sealed(b"\x01\x04\x03\x00\x20\x00"), 1, True, 1, 0),
        (WHOLE, 2, True, 0, 1),
        (WHOLE, 1, False, 0, 1),
        (WHOLE[:4], 1, True, 0, 0),
    ],
    ids=["whole", "wrong checksum", "odd bytes", "another unit's", "nobody asked", "not yet whole"],
)
def test_what_is_dropped_is_counted_by_its_cause(
    data: bytes, unit: int, waits: bool, frame_errors: int, late_frames: int
) -> None:
    counts = PortCounts()
    rtu(counts, waits=waits).handleFrame(data, unit, 0)
    assert (counts.frame_errors, counts.late_frames) == (frame_errors, late_frames)
