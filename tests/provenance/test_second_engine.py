"""The second engine: asked with the same roots, never believed over ours, never hushed up."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from provenance.chains import TrustAnchors
from provenance.errors import Tampered
from provenance.reading import ManifestReading
from provenance.second_engine import (
    EngineMissing,
    SecondEngine,
    SecondReading,
    compare,
    open_second_engine,
)
from provenance.trust import NO_LISTS, TrustLists, read_list
from provenance.verify import Verifier

MIMES = ("image/jpeg", "image/png", "image/webp")


def engine_that_says(answer: Any) -> tuple[SecondEngine, dict[str, Any]]:
    """An engine with one answer, and what it was asked."""
    asked: dict[str, Any] = {}

    def verify(data: bytes, **options: Any) -> Mapping[str, Any]:
        asked.update(options, data=data)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    return SecondEngine(verify), asked


@pytest.mark.parametrize("mime", MIMES)
def test_both_engines_agree_on_a_release(gallery: Any, other_pki: Any, mime: str) -> None:
    walls, released = gallery
    engine, data = open_second_engine(), released[mime].data
    trusted = engine.read(data, mime, anchors=walls.press.anchors, lists=NO_LISTS)
    assert trusted == SecondReading("Trusted", ())
    stranger = engine.read(data, mime, anchors=other_pki.anchors, lists=NO_LISTS)
    assert stranger.state == "Valid"
    assert engine.read(data, mime, anchors=TrustAnchors(()), lists=NO_LISTS).state == "Valid"
    plain = walls.picture("persona6_0", mime).data
    assert engine.read(plain, mime, anchors=walls.press.anchors, lists=NO_LISTS).state == "absent"
    broken = engine.read(data + b"more", mime, anchors=walls.press.anchors, lists=NO_LISTS)
    assert (broken.state, bool(broken.failures)) == ("Invalid", True)


def test_roots_of_lists_go_to_the_engine_by_use(gallery: Any, other_pki: Any, pki: Any) -> None:
    _, released = gallery

    def pem(one: Any) -> bytes:
        return bytes(one.root.public_bytes(serialization.Encoding.PEM))

    lists = TrustLists(
        (
            read_list(pem(pki), name="a", use="signers"),
            read_list(pem(other_pki), name="b", use="time-stamps"),
        )
    )
    engine, asked = engine_that_says({"validation_state": "Valid"})
    engine.read(b"x", "image/png", anchors=TrustAnchors(()), lists=lists)
    assert asked == {
        "data": b"x",
        "mime_type": "image/png",
        "manifest_store": None,
        "trust_pem": pem(pki).decode(),
        "tsa_trust_pem": pem(other_pki).decode(),
        "no_default_trust": True,
        "telemetry": False,
        "online": False,
    }
    data = released["image/png"].data
    found = open_second_engine().read(data, "image/png", anchors=TrustAnchors(()), lists=lists)
    assert found.state == "Trusted"


@pytest.mark.parametrize(
    ("answer", "state", "failures"),
    [
        ({"present": False}, "absent", ()),
        ({"validation_state": "Trusted"}, "Trusted", ()),
        ({"validation_state": "Splendid"}, "unreadable", ()),
        ({}, "unreadable", ()),
        (
            {"validation_state": "Invalid", "validation_results": {"failure": [{"code": "bad"}]}},
            "Invalid",
            ("bad",),
        ),
        ({"validation_state": "Valid", "validation_results": 7}, "Valid", ()),
        (ValueError("boom"), "unreadable", ()),
        (RuntimeError("panic"), "unreadable", ()),
    ],
)
def test_answer_is_read_carefully(answer: Any, state: str, failures: tuple[str, ...]) -> None:
    engine, _ = engine_that_says(answer)
    found = engine.read(b"x", "image/png", anchors=TrustAnchors(()), lists=NO_LISTS)
    assert found == SecondReading(state, failures)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("verdict", "state", "agree"),
    [
        ("trusted", "Trusted", True),
        ("trusted", "Valid", False),
        ("trusted", "Invalid", False),
        ("trusted", "absent", False),
        ("intact_untrusted", "Valid", True),
        ("intact_untrusted", "Trusted", False),
        ("invalid", "Invalid", True),
        ("invalid", "Trusted", False),
        ("ingredient_invalid", "Invalid", True),
        ("ingredient_invalid", "Trusted", False),
        ("no_manifest", "absent", True),
        ("no_manifest", "Valid", False),
        ("remote_manifest_not_fetched", "absent", True),
        ("remote_manifest_not_fetched", "Invalid", True),  # manifest.inaccessible
        ("unreadable", "unreadable", True),
        ("unreadable", "Trusted", False),
    ],
)
def test_difference_is_shown_with_both_words(verdict: Any, state: Any, agree: bool) -> None:
    line = compare(ManifestReading(verdict, failures=("ours",)), SecondReading(state, ("theirs",)))
    assert line.subject == "second engine"
    assert line.state == ("holds" if agree else "warns")
    assert f"says {state} (theirs)" in line.words
    assert (f"{verdict} (ours)" in line.words) is not agree
    bare = compare(ManifestReading(verdict), SecondReading(state, ()))
    assert "(" not in bare.words


def test_difference_never_changes_the_verdict(gallery: Any) -> None:
    walls, released = gallery
    liar, _ = engine_that_says({"validation_state": "Invalid"})
    flatterer, _ = engine_that_says({"validation_state": "Trusted"})
    data = released["image/png"].data
    report = Verifier(walls.press.anchors, second=liar).verify(data)
    [line] = [line for line in report.evidence if line.subject == "second engine"]
    assert (report.verdict, line.state) == ("authentic", "warns")
    with pytest.raises(Tampered) as caught:
        Verifier(walls.press.anchors, second=flatterer).verify(data + b"more")
    [line] = [line for line in caught.value.evidence if line.subject == "second engine"]
    assert line.state == "warns"


def test_tampered_parent_is_where_the_engines_are_compared(
    pki: Any, studio: Any, sign_elsewhere: Any
) -> None:
    picture = studio.picture("persona3_0", "image/jpeg").data
    parent = bytearray(sign_elsewhere(pki, picture))
    parent[-30] ^= 1
    data = sign_elsewhere(pki, picture, parent=bytes(parent))
    examined = Verifier(pki.anchors, second=open_second_engine()).examine(data)
    assert isinstance(examined.outcome, Tampered)
    [line] = [line for line in examined.evidence if line.subject == "second engine"]
    assert line.state == "warns"
    assert "says Trusted; here it reads as ingredient_invalid" in line.words


def test_engine_that_was_not_asked_says_nothing(gallery: Any) -> None:
    walls, released = gallery
    report = Verifier(walls.press.anchors).verify(released["image/png"].data)
    assert "second engine" not in {line.subject for line in report.evidence}


def test_missing_engine_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "encypher_c2pa", None)
    with pytest.raises(EngineMissing) as caught:
        open_second_engine()
    assert caught.value.code == "ENGINE-MISSING"
    assert "second-engine" in caught.value.mend
