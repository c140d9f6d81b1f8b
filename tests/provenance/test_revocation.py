"""What a CA revoked is not trusted; a list counts for the CA that signed it and nobody else."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding

from policies.digest import sha256_hex
from provenance.evidence import Evidence
from provenance.revocation import RevocationList, is_issuer, read_revocations, state_listed
from provenance.trust_terms import MAX_LIST_BYTES, TrustRefused

DAY = timedelta(days=1)


def look(authority: Any, *lists: bytes, **changes: Any) -> Evidence:
    fields: dict[str, Any] = {
        "chain": authority.chain.certificates,
        "lists": tuple(read_revocations(one, name=f"list{n}") for n, one in enumerate(lists)),
        "roots": (),
        "stamped": None,
        "now": authority.now,
    }
    fields |= changes
    line = state_listed(fields.pop("chain"), fields.pop("lists"), **fields)
    assert line.subject == "revocation"
    return line


def test_list_is_read_as_der_and_as_pem(authority: Any) -> None:
    der = authority.crl(authority.leaf)
    pem = x509.load_der_x509_crl(der).public_bytes(Encoding.PEM)
    for content in (der, pem):
        found = read_revocations(content, name="x")
        assert found.sha256 == sha256_hex(content)
        assert (found.issued, found.due) == (authority.now - DAY, authority.now + 6 * DAY)
        assert found.words.startswith("x (1 revoked by CN=Root,O=Keyholder, issued ")
        assert found.dated in found.words


@pytest.mark.parametrize(
    "content",
    [b"", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", b"\x30\x00", b"text"],
)
def test_what_is_no_list_is_refused(content: bytes) -> None:
    with pytest.raises(TrustRefused, match="no revocation list"):
        read_revocations(content, name="x")


def test_huge_partial_and_endless_lists_are_refused(
    authority: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TrustRefused, match="at most"):
        read_revocations(bytes(MAX_LIST_BYTES + 1), name="x")
    with pytest.raises(TrustRefused, match="only a part"):
        read_revocations(authority.crl(partial=True), name="x")

    class Endless:
        next_update_utc, last_update_utc = None, authority.now
        extensions: tuple[()] = ()

        def __iter__(self) -> Any:
            return iter(())

    monkeypatch.setattr(x509, "load_der_x509_crl", lambda _content: Endless())
    with pytest.raises(TrustRefused, match="until when it holds"):
        read_revocations(b"0", name="x")


def test_revoked_signer_fails(authority: Any) -> None:
    line = look(authority, authority.crl(authority.leaf))
    assert line.state == "fails"
    assert "'Signer' was revoked" in line.words
    assert "list0" in line.words


def test_only_a_stamp_from_before_saves_what_was_signed(authority: Any) -> None:
    when = authority.now - 2 * DAY
    crl = authority.crl(authority.leaf, on=when)
    before = look(authority, crl, stamped=when - timedelta(seconds=1))
    assert (before.state, "signed before" in before.words) == ("warns", True)
    assert look(authority, crl, stamped=when).state == "fails"
    assert look(authority, crl, stamped=when + DAY).state == "fails"


def test_key_counts_as_lost_from_the_earlier_date(authority: Any) -> None:
    when = authority.now - 2 * DAY
    crl = authority.crl(authority.leaf, on=when, invalid=when - DAY)
    assert look(authority, crl, stamped=when - timedelta(hours=1)).state == "fails"
    assert look(authority, crl, stamped=when - 2 * DAY).state == "warns"


def test_signer_who_is_on_no_list_of_the_ca(authority: Any) -> None:
    line = look(authority, authority.crl())
    assert (line.state, "'Signer' is not on the revocation list list0" in line.words) == (
        "holds",
        True,
    )


def test_list_past_its_renewal_warns_and_still_revokes(authority: Any) -> None:
    dates = {"issued": authority.now - 9 * DAY, "due": authority.now - 3 * DAY}
    late = look(authority, authority.crl(**dates))
    due = (authority.now - 3 * DAY).date().isoformat()
    assert (late.state, f"was due for renewal on {due}" in late.words) == ("warns", True)
    assert look(authority, authority.crl(authority.leaf, **dates)).state == "fails"
    exact = authority.crl(issued=authority.now - DAY, due=authority.now)
    assert look(authority, exact).state == "holds"


def test_list_of_another_ca_says_nothing(authority: Any, other_pki: Any) -> None:
    crl = authority.crl(authority.leaf, issuer=other_pki.root.subject)
    assert look(authority, crl).state == "unchecked"
    assert look(authority).state == "unchecked"


def test_list_with_the_name_but_not_the_key_does_not_count(authority: Any, impostor: Any) -> None:
    forged = impostor.crl(authority.leaf)
    line = look(authority, forged, roots=(impostor.root,))
    assert (line.state, "not its signature" in line.words) == ("warns", True)
    # Beside a good one the doubt stays.
    assert look(authority, forged, authority.crl()).state == "warns"
    assert look(authority, forged, authority.crl(authority.leaf)).state == "fails"


@pytest.mark.parametrize(
    "make",
    [
        lambda: rsa.generate_private_key(65537, 2048),
        lambda: ec.generate_private_key(ec.SECP384R1()),
    ],
    ids=["RSA", "P-384"],
)
def test_list_signed_with_another_kind_of_key_does_not_count(authority: Any, make: Any) -> None:
    line = look(authority, authority.crl(authority.leaf, key=make()))
    assert (line.state, "not its signature" in line.words) == ("warns", True)


@pytest.mark.parametrize("error", [ValueError, TypeError, UnsupportedAlgorithm])
def test_list_whose_signature_cannot_be_checked_does_not_count(
    authority: Any, error: type[Exception]
) -> None:
    def fail(_key: object) -> bool:
        raise error("an algorithm of the past")

    crl: Any = SimpleNamespace(issuer=authority.root.subject, is_signature_valid=fail)
    odd = RevocationList("odd", "0" * 64, crl, authority.now, authority.now)
    assert look(authority, lists=(odd,)).state == "warns"


def test_ca_may_be_given_as_a_root_alone(authority: Any) -> None:
    crl, chain = authority.crl(authority.leaf), (authority.leaf,)
    assert look(authority, crl, chain=chain).state == "warns"
    assert look(authority, crl, chain=chain, roots=(authority.root,)).state == "fails"


def test_silence_about_an_ended_certificate_says_nothing(authority: Any) -> None:
    old = authority.issue(life=(-9 * DAY, -5 * DAY))
    chain = (old, authority.root)
    assert look(authority, authority.crl(), chain=chain).state == "unchecked"
    assert look(authority, authority.crl(old), chain=chain).state == "fails"


def test_self_signed_certificate_is_nobodys_to_revoke(authority: Any) -> None:
    line = look(authority, authority.crl(authority.root), chain=(authority.root,))
    assert line.state == "unchecked"


def test_key_that_cannot_sign_lists_is_no_issuer(authority: Any, impostor: Any) -> None:
    assert is_issuer(authority.root, authority.leaf)
    assert not is_issuer(impostor.root, authority.leaf)
    assert not is_issuer(authority.leaf, authority.leaf)
    for key in (x25519.X25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()):
        odd = authority.issue("Root", key=key)
        assert not is_issuer(odd, authority.leaf)
