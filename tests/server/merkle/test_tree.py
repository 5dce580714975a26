"""The tree and its proofs against RFC 9162's own recursive definitions, written down once more, naively."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.merkle.tree import (
    EMPTY_ROOT,
    Frontier,
    Node,
    ProofWrong,
    check_consistency,
    check_inclusion,
    consistency_path,
    frontier_at,
    inclusion_path,
    leaf_hash,
)

SIZES = st.integers(1, 150)
# RFC 6962's reference implementation: the root of its eight test inputs
RFC_INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
RFC_ROOT = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def naive_root(data: list[bytes]) -> bytes:
    """MTH of RFC 9162, 2.1.1."""
    if not data:
        return sha256(b"").digest()
    if len(data) == 1:
        return sha256(b"\x00" + data[0]).digest()
    k = largest_power_below(len(data))
    return sha256(b"\x01" + naive_root(data[:k]) + naive_root(data[k:])).digest()


def largest_power_below(size: int) -> int:
    k = 1
    while k * 2 < size:
        k *= 2
    return k


def naive_path(index: int, data: list[bytes]) -> list[bytes]:
    """PATH of RFC 9162, 2.1.3.1."""
    if len(data) == 1:
        return []
    k = largest_power_below(len(data))
    if index < k:
        return [*naive_path(index, data[:k]), naive_root(data[k:])]
    return [*naive_path(index - k, data[k:]), naive_root(data[:k])]


def naive_proof(old: int, data: list[bytes], whole: bool = True) -> list[bytes]:
    """SUBPROOF of RFC 9162, 2.1.4.1."""
    if old == len(data):
        return [] if whole else [naive_root(data)]
    k = largest_power_below(len(data))
    if old <= k:
        return [*naive_proof(old, data[:k], whole), naive_root(data[k:])]
    return [*naive_proof(old - k, data[k:], False), naive_root(data[:k])]


def leaves(count: int) -> list[bytes]:
    return [b"leaf %d" % index for index in range(count)]


def grown(data: list[bytes]) -> tuple[Frontier, dict[Node, bytes]]:
    frontier, nodes = Frontier(), {}
    for item in data:
        nodes.update(frontier.add(leaf_hash(item)))
    return frontier, nodes


def test_the_root_is_that_of_the_rfc() -> None:
    frontier, _ = grown([bytes.fromhex(text) for text in RFC_INPUTS])
    assert frontier.root().hex() == RFC_ROOT
    assert Frontier().root() == EMPTY_ROOT == naive_root([])


@settings(max_examples=60, deadline=None)
@given(SIZES)
def test_every_size_has_the_root_of_the_definition(size: int) -> None:
    data = leaves(size)
    frontier, nodes = grown(data)
    assert frontier.root() == naive_root(data)
    assert len(nodes) < 2 * size
    assert frontier_at(nodes.__getitem__, size) == frontier


@settings(max_examples=60, deadline=None)
@given(SIZES, st.data())
def test_an_inclusion_proof_is_that_of_the_definition_and_proves_this_leaf_only(size: int, draw: st.DataObject) -> None:
    data = leaves(size)
    index = draw.draw(st.integers(0, size - 1))
    _, nodes = grown(leaves(150))  # a larger tree proves its own beginning
    path, root = inclusion_path(nodes.__getitem__, index, size), naive_root(data)
    assert path == naive_path(index, data)
    check_inclusion(leaf_hash(data[index]), index, size, path, root)
    wrong = [
        (leaf_hash(b"another"), index, path), (leaf_hash(data[index]), index, [*path, root]),
        (leaf_hash(data[index]), index ^ 1, path), (leaf_hash(data[index]), size, path),
        *((leaf_hash(data[index]), index, [*path[:cut], bytes(32), *path[cut + 1 :]]) for cut in range(len(path))),
        *((leaf_hash(data[index]), index, path[:-1]) for _ in path[:1]),
    ]  # fmt: skip
    for leaf, at, told in wrong:
        if at == index or size > 1:
            with pytest.raises(ProofWrong):
                check_inclusion(leaf, at, size, told, root)


@settings(max_examples=80, deadline=None)
@given(SIZES, st.data())
def test_a_consistency_proof_is_that_of_the_definition_and_proves_this_beginning_only(
    new: int, draw: st.DataObject
) -> None:
    data = leaves(new)
    old = draw.draw(st.integers(1, new))
    _, nodes = grown(data)
    path = consistency_path(nodes.__getitem__, old, new)
    assert path == naive_proof(old, data)
    old_root, new_root = naive_root(data[:old]), naive_root(data)
    check_consistency(old, old_root, new, new_root, path)
    forged = naive_root([b"another", *data[1:old]])
    with pytest.raises(ProofWrong):
        check_consistency(old, forged, new, new_root, path)
    with pytest.raises(ProofWrong):
        check_consistency(old, old_root, new, naive_root([*data, b"more"]), path)
    with pytest.raises(ProofWrong):
        check_consistency(old, old_root, new, new_root, [*path, new_root])


def test_proofs_of_what_is_not_there_are_refused() -> None:
    _, nodes = grown(leaves(3))
    for index in (-1, 3):
        with pytest.raises(ValueError, match="has no leaf"):
            inclusion_path(nodes.__getitem__, index, 3)
    for old in (0, 4):
        with pytest.raises(ValueError, match="is the beginning"):
            consistency_path(nodes.__getitem__, old, 3)
