"""Identity vectors as bytes, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.errors import ShapeError
from generator.templates import pack_template, unpack_template


@settings(derandomize=True, max_examples=50)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=200))
def test_templates_survive_their_bytes(values: Sequence[float]) -> None:
    template = np.array(values, np.float32)
    data = pack_template(template)
    assert len(data) == 4 * len(values)
    assert np.array_equal(unpack_template(data), template)


def test_template_bytes_are_little_endian() -> None:
    assert pack_template(np.array([1.0], np.float32)) == b"\x00\x00\x80\x3f"


@pytest.mark.parametrize("data", [b"", b"abc", b"\x00" * 5, np.float32(np.nan).tobytes()])
def test_other_bytes_are_no_template(data: bytes) -> None:
    with pytest.raises(ShapeError) as caught:
        unpack_template(data)
    assert caught.value.code == "SHAPE-ERROR"


@pytest.mark.parametrize(
    "template",
    [
        np.zeros((2, 2), np.float32),
        np.zeros(4, np.float64),
        np.zeros(0, np.float32),
        [1.0],
        np.array([np.inf], np.float32),
    ],
    ids=["matrix", "double", "empty", "list", "infinite"],
)
def test_other_arrays_are_not_packed(template: Any) -> None:
    with pytest.raises(ShapeError) as caught:
        pack_template(template)
    assert caught.value.code == "SHAPE-ERROR"
