"""The lint finds what the C2PA library lets through: each vector here is signed, and reads back."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import c2pa
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from provenance.c2pa import read_manifest
from provenance.lint import find_notices, lint_store_size
from provenance.manifest import ALWAYS_WRONG, GENERATOR, MAX_STORE_BYTES
from provenance.media import decode, encode
from provenance.verify import Verifier

Json = dict[str, Any]
TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
CREATED: Json = {"action": "c2pa.created", "digitalSourceType": TYPES + "digitalCapture"}
OPENED: Json = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["parent0"]}}
EDITED: Json = {"action": "c2pa.edited"}
BOUND: Json = {"action": "c2pa.watermarked.bound"}
OURS = GENERATOR["name"]
LABELS = ("c2pa.actions", "c2pa.soft-binding")


def soft_binding(alg: str, value: str) -> Json:
    blocks = [{"scope": {}, "value": value}]
    return {"label": "c2pa.soft-binding", "data": {"alg": alg, "blocks": blocks}}


@pytest.fixture(scope="module")
def plain() -> bytes:
    folder = Path(__file__).parents[2] / "docs" / "demo"
    return encode(decode((folder / "persona3_0.webp").read_bytes()).frame, "image/jpeg")


def sign(
    pki: Any,
    picture: bytes,
    actions: Sequence[Json] | None,
    *,
    complete: bool | None = True,
    parents: Sequence[bytes] = (),
    assertions: Sequence[Json] = (),
    generator: str = "Other Editor",
    thumbnail: bool = False,
) -> bytes:
    """The picture with a manifest that says exactly this; the library checks nothing after it."""
    data: Json = {"actions": list(actions or ())}
    if complete is not None:
        data["allActionsIncluded"] = complete
    said = [{"label": "c2pa.actions.v2", "data": data}] if actions is not None else []
    definition = {
        "claim_generator_info": [{"name": generator, "version": "1"}],
        "assertions": [*said, *assertions],
    }
    settings = {
        "builder": {
            "thumbnail": {"enabled": thumbnail},
            "created_assertion_labels": list(LABELS),
        },
        "trust": {"trust_config": "1.3.6.1.4.1.62558.2.1"},
        "verify": {"verify_after_sign": False},
    }

    def sign_claim(claim: bytes) -> bytes:
        return bytes(pki.leaf_key.sign(claim, ec.ECDSA(hashes.SHA256())))

    out = io.BytesIO()
    with (
        c2pa.Context.from_dict(settings) as context,
        c2pa.Signer.from_callback(
            sign_claim, c2pa.C2paSigningAlg.ES256, pki.chain.pem, None
        ) as signer,
        c2pa.Builder(definition, context=context) as builder,
    ):
        for number, parent in enumerate(parents):
            described = {"relationship": "parentOf", "label": f"parent{number}", "title": "parent"}
            builder.add_ingredient(described, "image/jpeg", io.BytesIO(parent))
        builder.sign(signer, "image/jpeg", io.BytesIO(picture), out)
    return out.getvalue()


VECTORS: dict[str, tuple[Sequence[Json] | None, Json, set[str]]] = {
    "in order": ([CREATED], {}, set()),
    "two parents": ([OPENED], {"parents": 2}, {"MANY-PARENTS"}),
    "created with a parent": ([CREATED], {"parents": 1}, {"CREATED-WITH-PARENT"}),
    "no actions": (None, {}, {"NO-ACTIONS"}),
    "no source type": ([CREATED, EDITED], {}, {"SOURCE-TYPE-MISSING"}),
    "source type of an opened one": (
        [OPENED | {"digitalSourceType": TYPES + "digitalCapture"}],
        {"parents": 1},
        {"OPENED-SOURCE-TYPE"},
    ),
    "bound to nothing": ([CREATED, BOUND], {}, {"BOUND-WITHOUT-SOFT-BINDING"}),
    "unknown algorithm": (
        [CREATED],
        {"assertions": [soft_binding("com.example.mark.1", "AAAA")]},
        {"SOFT-BINDING-UNKNOWN"},
    ),
    "id that is no base64": (
        [CREATED],
        {"assertions": [soft_binding("org.facewarrant.spread.2", "??")]},
        {"SOFT-BINDING-MALFORMED"},
    ),
    "completeness unstated": ([CREATED], {"complete": None}, {"ALL-ACTIONS-UNSTATED"}),
    "ours, gathered": (
        [CREATED],
        {"generator": OURS, "assertions": [{"label": "org.test.note", "data": {"a": 1}}]},
        {"GATHERED", "WARRANT-SCHEMA", "CONSENT-SCHEMA"},
    ),
    "ours, thumbnail": (
        [CREATED],
        {"generator": OURS, "thumbnail": True},
        {"THUMBNAIL", "WARRANT-SCHEMA", "CONSENT-SCHEMA"},
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_signed_vector_is_found(pki: Any, plain: bytes, name: str) -> None:
    actions, options, codes = VECTORS[name]
    options = options | {"parents": [plain] * options.get("parents", 0)}
    data = sign(pki, plain, actions, **options)
    reading = read_manifest(data, "image/jpeg", anchors=pki.anchors)
    assert {finding.code for finding in reading.findings} == codes
    assert all(finding.words for finding in reading.findings)
    # What the library itself says of them: all but these two read as trusted.
    refused = {"no actions", "bound to nothing"}
    assert reading.verdict == ("invalid" if name in refused else "trusted")
    [line] = [e for e in Verifier(pki.anchors).examine(data).evidence if e.subject == "lint"]
    ours = options.get("generator") == OURS
    fails = ours or codes & ALWAYS_WRONG
    assert line.state == ("holds" if not codes else "fails" if fails else "warns")
    assert all(code in line.words for code in codes)


def test_missing_time_stamp_is_a_notice_not_a_broken_rule(pki: Any, plain: bytes) -> None:
    reading = read_manifest(sign(pki, plain, [CREATED]), "image/jpeg", anchors=pki.anchors)
    assert [notice.code for notice in reading.notices] == ["NO-TIME-STAMP"]
    assert reading.findings == ()


@pytest.mark.parametrize("kind", ["success", "informational", "failure"])
def test_any_word_on_a_time_stamp_is_one(kind: str) -> None:
    results = {"activeManifest": {kind: [{"code": "timeStamp.untrusted"}]}}
    assert find_notices({}, results) == ()


def test_ingredient_that_was_checked_anew_is_complete(pki: Any, plain: bytes) -> None:
    parent = sign(pki, plain, [CREATED])
    reading = read_manifest(
        sign(pki, plain, [OPENED], parents=[parent]), "image/jpeg", anchors=pki.anchors
    )
    assert "NO-INGREDIENT-DELTAS" not in {notice.code for notice in reading.notices}


@pytest.mark.parametrize(
    ("ingredient", "found"),
    [
        ({"active_manifest": "urn:c2pa:1", "label": "c2pa.ingredient.v3"}, []),
        (
            {"active_manifest": "urn:c2pa:1", "label": "c2pa.ingredient.v3__1"},
            ["NO-INGREDIENT-DELTAS"],
        ),
        ({"active_manifest": "urn:c2pa:1"}, ["NO-INGREDIENT-DELTAS"]),
        ({"label": "c2pa.ingredient.v3__1"}, []),
    ],
    ids=["checked", "not checked", "nameless", "brings no manifest"],
)
def test_ingredient_without_a_word_on_it_today(ingredient: Json, found: list[str]) -> None:
    delta = {"ingredientAssertionURI": "self#jumbf=/c2pa/x/c2pa.assertions/c2pa.ingredient.v3"}
    stamp = {"success": [{"code": "timeStamp.trusted"}]}
    notices = find_notices(
        {"ingredients": [ingredient]}, {"activeManifest": stamp, "ingredientDeltas": [delta]}
    )
    assert [notice.code for notice in notices] == found


def test_store_of_several_segments_is_measured_to_the_byte(pki: Any, plain: bytes) -> None:
    note = {"label": "org.test.note", "data": {"text": "x" * 90_000}}
    small, large = (sign(pki, plain, [CREATED], assertions=extra) for extra in ((), [note]))
    assert lint_store_size(small) == lint_store_size(plain) == ()
    [finding] = lint_store_size(large)
    box = large.index(b"jumb") - 4
    assert finding.code == "STORE-TOO-LARGE"
    assert finding.words.startswith(f"{int.from_bytes(large[box : box + 4], 'big')} bytes")
    lines = Verifier(pki.anchors).examine(large).evidence
    [line] = [e for e in lines if e.subject == "lint"]
    assert line.state == "warns"
    assert "STORE-TOO-LARGE" in line.words


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"\x89PNG" * 9, b"\xff\xd8ab"])
def test_what_is_no_jpeg_has_no_segments(data: bytes) -> None:
    assert lint_store_size(data) == ()


def test_segments_of_another_kind_do_not_count() -> None:
    other = b"\xff\xeb\xff\xff" + b"XX" + bytes(65_531)
    assert lint_store_size(b"\xff\xd8" + other + other) == ()
    ours = b"\xff\xeb\xff\xff" + b"JP" + bytes(65_531)
    assert MAX_STORE_BYTES < 2 * 65_535 - 28
    assert lint_store_size(b"\xff\xd8" + ours + ours)[0].words.startswith(f"{2 * 65_535 - 28} ")
