"""A revoked signer is untrusted, in a file and in a kept manifest; a late list warns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from provenance.chains import TrustAnchors
from provenance.errors import Untrusted
from provenance.media import decode, encode
from provenance.reading import judge
from provenance.revocation import read_revocations
from provenance.trust import TrustList, TrustLists
from provenance.verify import Verifier

DAY = timedelta(days=1)


@pytest.fixture
def signed(authority: Any, demo_picture: Any, sign_elsewhere: Any) -> bytes:
    picture = encode(decode(demo_picture("persona2_0")).frame, "image/jpeg")
    made: bytes = sign_elsewhere(authority, picture)
    return made


def verifier(authority: Any, *revoked: Any, **fields: Any) -> Verifier:
    crl = read_revocations(authority.crl(*revoked), name="crl")
    lists = TrustLists(revoked=(crl,))
    return Verifier(TrustAnchors((authority.root,)), lists=lists, **fields)


def test_revoked_signer_is_untrusted(authority: Any, signed: bytes) -> None:
    assert verifier(authority).verify(signed).verdict == "authentic"
    with pytest.raises(Untrusted, match="was revoked") as caught:
        verifier(authority, authority.leaf).verify(signed)
    states = {(line.subject, line.state) for line in caught.value.evidence}
    assert ("revocation", "fails") in states
    assert ("product", "unchecked") in states
    assert ("signature", "holds") in states


def test_another_leaf_than_the_verified_one_fails(authority: Any, signed: bytes) -> None:
    serial = str(authority.leaf.serial_number)
    report = {
        "active_manifest": "m",
        "manifests": {"m": {"signature_info": {"cert_serial_number": serial}}},
    }
    assert judge(report, {}, "Valid").signer_serial == authority.leaf.serial_number
    for odd in (1, "x", "", "9" * 61, None):
        report["manifests"]["m"]["signature_info"]["cert_serial_number"] = odd  # type: ignore[index]
        assert judge(report, {}, "Valid").signer_serial is None


def test_revoked_signer_of_a_kept_manifest_is_untrusted(studio: Any, other_pki: Any) -> None:
    released = studio.release()
    stripped = encode(decode(released.data).frame, "image/png")
    assert studio.verifier.verify(stripped).verdict == "recovered"
    # No CA of the studio's own is at hand, so the lists cannot say: the signer is on none of them.
    lines = studio.verifier.examine(stripped).evidence
    assert ("revocation", "unchecked") in {(line.subject, line.state) for line in lines}


def test_list_past_its_renewal_warns(pki: Any, authority: Any, signed: bytes) -> None:
    due = datetime(2027, 8, 5, tzinfo=UTC)
    one = TrustList("official", "signers", "2026-08-05", "0" * 64, (authority.root,), due)
    for now, state in ((due, "holds"), (due + DAY, "warns")):
        report = Verifier(
            TrustAnchors(()),
            lists=TrustLists((one,)),
            now=lambda now=now: now,  # type: ignore[misc]
        ).verify(signed)
        assert report.verdict == "authentic"
        [line] = [line for line in report.evidence if line.subject == "trust lists"]
        assert (line.state, "2026-08-05" in line.words) == (state, True)
