"""The batch frame: exact, signed, bounded."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.batch import FIRST_PREVIOUS, BatchError, BatchHeader, open_batch, seal_batch, split_batches
from telemetry.messages import Reading
from telemetry.signing import Signer

SIGNER = Signer.generate()
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def header(count: int = 1, seq: int = 1) -> BatchHeader:
    return BatchHeader(
        box_id="box-1", epoch="e1", lane="readings", seq=seq, previous_sha256=FIRST_PREVIOUS, created_at=AT,
        count=count, boot_id="boot",
    )  # fmt: skip


def reading(value: float = 3.5) -> Reading:
    return Reading(sensor_id="cold-1", quantity="temperature", value=value, unit="°C", observed_at=AT)


FRAME = seal_batch(header(), [reading()], SIGNER)


def test_sealed_batch_opens_with_the_same_records() -> None:
    batch = open_batch(FRAME, lambda _: SIGNER.public_key)
    assert batch.records == [(0, reading())]
    assert batch.rejected == []
    assert seal_batch(header(), [reading()], SIGNER) == FRAME


@given(st.integers(0, len(FRAME) - 1), st.integers(1, 255))
def test_any_changed_byte_is_refused(position: int, change: int) -> None:
    altered = bytearray(FRAME)
    altered[position] ^= change
    with pytest.raises(BatchError):
        open_batch(bytes(altered), lambda _: SIGNER.public_key)


@given(st.binary(max_size=400))
@settings(max_examples=300)
def test_arbitrary_bytes_are_refused_and_never_crash(data: bytes) -> None:
    for body in (data, b"BLB1" + data, FRAME[:12] + data):
        with pytest.raises(BatchError):
            [open_batch(frame, lambda _: SIGNER.public_key) for frame in split_batches(body)]


def test_frames_in_one_body_are_cut_apart() -> None:
    second = seal_batch(header(seq=2), [reading(4)], SIGNER)
    assert split_batches(FRAME + second) == [FRAME, second]
    with pytest.raises(BatchError, match="cut short"):
        split_batches(FRAME + second[:-1])


def test_unknown_box_and_foreign_key_are_told_apart() -> None:
    with pytest.raises(BatchError) as unknown:
        open_batch(FRAME, lambda _: None)
    with pytest.raises(BatchError) as foreign:
        open_batch(FRAME, lambda _: Signer.generate().public_key)
    assert (unknown.value.code, foreign.value.code) == ("unknown_box", "signature")


def signed_with_payload(payload: bytes) -> bytes:
    head = header().model_dump_json().encode()
    body = b"BLB1" + struct.pack(">II", len(head), len(payload)) + head + payload
    return body + SIGNER.sign(body)


def test_a_decompression_bomb_is_refused_within_bounds() -> None:
    bomb = zstandard.ZstdCompressor(level=3).compress(b" " * (40 * 1024 * 1024))
    with pytest.raises(BatchError) as refused:
        open_batch(signed_with_payload(bomb), lambda _: SIGNER.public_key)
    assert refused.value.code == "too_large"


def test_one_poisonous_record_is_named_and_the_batch_stays() -> None:
    payload = zstandard.ZstdCompressor().compress(b'[{"sensor_id": 7}]')
    batch = open_batch(signed_with_payload(payload), lambda _: SIGNER.public_key)
    assert batch.records == []
    assert [record.index for record in batch.rejected] == [0]


def test_a_reading_without_a_finite_value_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="quality 'bad'"):
        reading(float("nan"))
