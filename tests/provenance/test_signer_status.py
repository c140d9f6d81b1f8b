"""What stands against a signer is said, whatever the library says; nothing of it makes trusted."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from policies.errors import Malformed
from provenance.c2pa import read_manifest
from provenance.cbor import decode_cbor
from provenance.chains import TrustAnchors
from provenance.claim_signature import ClaimSignature, read_claim_signature
from provenance.embedding import find_store
from provenance.evidence import Evidence
from provenance.jumbf import find_signature
from provenance.media import decode, encode
from provenance.products import read_products
from provenance.reading import TRUSTED, ManifestReading
from provenance.revocation import read_revocations
from provenance.signer_status import state_signer
from provenance.statements import state_manifest
from provenance.trust import NO_LISTS, TrustLists

DAY = timedelta(days=1)
READING = ManifestReading("trusted", successes=(TRUSTED,))
NOT_READ = Malformed("no chain")


def lines(authority: Any, *answers: bytes, **changes: Any) -> list[tuple[str, str]]:
    return [(line.subject, line.state) for line in said(authority, *answers, **changes)]


def said(authority: Any, *answers: bytes, **changes: Any) -> tuple[Evidence, ...]:
    fields: dict[str, Any] = {
        "reading": READING,
        "signature": ClaimSignature(authority.chain.certificates, answers),
        "anchors": TrustAnchors((authority.root,)),
        "lists": NO_LISTS,
        "now": authority.now,
    } | changes
    return state_signer(fields.pop("reading"), fields.pop("signature"), **fields)


def revoking(authority: Any, *revoked: Any, **fields: Any) -> TrustLists:
    return TrustLists(revoked=(read_revocations(authority.crl(*revoked, **fields), name="crl"),))


@pytest.mark.parametrize(
    ("fields", "state", "stale"),
    [
        ({}, "holds", False),
        ({"made": -9 * DAY}, "warns", True),
        ({"revoked": -DAY}, "fails", False),
    ],
    ids=["good", "stale", "revoked"],
)
def test_stapled_answer_is_a_line(
    authority: Any, fields: dict[str, Any], state: str, stale: bool
) -> None:
    dated = {name: authority.now + back for name, back in fields.items()}
    found = said(authority, authority.answer(**dated))
    assert [(line.subject, line.state) for line in found[:2]] == [
        ("revocation", state),
        ("product", "unchecked"),
    ]
    assert [line.words.partition(":")[0] for line in found[2:]] == ["STALE-OCSP"] * stale


def test_trusted_stamp_alone_is_a_time(authority: Any) -> None:
    answer = authority.answer(revoked=authority.now - DAY)
    stamp: dict[str, Any] = {"signed_at": authority.now - 2 * DAY, "successes": (TRUSTED,)}
    trusted = ManifestReading("trusted", time_stamped=True, **stamp)
    assert lines(authority, answer, reading=trusted)[0] == ("revocation", "warns")
    untrusted = ManifestReading("trusted", **stamp)
    assert lines(authority, answer, reading=untrusted)[0] == ("revocation", "fails")


def test_word_of_the_library_counts_where_it_is_worse(authority: Any) -> None:
    revoked = ManifestReading("trusted", failures=("signingCredential.ocsp.revoked",))
    assert lines(authority, authority.answer(), reading=revoked)[0] == ("revocation", "fails")
    good = ManifestReading("trusted", successes=("signingCredential.ocsp.notRevoked",))
    assert lines(authority, b"void", reading=good)[0] == ("revocation", "warns")
    assert lines(authority, reading=good)[0] == ("revocation", "holds")
    assert lines(authority)[0] == ("revocation", "unchecked")


def test_revocation_lists_are_a_line_of_their_own(authority: Any) -> None:
    revoked = revoking(authority, authority.leaf)
    found = lines(authority, authority.answer(), lists=revoked)
    assert found[:2] == [("revocation", "holds"), ("revocation", "fails")]
    assert lines(authority, lists=revoking(authority))[1] == ("revocation", "holds")
    # Roots of the lists are CAs too, those for time stamps alone are not.
    alone = ClaimSignature((authority.leaf,))
    none = TrustAnchors(())
    assert lines(authority, signature=alone, anchors=none, lists=revoked)[1][1] == "warns"
    assert lines(authority, signature=alone, lists=revoked)[1][1] == "fails"


def test_signer_who_cannot_be_looked_up_fails_where_lists_are_given(authority: Any) -> None:
    assert lines(authority, signature=NOT_READ) == [
        ("revocation", "unchecked"),
        ("product", "unchecked"),
    ]
    found = said(authority, signature=NOT_READ, lists=revoking(authority))
    assert (found[1].subject, found[1].state) == ("revocation", "fails")
    assert "could not be looked up: no chain" in found[1].words


def test_product_counts_under_a_trusted_signer(authority: Any) -> None:
    record = {
        "recordId": "00000000-0000-0000-0000-000000000000",
        "status": "conformant",
        "product": {
            "productType": "generatorProduct",
            "DN": {"CN": "A", "O": "B"},
            "assurance": {"maxAssuranceLevel": 1},
        },
    }
    lists = TrustLists(products=(read_products(json.dumps([record]).encode(), name="cpl"),))
    assert lines(authority, lists=lists)[1] == ("product", "holds")
    stranger = ManifestReading("intact_untrusted")
    assert lines(authority, lists=lists, reading=stranger)[1] == ("product", "unchecked")


def test_lines_stand_in_the_place_of_the_librarys_word(authority: Any) -> None:
    signer = said(authority, authority.answer())
    found = list(state_manifest(READING, b"", signer=signer))
    assert [line for line in found if line.subject == "revocation"] == [signer[0]]
    assert signer[1] in found


# -------------------------------------------------------------------- in a file, beside the library


@pytest.fixture
def signed(authority: Any, demo_picture: Any, sign_elsewhere: Any) -> bytes:
    """A JPEG signed with the authority's leaf."""
    picture = encode(decode(demo_picture("persona2_0")).frame, "image/jpeg")
    made: bytes = sign_elsewhere(authority, picture)
    return made


