"""Every reader of bytes from outside, with chance, with damaged true messages, and with the worst that fits: no crash,
no hang, no more memory than its limits say."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import SEEDS, TARGETS

QUICK = settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
LONG = settings(QUICK, max_examples=20_000)
MESSAGE_BYTES = 256 * 1024  # what a broker or a request may bring at once
READ_BYTES = 4096  # what a line or the kernel gives at once
BIG_S_MAX = 10.0
BIG_MEMORY_BYTES_MAX = 48 * 1024 * 1024
PATTERNS = (
    b"[",
    b'{"a":',
    b'"\\u',
    b"1",
    b"9e9",
    b",",
    b"\x00",
    b"\xff",
    b"\x02",
    b"\x12\x00",
    b"\x0a\x7f",
    b"\n",
    b"{}",
)


def damaged(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """One of *seeds* with some bytes changed, cut, doubled or put in."""

    def change(drawn: tuple[bytes, list[tuple[int, int, bytes]]]) -> bytes:
        data = bytearray(drawn[0])
        for place, length, new in drawn[1]:
            start = place % (len(data) + 1)
            data[start : start + length] = new
        return bytes(data)

    edits = st.tuples(st.integers(0, 200), st.integers(0, 4), st.binary(max_size=6))
    return st.tuples(st.sampled_from(seeds), st.lists(edits, max_size=6)).map(change)


def examples_of(name: str) -> st.SearchStrategy[bytes]:
    return st.binary(max_size=400) | damaged(SEEDS[name])


@pytest.mark.parametrize("name", TARGETS)
@QUICK
@given(data=st.data())
def test_any_bytes_are_read_or_refused(name: str, data: st.DataObject) -> None:
    TARGETS[name](data.draw(examples_of(name)))


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
@LONG
@given(data=st.data())
def test_any_bytes_are_read_or_refused_for_long(name: str, data: st.DataObject) -> None:
    TARGETS[name](data.draw(examples_of(name)))


@pytest.mark.parametrize("name", TARGETS)
def test_every_reader_has_a_true_message_to_begin_from_and_reads_it(name: str) -> None:
    for seed in SEEDS[name]:
        TARGETS[name](seed)
    assert set(SEEDS) == set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_the_worst_that_fits_is_refused_in_bounded_time_and_memory(name: str) -> None:
    size = MESSAGE_BYTES if name.startswith("mqtt") or name in ("batches", "evidence") else READ_BYTES
    for pattern in PATTERNS:
        data = (SEEDS[name][0][:1] + pattern * (size // len(pattern)))[:size]
        started_s = time.process_time()
        TARGETS[name](data)
        assert time.process_time() - started_s < BIG_S_MAX, pattern
    tracemalloc.start()
    try:
        TARGETS[name](SEEDS[name][0][:1] + b'{"a":[' * (size // 6))
        TARGETS[name](SEEDS[name][0][:1] + b"\x12\x00" * (size // 2))
        assert tracemalloc.get_traced_memory()[1] < BIG_MEMORY_BYTES_MAX
    finally:
        tracemalloc.stop()
