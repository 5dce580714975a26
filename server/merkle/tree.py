"""Merkle trees as in RFC 9162, section 2.1: hashes, proofs and their checks. Pure; nodes come from the caller.

A leaf is SHA-256(0x00 ‖ data), a node SHA-256(0x01 ‖ left ‖ right). The tree of n leaves splits at the largest power of
two below n, so each full subtree of 2^level leaves is a node ``(level, position)`` that never changes again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
Node = tuple[int, int]  # level and position: the leaves from position << level on, 2^level of them
ReadNode = Callable[[Node], bytes]


class ProofWrong(Exception):
    """A proof that does not lead to the root; the message says of what."""


def leaf_hash(data: bytes) -> bytes:
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


@dataclass
class Frontier:
    """What is needed of a tree to add leaves: its full subtrees, largest first. Bounded by 64 hashes."""

    size: int = 0
    hashes: list[bytes] = field(default_factory=list)

    def add(self, leaf: bytes) -> Iterator[tuple[Node, bytes]]:
        """Add a leaf's hash; gives every node that is full by it, the leaf itself first."""
        node, level, position = leaf, 0, self.size
        yield (0, position), node
        while position & 1:
            node, level, position = node_hash(self.hashes.pop(), node), level + 1, position >> 1
            yield (level, position), node
        self.hashes.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The root of the tree as it is now."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node_hash(left, root)
        return root


def full_subtrees(first: int, size: int) -> list[Node]:
    """The full nodes that make up the leaves ``first`` to ``size``, left to right; *first* starts such a subtree."""
    found: list[Node] = []
    while first < size:
        level = (size - first).bit_length() - 1
        found.append((level, first >> level))
        first += 1 << level
    return found


def frontier_at(read: ReadNode, size: int) -> Frontier:
    """The frontier of the first *size* leaves."""
    return Frontier(size, [read(node) for node in full_subtrees(0, size)])


def _subtree(read: ReadNode, first: int, end: int) -> bytes:
    """The hash of the leaves *first* to *end* (not included), where *first* begins a full subtree."""
    return Frontier(end - first, [read(node) for node in full_subtrees(first, end)]).root()


def _split(size: int) -> int:
    return 1 << (size - 1).bit_length() - 1


def inclusion_path(read: ReadNode, index: int, size: int) -> list[bytes]:
    """The proof that leaf *index* is in the tree of *size* leaves (RFC 9162, 2.1.3.1), lowest hash first."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    path: list[bytes] = []
    first, end = 0, size
    while end - first > 1:
        middle = first + _split(end - first)
        if index < middle:
            path.append(_subtree(read, middle, end))
            end = middle
        else:
            path.append(_subtree(read, first, middle))
            first = middle
    return path[::-1]


def consistency_path(read: ReadNode, old: int, new: int) -> list[bytes]:
    """The proof that the tree of *old* leaves is the beginning of that of *new* (RFC 9162, 2.1.4.1)."""
    if not 0 < old <= new:
        raise ValueError(f"no tree of {old} leaves is the beginning of one of {new}")
    path: list[bytes] = []
    first, end, whole = 0, new, True
    while old < end:
        middle = first + _split(end - first)
        if old <= middle:
            path.append(_subtree(read, middle, end))
            end = middle
        else:
            path.append(_subtree(read, first, middle))
            first, whole = middle, False
    if not whole:
        path.append(_subtree(read, first, end))
    return path[::-1]


def check_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Raises ProofWrong unless *path* leads from the leaf's hash to *root* (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        raise ProofWrong(f"a tree of {size} leaves has no leaf {index}")
    place, last, node = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise ProofWrong("the path is too long")
        if place & 1 or place == last:
            node = node_hash(sibling, node)
            while place & 1 == 0 and place != 0:
                place, last = place >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        place, last = place >> 1, last >> 1
    if last != 0 or node != root:
        raise ProofWrong("the path does not lead to the root")


def check_consistency(old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]) -> None:
    """Raises ProofWrong unless *path* proves the old tree to be the beginning of the new one (RFC 9162, 2.1.4.2)."""
    if not 0 < old <= new:
        raise ProofWrong(f"no tree of {old} leaves is the beginning of one of {new}")
    if old == new:
        if path or old_root != new_root:
            raise ProofWrong("trees of one size have one root and an empty path")
        return
    hashes = [*([old_root] if old & (old - 1) == 0 else []), *path]
    if not hashes:
        raise ProofWrong("the path is empty")
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    from_old = from_new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise ProofWrong("the path is too long")
        if place & 1 or place == last:
            from_old, from_new = node_hash(sibling, from_old), node_hash(sibling, from_new)
            while place & 1 == 0 and place != 0:
                place, last = place >> 1, last >> 1
        else:
            from_new = node_hash(from_new, sibling)
        place, last = place >> 1, last >> 1
    if last != 0 or from_old != old_root or from_new != new_root:
        raise ProofWrong("the path does not lead to both roots")
