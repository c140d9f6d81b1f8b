"""Every tree to 40 entries against a direct transcription of RFC 6962's recursive definitions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise

import pytest

from policies.merkle import (
    EMPTY_ROOT,
    ProofInvalid,
    build_tree,
    consistency_ranges,
    cover,
    fold,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)
from policies.merkle import root_of as stored_root_of

SIZES = range(1, 41)
LEAVES = [leaf_hash(b"entry %d" % i) for i in range(40)]


@cache
def root_of(low: int, high: int) -> bytes:
    """MTH of RFC 6962, section 2.1."""
    if high - low == 1:
        return LEAVES[low]
    split = max(2**k for k in range(6) if 2**k < high - low)
    return node_hash(root_of(low, low + split), root_of(low + split, high))


def path_of(index: int, size: int) -> list[bytes]:
    return [root_of(low, high) for low, high in inclusion_ranges(index, size)]


def extension_of(old: int, new: int) -> list[bytes]:
    return [root_of(low, high) for low, high in consistency_ranges(old, new)]


def shape_of(index: int, size: int) -> list[bool]:
    """On which side each step of the inclusion path stands."""
    return [low > index for low, _ in inclusion_ranges(index, size)]


def flipped(path: Sequence[bytes]) -> Iterator[list[bytes]]:
    """The path with one byte of one hash changed, then cut, extended and reordered."""
    for at, value in enumerate(path):
        broken = bytearray(value)
        broken[at % 32] ^= 1 << at % 8
        yield [*path[:at], bytes(broken), *path[at + 1 :]]
        yield [*path[:at], *path[at + 1 :]]
    yield [*path, LEAVES[0]]
    yield [*path, b""]
    if len(path) > 1:
        yield list(reversed(path))


def test_hashes_are_domain_separated() -> None:
    assert hashlib.sha256(b"").digest() == EMPTY_ROOT
    assert leaf_hash(b"") == hashlib.sha256(b"\x00").digest()
    assert leaf_hash(b"\x01" + b"a" * 64) != node_hash(b"a" * 32, b"a" * 32)
    assert (
        node_hash(b"a" * 32, b"b" * 32) == hashlib.sha256(b"\x01" + b"a" * 32 + b"b" * 32).digest()
    )


@pytest.mark.parametrize("size", SIZES)
def test_the_full_subtrees_fold_to_the_root(size: int) -> None:
    nodes = cover(0, size)
    assert fold([root_of(i << level, (i + 1) << level) for level, i in nodes]) == root_of(0, size)
    levels = [level for level, _ in nodes]
    assert all(a > b for a, b in pairwise(levels))
    assert cover(size, size) == []


@pytest.mark.parametrize("size", range(41))
def test_the_tree_of_all_full_subtrees(size: int) -> None:
    tree = build_tree(LEAVES[:size])
    assert sum(len(row) for row in tree) == sum(size >> level for level in range(7))
    for high in range(size + 1):
        assert stored_root_of(tree, 0, high) == (root_of(0, high) if high else EMPTY_ROOT)
    for index in range(size):
        path = [stored_root_of(tree, low, high) for low, high in inclusion_ranges(index, size)]
        assert path == path_of(index, size)
    with pytest.raises(ProofInvalid, match="shorter"):
        stored_root_of(tree, 0, size + 1)


@pytest.mark.parametrize("size", SIZES)
def test_every_entry_is_proved_and_nothing_else(size: int) -> None:
    root = root_of(0, size)
    for index in range(size):
        path = path_of(index, size)
        verify_inclusion(LEAVES[index], index=index, size=size, path=path, root=root)
        for other in range(-1, size + 2):
            if other != index:
                with pytest.raises(ProofInvalid):
                    verify_inclusion(LEAVES[index], index=other, size=size, path=path, root=root)
        for broken in flipped(path):
            with pytest.raises(ProofInvalid):
                verify_inclusion(LEAVES[index], index=index, size=size, path=broken, root=root)
        for leaf, other_root in (
            (leaf_hash(b"forged"), root),
            (LEAVES[index], leaf_hash(b"forged")),
            (LEAVES[index], root[:-1]),
        ):
            with pytest.raises(ProofInvalid):
                verify_inclusion(leaf, index=index, size=size, path=path, root=other_root)


@pytest.mark.parametrize("size", SIZES)
def test_a_path_serves_another_size_only_where_its_shape_is_the_same(size: int) -> None:
    # The size is bound by the signed checkpoint; the path alone binds no more than its shape.
    for index in range(size):
        path, root = path_of(index, size), root_of(0, size)
        for other in range(0, 41):
            if index < other and shape_of(index, other) == shape_of(index, size):
                continue
            with pytest.raises(ProofInvalid):
                verify_inclusion(LEAVES[index], index=index, size=other, path=path, root=root)


def test_the_classic_forgery_index_1_of_a_log_of_1() -> None:
    with pytest.raises(ProofInvalid, match="cannot be"):
        verify_inclusion(LEAVES[0], index=1, size=1, path=[], root=LEAVES[0])


@pytest.mark.parametrize("new", SIZES)
def test_every_extension_is_proved_and_no_rewriting(new: int) -> None:
    new_root = root_of(0, new)
    for old in range(1, new + 1):
        old_root, path = root_of(0, old), extension_of(old, new)
        verify_consistency(old=old, new=new, old_root=old_root, new_root=new_root, path=path)
        for broken in flipped(path):
            with pytest.raises(ProofInvalid):
                verify_consistency(
                    old=old, new=new, old_root=old_root, new_root=new_root, path=broken
                )
        forged = leaf_hash(b"forged")
        for first, second in ((forged, new_root), (old_root, forged), (forged, forged)):
            if (first, second) == (forged, forged) and old == new:
                continue  # two equal trees of one size: the signature decides, not the proof
            with pytest.raises(ProofInvalid):
                verify_consistency(old=old, new=new, old_root=first, new_root=second, path=path)


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 1), (-1, 3), (4, 3)])
def test_sizes_that_cannot_extend(old: int, new: int) -> None:
    with pytest.raises(ProofInvalid):
        consistency_ranges(old, new)
    with pytest.raises(ProofInvalid) as caught:
        verify_consistency(old=old, new=new, old_root=LEAVES[0], new_root=LEAVES[0], path=[])
    assert caught.value.code == "PROOF-INVALID"


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_entries_that_cannot_be(index: int, size: int) -> None:
    with pytest.raises(ProofInvalid):
        inclusion_ranges(index, size)


def test_an_empty_proof_is_not_a_proof() -> None:
    with pytest.raises(ProofInvalid, match="empty"):
        verify_consistency(old=3, new=5, old_root=root_of(0, 3), new_root=root_of(0, 5), path=[])


def test_a_path_of_the_wrong_length_is_refused_even_if_its_hashes_fit() -> None:
    leaf, extra = LEAVES[0], LEAVES[1]
    with pytest.raises(ProofInvalid):
        verify_inclusion(leaf, index=0, size=2, path=[], root=leaf)
    with pytest.raises(ProofInvalid, match="too long"):
        verify_inclusion(leaf, index=0, size=1, path=[extra], root=node_hash(extra, leaf))
    with pytest.raises(ProofInvalid):
        verify_consistency(old=1, new=2, old_root=leaf, new_root=leaf, path=[])
    with pytest.raises(ProofInvalid, match="too long"):
        verify_consistency(
            old=3,
            new=5,
            old_root=node_hash(extra, root_of(0, 3)),
            new_root=node_hash(extra, root_of(0, 5)),
            path=[*extension_of(3, 5), extra],
        )
