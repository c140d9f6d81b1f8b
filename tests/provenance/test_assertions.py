"""Labels and values of a hostile manifest are read with care."""

from __future__ import annotations

import pytest

from provenance.assertions import bare_label, decode_base64


@pytest.mark.parametrize(
    ("label", "bare"),
    [
        ("c2pa.actions.v2", "c2pa.actions"),
        ("c2pa.actions.v2__3", "c2pa.actions"),
        ("org.facewarrant.warrant__1", "org.facewarrant.warrant"),
        ("org.vendor.vx", "org.vendor.vx"),
        (".v2", ".v2"),
        ("", ""),
        (None, ""),
    ],
)
def test_bare_label(label: object, bare: str) -> None:
    assert bare_label(label) == bare


@pytest.mark.parametrize("value", [None, 3, "", "é", "A", "AA=A", "AAEC AwQF", [0, 1]])
def test_only_base64_text_is_decoded(value: object) -> None:
    assert decode_base64(value) is None
