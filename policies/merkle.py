"""Hashes and proofs of an append-only Merkle tree: RFC 6962 section 2.1, RFC 9162 section 2.1.

Pure functions. Verification raises; it never answers with a boolean.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from policies.errors import Error

EMPTY_ROOT = hashlib.sha256(b"").digest()


class ProofInvalid(Error):
    """An inclusion or consistency proof does not lead to the root it should."""

    code = "PROOF-INVALID"


def leaf_hash(data: bytes) -> bytes:
    """Return SHA-256(0x00 | data), 32 bytes."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 | left | right), 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """Return the root over full subtrees given left to right, largest first."""
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


def cover(low: int, high: int) -> list[tuple[int, int]]:
    """Return (level, index) of the full subtrees that make up leaves [low, high), left to right."""
    found = []
    while low < high:
        level = (high - low).bit_length() - 1
        found.append((level, low >> level))
        low += 1 << level
    return found


def build_tree(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """Return every full subtree over the leaf hashes: one list a level, the leaves first."""
    levels, row = [], list(leaves)
    while row:
        levels.append(row)
        row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)]
    return levels


def root_of(tree: Sequence[Sequence[bytes]], low: int, high: int) -> bytes:
    """Return the root over leaves [low, high) of a tree made by `build_tree`; `low` is aligned.

    Raises ProofInvalid where the tree is shorter than `high`.
    """
    if high == low:
        return EMPTY_ROOT
    if not tree or high > len(tree[0]):
        raise ProofInvalid(f"the log is shorter than {high} entries")
    return fold([tree[level][index] for level, index in cover(low, high)])


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """Return the leaf ranges whose roots prove that leaf `index` is in a tree of `size`.

    Raises ProofInvalid where there is no such leaf.
    """
    if not 0 <= index < size:
        raise ProofInvalid(f"entry {index} cannot be in a log of {size}")
    ranges, low, high = [], 0, size
    while high - low > 1:
        split = low + _largest_power_below(high - low)
        if index < split:
            ranges.append((split, high))
            high = split
        else:
            ranges.append((low, split))
            low = split
    return ranges[::-1]


def consistency_ranges(old: int, new: int) -> list[tuple[int, int]]:
    """Return the leaf ranges whose roots prove that a tree of `new` extends one of `old`.

    Raises ProofInvalid where there is no such proof.
    """
    if not 0 < old <= new:
        raise ProofInvalid(f"a log of {new} cannot extend one of {old}")
    ranges: list[tuple[int, int]] = []
    low, high, whole = 0, new, True
    while old != high:
        split = low + _largest_power_below(high - low)
        if old <= split:
            ranges.append((split, high))
            high = split
        else:
            ranges.append((low, split))
            low, whole = split, False
    if not whole:
        ranges.append((low, high))
    return ranges[::-1]


def verify_inclusion(
    leaf: bytes, *, index: int, size: int, path: Sequence[bytes], root: bytes
) -> None:
    """Return if `leaf` (its hash) is entry `index` of the tree of `size` with `root`.

    RFC 9162, section 2.1.3.2. Raises ProofInvalid. The bound on `index` matters: without it
    index 1 of a one-entry tree verifies with an empty path.
    """
    if not 0 <= index < size:
        raise ProofInvalid(f"entry {index} cannot be in a log of {size}")
    fn, sn, result = index, size - 1, leaf
    for sibling in path:
        if sn == 0:
            raise ProofInvalid("the inclusion proof is too long")
        if fn & 1 or fn == sn:
            result = node_hash(sibling, result)
            fn, sn = _skip_right_edge(fn, sn)
        else:
            result = node_hash(result, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or result != root:
        raise ProofInvalid("the inclusion proof does not lead to the signed root")


def verify_consistency(
    *, old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]
) -> None:
    """Return if the tree of `new` entries only appended to the tree of `old` entries.

    RFC 9162, section 2.1.4.2. Raises ProofInvalid.
    """
    if not 0 < old <= new:
        raise ProofInvalid(f"a log of {new} cannot extend one of {old}")
    if old == new:
        if path or old_root != new_root:
            raise ProofInvalid("two logs of the same size differ")
        return
    steps = [old_root, *path] if old & (old - 1) == 0 else list(path)
    if not steps:
        raise ProofInvalid("the consistency proof is empty")
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = steps[0]
    for step in steps[1:]:
        if sn == 0:
            raise ProofInvalid("the consistency proof is too long")
        if fn & 1 or fn == sn:
            first, second = node_hash(step, first), node_hash(step, second)
            fn, sn = _skip_right_edge(fn, sn)
        else:
            second = node_hash(second, step)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or first != old_root or second != new_root:
        raise ProofInvalid(
            "the log was rewritten: its history does not lead to the kept checkpoint"
        )


def _skip_right_edge(fn: int, sn: int) -> tuple[int, int]:
    while fn and not fn & 1:
        fn, sn = fn >> 1, sn >> 1
    return fn, sn


def _largest_power_below(size: int) -> int:
    return 1 << ((size - 1).bit_length() - 1)
