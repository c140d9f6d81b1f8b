"""A reading in words: every state of trust, time, revocation and labels has its own line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from provenance.assertions import SoftBinding
from provenance.evidence import Evidence
from provenance.labels import FACE_SWAP_SOURCE_TYPE, SOURCE_TYPES, read_labels
from provenance.lint import find_notices
from provenance.manifest import FindingCode, LintFinding
from provenance.media import encode
from provenance.reading import EXPIRED, TRUSTED, IngredientFailure, ManifestReading
from provenance.revocation import read_revocations
from provenance.statements import (
    content_of,
    is_ours,
    state_labels,
    state_lists,
    state_manifest,
)
from provenance.trust import NO_LISTS, TrustList, TrustLists

CAMERA = SOURCE_TYPES + "digitalCapture"


def lines_of(reading: ManifestReading) -> dict[str, Evidence]:
    return {line.subject: line for line in state_manifest(reading, b"")}


def packet(*properties: str) -> bytes:
    spaces = (
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
    )
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/" {spaces}><rdf:RDF><rdf:Description rdf:about="">'
        + "".join(properties)
        + "</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


@pytest.mark.parametrize(
    ("fields", "subject", "state", "words"),
    [
        ({"successes": (TRUSTED,), "issuer": "Studio"}, "trust", "holds", "signed by Studio"),
        ({"issuer": "Studio"}, "trust", "fails", "none of the given anchors"),
        ({}, "trust", "fails", "an unknown signer"),
        ({"misused": ("signer",)}, "trust", "fails", "given for time stamps alone"),
        ({}, "time stamp", "absent", "ends with its certificate"),
        (
            {
                "time_stamped": True,
                "signed_at": datetime(2026, 11, 21, tzinfo=UTC),
                "successes": ("timeStamp.validated",),
            },
            "time stamp",
            "holds",
            "stamped 2026-11-21",
        ),
        ({"misused": ("time stamp",)}, "time stamp", "warns", "does not count"),
        (
            {
                "signed_at": datetime(2026, 11, 21, tzinfo=UTC),
                "successes": ("timeStamp.validated",),
            },
            "time stamp",
            "warns",
            "none of the given anchors",
        ),
        ({"failures": ("timeStamp.mismatch",)}, "time stamp", "fails", "does not hold"),
        ({"failures": (EXPIRED,)}, "trust", "fails", "certificate has ended"),
        ({}, "revocation", "unchecked", "none is fetched"),
        (
            {"successes": ("signingCredential.ocsp.notRevoked",)},
            "revocation",
            "holds",
            "was not revoked",
        ),
        (
            {"failures": ("signingCredential.ocsp.revoked",)},
            "revocation",
            "fails",
            "was revoked",
        ),
        (
            {
                "failures": ("signingCredential.ocsp.revoked",),
                "successes": ("signingCredential.ocsp.notRevoked",),
            },
            "revocation",
            "fails",
            "was revoked",
        ),
    ],
)
def test_line_of_a_reading(fields: dict[str, Any], subject: str, state: str, words: str) -> None:
    line = lines_of(ManifestReading("trusted", **fields))[subject]
    assert line.state == state
    assert words in line.words


@pytest.mark.parametrize(
    ("code", "maker", "state"),
    [
        ("MANY-PARENTS", "Other", "fails"),
        ("RESOURCE-NAME", "Other", "fails"),
        ("NO-ACTIONS", "Other", "warns"),
        ("NO-ACTIONS", "FaceWarrant", "fails"),
    ],
)
def test_rules_of_every_validator_fail_whoever_broke_them(
    code: FindingCode, maker: str, state: str
) -> None:
    finding = LintFinding(code, "words")
    reading = ManifestReading("trusted", claim_generator=maker, findings=(finding,))
    assert lines_of(reading)["lint"].state == state


def test_what_is_missing_beside_a_good_manifest_is_a_line_of_its_own() -> None:
    notices = find_notices({"ingredients": [{"active_manifest": "urn:c2pa:1"}]}, {})
    assert {notice.code for notice in notices} == {"NO-TIME-STAMP", "NO-INGREDIENT-DELTAS"}
    reading = ManifestReading("trusted", notices=notices)
    lint = [line for line in state_manifest(reading, b"") if line.subject == "lint"]
    assert [line.state for line in lint] == ["holds", "warns"]
    assert "NO-INGREDIENT-DELTAS" in lint[1].words
    assert "NO-TIME-STAMP" not in lint[1].words  # the time stamp has a line already


@pytest.mark.parametrize(
    ("reading", "ours"),
    [
        (ManifestReading("trusted", claim_generator="FaceWarrant"), True),
        (ManifestReading("trusted", warrant={}), True),
        (ManifestReading("trusted", claim_generator="Other"), False),
    ],
)
def test_ours_is_what_says_so(reading: ManifestReading, ours: bool) -> None:
    assert is_ours(reading) is ours


@pytest.mark.parametrize(
    ("properties", "state", "says"),
    [
        ((), "absent", "none"),
        (
            (
                f"<Iptc4xmpExt:DigitalSourceType>{FACE_SWAP_SOURCE_TYPE}"
                "</Iptc4xmpExt:DigitalSourceType>",
            ),
            "holds",
            "ai",
        ),
        (
            (f"<Iptc4xmpExt:DigitalSourceType>{CAMERA}</Iptc4xmpExt:DigitalSourceType>",),
            "holds",
            "not ai",
        ),
        (("<photoshop:Credit>Somebody</photoshop:Credit>",), "holds", "none"),
        (
            ("<photoshop:Credit>A</photoshop:Credit>", "<photoshop:Credit>B</photoshop:Credit>"),
            "warns",
            "disagreeing",
        ),
        (("<unclosed>",), "warns", "disagreeing"),
    ],
    ids=["none", "AI", "camera", "a name alone", "two names", "malformed"],
)
def test_what_labels_say(studio: Any, properties: tuple[str, ...], state: str, says: str) -> None:
    frame = studio.picture("persona6_0").frame
    options = {"xmp": packet(*properties)} if properties else {}
    data = encode(frame, "image/png", **options)
    line, found = state_labels(lambda: read_labels(data, "image/png"))
    assert (line.state, found) == (state, says)


def test_file_whose_labels_cannot_be_looked_for_warns(studio: Any) -> None:
    picture = studio.picture("persona6_0", "image/png")
    line, found = state_labels(lambda: read_labels(picture.data, "image/jpeg"))
    assert (line.state, found) == ("warns", "disagreeing")


@pytest.mark.parametrize(
    ("verdict", "kinds", "marked", "content"),
    [
        ("trusted", (FACE_SWAP_SOURCE_TYPE,), False, "ai"),
        ("intact_untrusted", (CAMERA, FACE_SWAP_SOURCE_TYPE), False, "ai"),
        ("trusted", (CAMERA,), False, "not ai"),
        ("trusted", (), True, "ai"),
        ("invalid", (FACE_SWAP_SOURCE_TYPE,), False, "none"),
        ("invalid", (CAMERA,), False, "none"),
        ("ingredient_invalid", (FACE_SWAP_SOURCE_TYPE,), False, "none"),
        ("no_manifest", (), True, "ai"),
        ("no_manifest", (), False, "none"),
    ],
)
def test_what_may_be_believed_of_the_content(
    verdict: Any, kinds: tuple[str, ...], marked: bool, content: str
) -> None:
    bad = (IngredientFailure("", "parentOf", ("bad",)),) if "ingredient" in verdict else ()
    reading = ManifestReading(verdict, source_types=kinds, ingredient_failures=bad)
    assert content_of(reading, marked=marked) == content


def test_lists_a_verdict_leans_on_are_named_with_their_dates(pki: Any, authority: Any) -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    none = state_lists(NO_LISTS, pki.anchors, now=now)
    assert (none.subject, none.state) == ("trust lists", "absent")
    assert none.words == "no trust list is loaded; roots given: 1"
    due = datetime(2027, 8, 5, tzinfo=UTC)
    roots = TrustList("official", "signers", "2026-08-05", "0" * 64, (pki.root,), due)
    undated = TrustList("own", "time-stamps", "", "1" * 64, (pki.root,))
    revoked = read_revocations(authority.crl(), name="crl")
    lists = TrustLists((roots, undated), (), (revoked,))
    for at in (now, due):
        line = state_lists(lists, pki.anchors, now=at)
        assert (line.state, line.words) == ("holds", "; ".join(one.words for one in lists.every))
    late = state_lists(lists, pki.anchors, now=due + timedelta(seconds=1))
    assert late.state == "warns"
    assert late.words.endswith("; the list official was due for renewal on 2027-08-05")
    assert late.words.startswith(roots.words)


@pytest.mark.parametrize(
    ("algs", "words"),
    [
        (["com.example.mark.1"], "by com.example.mark.1, which only its maker can read"),
        (["com.b", "com.a", "com.b", "org.facewarrant.spread.2"], "by com.a, com.b, which"),
        ([f"com.{n}" for n in range(9)], "by com.0, com.1, com.2, com.3, which"),
        (["\x1b[31m", "x" * 65, "a b", ""], "by a name that is not plain, which"),
    ],
)
def test_a_foreign_mark_is_reported_by_name(algs: list[str], words: str) -> None:
    bindings = tuple(SoftBinding(alg, b"123456") for alg in algs)
    [line] = [
        line
        for line in state_manifest(ManifestReading("trusted", soft_bindings=bindings), b"")
        if line.subject == "watermark"
    ]
    assert (line.state, words in line.words) == ("unchecked", True)


@pytest.mark.parametrize("algs", [[], ["org.facewarrant.spread.2", "org.facewarrant.pdq.1"]])
def test_our_own_mark_is_no_foreign_one(algs: list[str]) -> None:
    bindings = tuple(SoftBinding(alg, b"123456") for alg in algs)
    reading = ManifestReading("trusted", soft_bindings=bindings)
    assert "watermark" not in lines_of(reading)
