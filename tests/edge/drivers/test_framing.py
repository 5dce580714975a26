"""Frames from a stream: every checksum, noise before, after and inside, and bounds on memory."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config_ports import LineFormat
from edge.drivers.framing import Frame, FrameReader, checksum
from firmware_sim import line_device


def reader(**options: Any) -> FrameReader:
    return FrameReader(LineFormat.model_validate(options))


def test_the_checksums_have_their_published_check_values() -> None:
    assert checksum("crc16", b"123456789") == b"\x37\x4b"  # CRC-16/MODBUS: 0x4B37
    assert checksum("sum8", b"123456789") == b"\xdd"
    assert checksum("xor", b"123456789") == b"\x31"


@pytest.mark.parametrize("check", ["none", "xor", "sum8", "crc16"])
@pytest.mark.parametrize("as_hex", [True, False])
def test_stx_frames_are_found_between_noise(check: str, as_hex: bool) -> None:
    frames = reader(framing="stx_etx", checksum=check, checksum_encoding="hex" if as_hex else "raw")
    stream = b"3.1\x03\xff" + line_device.stx_frame(b"P1 -18.5", check, as_hex=as_hex) + b"\x00\x03\r\n"
    stream += b"\x02half a fr" + line_device.stx_frame(b"P2 3.0", check, as_hex=as_hex)
    for size in (1, 3, 1000):
        found = [frame for start in range(0, len(stream), size) for frame in frames.feed(stream[start : start + size])]
        assert found == [Frame(b"P1 -18.5"), Frame(b"P2 3.0")]


def test_lines_with_every_kind_of_end_and_an_nmea_checksum() -> None:
    assert list(reader().feed(b"a\nb\r\n\r\nc\r")) == [Frame(b"a"), Frame(b"b"), Frame(b"c")]
    frames = reader(checksum="xor")
    assert list(frames.feed(line_device.nmea_line(b"T,3.5"))) == [Frame(b"T,3.5")]
    assert [frame.damaged for frame in frames.feed(b"$T,3.6*00\nx\n")] == [
        "wrong checksum",
        "too short for its checksum",
    ]


def test_a_frame_that_never_ends_is_told_once_and_takes_no_memory() -> None:
    frames = reader(frame_bytes_max=64)
    found = list(frames.feed(b"x" * 1_000_000)) + list(frames.feed(b"\n1.5\n"))
    assert found == [Frame(b"", "longer than 64 bytes"), Frame(b"1.5")]
    assert len(frames._buffer) <= 64
    frames = reader(framing="stx_etx", frame_bytes_max=64)
    found = list(frames.feed(b"\x02" + b"x" * 1_000_000)) + list(frames.feed(b"\x021.5\x03"))
    assert found == [Frame(b"", "longer than 64 bytes"), Frame(b"1.5")]


@given(
    noise=st.lists(st.binary(max_size=40), max_size=6),
    content=st.binary(min_size=1, max_size=20).filter(lambda item: not set(item) & {2, 3}),
    check=st.sampled_from(["none", "xor", "sum8", "crc16"]),
    as_hex=st.booleans(),
)
def test_after_any_noise_a_frame_that_follows_a_pause_of_marks_is_found(
    noise: list[bytes], content: bytes, check: str, as_hex: bool
) -> None:
    frames = reader(framing="stx_etx", checksum=check, checksum_encoding="hex" if as_hex else "raw")
    for part in noise:
        list(frames.feed(part))
    list(frames.feed(b"\x03" * 5))  # ends whatever the noise began
    assert list(frames.feed(line_device.stx_frame(content, check, as_hex=as_hex)))[-1] == Frame(content)


@given(data=st.data(), check=st.sampled_from(["xor", "sum8", "crc16"]))
def test_one_flipped_bit_never_passes_a_checksum(data: st.DataObject, check: str) -> None:
    stream = bytearray(line_device.stx_frame(b"P1 -18.5", check))
    place = data.draw(st.integers(1, len(stream) - 1))
    stream[place] ^= 1 << data.draw(st.integers(0, 7))
    frames = reader(framing="stx_etx", checksum=check, checksum_encoding="raw")
    for frame in frames.feed(bytes(stream)):
        assert frame.damaged is not None


@given(
    st.binary(max_size=500),
    st.sampled_from(["line", "stx_etx"]),
    st.sampled_from(["none", "xor", "sum8", "crc16"]),
)
def test_any_bytes_give_frames_and_never_an_error(stream: bytes, framing: str, check: str) -> None:
    frames = reader(framing=framing, checksum=check, frame_bytes_max=16)
    for frame in frames.feed(stream):
        assert len(frame.content) <= 16