def staple(data: bytes, answer: bytes, encode_cbor: Any, manifest_id: str) -> bytes:
    """The file with an answer in the place of padding, which nobody signed."""
    raw = find_signature(find_store(data, "image/jpeg"), manifest_id)
    protected, loose, payload, signature = decode_cbor(raw)  # type: ignore[misc]
    for pad in range(len(loose["pad"]), 0, -1):  # type: ignore[index,arg-type]
        header = {"rVals": {"ocspVals": [answer]}, "pad": bytes(pad)}
        changed = b"\xd2" + bytes(encode_cbor([protected, header, payload, signature]))
        if len(changed) == len(raw):
            return data.replace(raw, changed)
    pytest.fail("the answer does not fit")


@pytest.mark.parametrize("case", ["good", "stale", "revoked"])
def test_answer_in_a_file_is_found(
    authority: Any, signed: bytes, encode_cbor: Any, case: str
) -> None:
    fields = {
        "good": {},
        "stale": {"made": authority.now - 9 * DAY, "until": authority.now - 8 * DAY},
        "revoked": {"revoked": authority.now - DAY},
    }[case]
    answer = authority.answer(**fields)
    anchors = TrustAnchors((authority.root,))
    bare = read_manifest(signed, "image/jpeg", anchors=anchors)
    assert bare.verdict == "trusted"
    data = staple(signed, answer, encode_cbor, bare.manifest_id)
    reading = read_manifest(data, "image/jpeg", anchors=anchors)
    # The library looks at no answer where there is no time stamp, not even at one that revokes.
    assert (reading.verdict, reading.revocation) == ("trusted", "unknown")
    found = read_claim_signature(
        find_store(data, "image/jpeg"), bare.manifest_id, serial=authority.leaf.serial_number
    )
    assert found.answers == (answer,)
    state = lines(authority, reading=reading, signature=found)[0]
    assert state == ("revocation", {"good": "holds", "stale": "warns", "revoked": "fails"}[case])
