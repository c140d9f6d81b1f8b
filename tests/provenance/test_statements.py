"""A reading in words: every state of trust, time, revocation and labels has its own line."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from provenance.evidence import Evidence
from provenance.labels import FACE_SWAP_SOURCE_TYPE, SOURCE_TYPES
from provenance.lint import find_notices
from provenance.media import decode, encode
from provenance.reading import EXPIRED, TRUSTED, IngredientFailure, ManifestReading
from provenance.statements import content_of, is_ours, state_labels, state_manifest

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
    line, found = state_labels(decode(encode(frame, "image/png", **options)))
    assert (line.state, found) == (state, says)


def test_file_whose_labels_cannot_be_looked_for_warns(studio: Any) -> None:
    picture = studio.picture("persona6_0", "image/png")
    mistaken: Any = SimpleNamespace(data=picture.data, mime="image/jpeg")
    line, found = state_labels(mistaken)
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
