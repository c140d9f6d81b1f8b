from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import residue as module
from policies.errors import Malformed, StoreUnavailable
from policies.residue import count_copies, needle

SECRET = bytes(range(40))


def test_the_fingerprint_is_not_the_bytes() -> None:
    found = needle(SECRET)
    assert (found.head, found.size) == ("00010203", 40)
    assert SECRET[:5].hex() not in found.model_dump_json()


@pytest.mark.parametrize("length", [0, 15, (4 << 20) + 1])
def test_what_is_too_short_or_too_long(length: int) -> None:
    with pytest.raises(Malformed):
        needle(bytes(length))


def test_no_needles_or_no_files(tmp_path: Path) -> None:
    assert count_copies([tmp_path / "missing"], [needle(SECRET)]) == 0
    (tmp_path / "file").write_bytes(SECRET)
    assert count_copies([tmp_path / "file"], []) == 0
    assert count_copies([], [needle(SECRET)]) == 0


def test_a_file_that_cannot_be_read_is_no_proof(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        count_copies([tmp_path], [needle(SECRET)])


def test_the_same_beginning_is_no_copy(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(SECRET[:20] + SECRET[:39] + b"x" + SECRET[:39])
    assert count_copies([tmp_path / "file"], [needle(SECRET)]) == 0


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    before=st.binary(max_size=30),
    gaps=st.lists(st.integers(0, 20), max_size=4),
    chunk=st.integers(1, 50),
)
def test_every_copy_is_found_wherever_the_file_is_cut(
    before: bytes, gaps: list[int], chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "haystack"
    data = before + b"".join(SECRET + b"\xff" * gap for gap in gaps)
    path.write_bytes(data)
    sought = [needle(SECRET), needle(SECRET[10:30])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK_BYTES", chunk)
        found = count_copies([path], sought)
    assert found == data.count(SECRET) + data.count(SECRET[10:30])


def test_copies_that_overlap_all_count(tmp_path: Path) -> None:
    (tmp_path / "zeros").write_bytes(bytes(20))
    assert count_copies([tmp_path / "zeros"], [needle(bytes(16))]) == 5
