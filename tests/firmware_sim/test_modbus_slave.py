"""The slaves against byte strings of "Modbus Application Protocol V1.1b3" and the published check value of the CRC."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.modbus_slave import Line, Slave, Table, crc16


def bits(start: int, text: str) -> Table:
    """Bits from *start*, given as octets of the specification's tables: the lowest address in the lowest bit."""
    values = [int(octet, 16) >> place & 1 for octet in text.split() for place in range(8)]
    return {start + offset: (lambda value=value: value) for offset, value in enumerate(values)}


def registers(values: dict[int, int]) -> Table:
    return {address: (lambda value=value: value) for address, value in values.items()}


# The examples of V1.1b3: 6.1 (coils 20-38), 6.2 (inputs 197-218), 6.3 (registers 108-110), 6.4 (register 9).
# Names there count from 1, addresses on the wire from 0.
SPEC = Slave(
    coils=bits(0x13, "CD 6B 05"),
    discrete_inputs=bits(0xC4, "AC DB 35"),
    holding_registers=registers({0x6B: 555, 0x6C: 0, 0x6D: 100}),
    input_registers=registers({0x08: 10}),
)
EXAMPLES = [
    ("01 00 13 00 13", "01 03 CD 6B 05"),
    ("02 00 C4 00 16", "02 03 AC DB 35"),
    ("03 00 6B 00 03", "03 06 02 2B 00 00 00 64"),
    ("04 00 08 00 01", "04 02 00 0A"),
]
REFUSED = [
    ("05 00 AC FF 00", "85 01"),  # write single coil
    ("06 00 01 00 03", "86 01"),  # write single register
    ("10 00 01 00 02 04 00 0A 01 02", "90 01"),  # write multiple registers, 6.12
    ("0F 00 13 00 0A 02 CD 01", "8F 01"),  # write multiple coils, 6.11
    ("07", "87 01"),  # read exception status, known only by the silence after it
    ("01 04 A1 00 01", "81 02"),  # the example of chapter 7: a coil that is not there
    ("03 00 6B 00 04", "83 02"),
    ("03 FF FF 00 02", "83 02"),  # beyond the last address
    ("03 00 6B 00 00", "83 03"),
    ("03 00 6B 00 7E", "83 03"),  # 126 registers, 125 are allowed
    ("01 00 13 07 D1", "81 03"),  # 2001 coils, 2000 are allowed
]


def frame(unit: int, pdu: str) -> bytes:
    body = bytes([unit]) + bytes.fromhex(pdu)
    return body + crc16(body)


def test_crc_has_the_published_check_value() -> None:
    assert crc16(b"123456789") == b"\x37\x4b"  # CRC-16/MODBUS: check 0x4B37, low byte first on the line


@pytest.mark.parametrize(
    ("body", "crc"),
    [("0207", "4112"), ("01030000000A", "C5CD")],
    ids=["MODBUS over Serial Line V1.02, 6.2.2", "ten holding registers of unit 1"],
)
def test_crc_of_known_frames(body: str, crc: str) -> None:
    assert crc16(bytes.fromhex(body)).hex().upper() == crc


@pytest.mark.parametrize(("request_pdu", "answer_pdu"), EXAMPLES + REFUSED)
def test_request_is_answered_as_the_specification_says(request_pdu: str, answer_pdu: str) -> None:
    line = Line({17: SPEC})
    answer = line.feed(frame(17, request_pdu)) + line.silence()
    assert answer.hex(" ").upper() == frame(17, answer_pdu).hex(" ").upper()


def test_unused_bits_of_the_last_octet_are_zero() -> None:
    assert SPEC.answer(1, 0x13, 3) == bytes.fromhex("01 01 05")
    assert SPEC.answer(1, 0x13, 8) == bytes.fromhex("01 01 CD")
    assert SPEC.answer(1, 0x13, 9) == bytes.fromhex("01 02 CD 01")


def test_negative_value_is_sent_in_twos_complement() -> None:
    assert Slave(input_registers={0: lambda: -185}).answer(4, 0, 1) == bytes.fromhex("04 02 FF 47")


@pytest.mark.parametrize(
    "data",
    [
        frame(18, "04 00 08 00 01"),  # another unit
        frame(0, "04 00 08 00 01"),  # a broadcast is never answered
        frame(17, "04 00 08 00 01")[:-1] + b"\x00",  # bad CRC
        frame(17, "04 00 08 00 01")[:-1],
        b"",
    ],
    ids=["other-unit", "broadcast", "bad-crc", "torn", "nothing"],
)
def test_line_stays_silent(data: bytes) -> None:
    line = Line({17: SPEC})
    assert line.feed(data) + line.silence() == b""
    assert line.feed(frame(17, "04 00 08 00 01")) == frame(17, "04 02 00 0A"), "and works on"


def test_two_units_share_a_line() -> None:
    line = Line({1: Slave(input_registers={0: lambda: 1}), 2: Slave(input_registers={0: lambda: 2})})
    answers = line.feed(frame(2, "04 00 00 00 01") + frame(1, "04 00 00 00 01"))
    assert answers == frame(2, "04 02 00 02") + frame(1, "04 02 00 01")


@given(st.binary(max_size=30), st.integers(1, 7))
def test_request_is_found_after_noise_and_silence_and_in_any_pieces(noise: bytes, cut: int) -> None:
    line = Line({17: SPEC})
    line.feed(noise)
    line.silence()
    request = frame(17, "04 00 08 00 01")
    assert line.feed(request[:cut]) + line.feed(request[cut:]) == frame(17, "04 02 00 0A")


@given(st.binary(max_size=300))
def test_noise_never_breaks_the_line(noise: bytes) -> None:
    line = Line({17: SPEC})
    for start in range(0, len(noise), 7):
        line.feed(noise[start : start + 7])
    line.silence()
    assert line.feed(frame(17, "04 00 08 00 01")) == frame(17, "04 02 00 0A")
