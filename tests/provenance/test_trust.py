"""Trust lists: taken in whole or not at all, and every root vouches for its own use alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from policies.digest import sha256_hex
from policies.errors import StoreUnavailable
from provenance.chains import CLAIM_SIGNING, TrustAnchors
from provenance.errors import Untrusted
from provenance.reading import EXPIRED, TRUSTED, ManifestReading
from provenance.tree import UNTRUSTED
from provenance.trust import (
    MAX_LISTS,
    NO_LISTS,
    TrustFolder,
    TrustList,
    TrustLists,
    read_by_use,
    read_list,
)
from provenance.trust_terms import MAX_LIST_BYTES, TrustRefused, Use
from provenance.verify import Verifier

MakeRoot = Callable[..., x509.Certificate]


def pem_of(*certificates: x509.Certificate) -> bytes:
    return b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates)


@pytest.fixture(scope="module")
def make_root(pki: Any) -> MakeRoot:
    """`make_root(name, *purposes)`: a CA, restricted to these extended key usages."""
    start = pki.root.not_valid_before_utc

    def make(name: str, *purposes: x509.ObjectIdentifier) -> x509.Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = pki.root.extensions.get_extension_for_class(x509.KeyUsage).value
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=365))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
        )
        if purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        return builder.sign(key, hashes.SHA256())

    return make


# ------------------------------------------------------------------------------ what is taken in


def test_list_in_the_published_form_is_read(pki: Any, other_pki: Any) -> None:
    text = b"# C2PA trust list\nCN = One\n" + pem_of(pki.root) + b"\nCN = Two\n"
    text += pem_of(other_pki.root)
    found = read_list(text, name="official", use="signers", dated="2026-08-05")
    assert found.certificates == (pki.root, other_pki.root)
    assert found.sha256 == sha256_hex(text)
    assert found.words == (
        f"official (2 roots for signers, issued 2026-08-05, SHA-256 {found.sha256})"
    )
    undated = read_list(pem_of(pki.root), name="own", use="time-stamps")
    assert undated.words.startswith("own (1 root for time-stamps, without a date, SHA-256 ")


def test_root_restricted_to_one_use_is_refused_for_the_other(make_root: MakeRoot) -> None:
    uses: dict[Use, tuple[x509.ObjectIdentifier, ...]] = {
        "signers": (CLAIM_SIGNING, ExtendedKeyUsageOID.EMAIL_PROTECTION),
        "time-stamps": (ExtendedKeyUsageOID.TIME_STAMPING,),
    }
    for own, purposes in uses.items():
        other: Use = "signers" if own == "time-stamps" else "time-stamps"
        for purpose in purposes:
            pem = pem_of(make_root("Narrow", purpose))
            assert len(read_list(pem, name="x", use=own).certificates) == 1
            with pytest.raises(TrustRefused, match="CN=Narrow is no root for"):
                read_list(pem, name="x", use=other)
        wide = make_root("Wide", ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
        assert read_list(pem_of(wide), name="x", use=own).certificates == (wide,)


def test_signer_is_no_root_and_one_bad_certificate_refuses_all(pki: Any) -> None:
    for certificates in ((pki.leaf,), (pki.root, pki.leaf)):
        with pytest.raises(TrustRefused) as caught:
            read_list(pem_of(*certificates), name="x", use="signers")
        assert caught.value.code == "TRUST-REFUSED"
        assert "not a CA" in caught.value.message


@pytest.mark.parametrize("use", ["signers", "time-stamps"])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense",
        b'{"LoTE": []}',
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"\xff" * 100,
        bytes(MAX_LIST_BYTES + 1),
    ],
    ids=["empty", "nonsense", "json", "garbage", "binary", "huge"],
)
def test_what_is_no_list_is_refused(data: bytes, use: Use) -> None:
    with pytest.raises(TrustRefused):
        read_list(data, name="x", use=use)


@pytest.mark.parametrize("day", ["yesterday", "2026-13-01", "2026-8-5"])
def test_day_that_is_none_is_refused(pki: Any, day: str) -> None:
    with pytest.raises(TrustRefused, match="is no day"):
        read_list(pem_of(pki.root), name="x", use="signers", dated=day)


# ------------------------------------------------------------------------------ what is kept


@pytest.fixture
def folder(tmp_path: Path) -> TrustFolder:
    return TrustFolder(tmp_path / "trust")


def test_lists_are_kept_and_forgotten(folder: TrustFolder, pki: Any, other_pki: Any) -> None:
    assert folder.load() == NO_LISTS
    first = folder.add(pem_of(pki.root), name="b", kind="signers", dated="2026-08-05")
    second = folder.add(pem_of(other_pki.root), name="a", kind="time-stamps")
    loaded = folder.load()
    assert loaded == TrustLists((second, first))
    assert loaded.roots("signers") == (pki.root,)
    assert loaded.roots("time-stamps") == (other_pki.root,)
    folder.remove("b")
    assert folder.load() == TrustLists((second,))


@pytest.mark.parametrize("name", ["", ".hidden", "../up", "a/b", "a b", "x" * 65, "a\n", "ä"])
def test_name_that_could_be_a_path_is_refused(folder: TrustFolder, pki: Any, name: str) -> None:
    with pytest.raises(TrustRefused, match="is no name"):
        folder.add(pem_of(pki.root), name=name, kind="signers")
    with pytest.raises(TrustRefused, match="no trust list is called"):
        folder.remove(name)


def test_name_is_taken_once(folder: TrustFolder, pki: Any, other_pki: Any) -> None:
    folder.add(pem_of(pki.root), name="x", kind="signers")
    with pytest.raises(TrustRefused) as caught:
        folder.add(pem_of(other_pki.root), name="x", kind="signers")
    assert "trust remove x" in caught.value.mend
    assert folder.load().roots("signers") == (pki.root,)


def test_lists_have_an_end(folder: TrustFolder, pki: Any) -> None:
    for number in range(MAX_LISTS):
        folder.add(pem_of(pki.root), name=f"n{number}", kind="signers")
    with pytest.raises(TrustRefused, match=f"{MAX_LISTS} trust lists"):
        folder.add(pem_of(pki.root), name="more", kind="signers")


def test_refused_list_leaves_nothing_behind(folder: TrustFolder, pki: Any) -> None:
    with pytest.raises(TrustRefused):
        folder.add(pem_of(pki.leaf), name="x", kind="signers")
    assert folder.load() == NO_LISTS


def test_folder_that_cannot_be_written_is_a_fault(tmp_path: Path, pki: Any) -> None:
    (tmp_path / "trust").write_bytes(b"")
    with pytest.raises(StoreUnavailable):
        TrustFolder(tmp_path / "trust").add(pem_of(pki.root), name="x", kind="signers")


def change(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": "0" * 64},
        {"name": "y"},
        {"use": "everything"},
        {"dated": "tomorrow"},
        {"content": "\u4e00"},
        {"more": 1},
        {"schema": "facewarrant/trust/1"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_list_that_was_changed_on_disk_stops_the_verifier(
    folder: TrustFolder, tmp_path: Path, pki: Any, changes: dict[str, object]
) -> None:
    folder.add(pem_of(pki.root), name="x", kind="signers")
    change(tmp_path / "trust" / "x.json", **changes)
    with pytest.raises(TrustRefused, match=r"x\.json"):
        folder.load()


def test_other_roots_under_an_old_digest_are_refused(
    folder: TrustFolder, tmp_path: Path, pki: Any, other_pki: Any
) -> None:
    folder.add(pem_of(pki.root), name="x", kind="signers")
    change(tmp_path / "trust" / "x.json", content=pem_of(other_pki.root).decode())
    with pytest.raises(TrustRefused, match="was changed"):
        folder.load()


def test_use_changed_on_disk_is_judged_anew(
    folder: TrustFolder, tmp_path: Path, make_root: MakeRoot
) -> None:
    pem = pem_of(make_root("Stamps", ExtendedKeyUsageOID.TIME_STAMPING))
    folder.add(pem, name="x", kind="time-stamps")
    change(tmp_path / "trust" / "x.json", use="signers")
    with pytest.raises(TrustRefused, match="no root for signers"):
        folder.load()


# ------------------------------------------------------------------------------ what a root is for


class Reader:
    """Reads as the library does: any anchor vouches for a signer and for a time stamp alike."""

    def __init__(
        self,
        *,
        signer: tuple[x509.Certificate, ...],
        stamp: tuple[x509.Certificate, ...] = (),
        expired: bool = False,
    ) -> None:
        self.signer, self.stamp, self.expired = set(signer), set(stamp), expired
        self.calls = 0

    def __call__(self, anchors: TrustAnchors) -> ManifestReading:
        self.calls += 1
        given = {*anchors.certificates, *anchors.time_stamping}
        stamped = bool(given & self.stamp)
        if self.expired and not stamped:
            return ManifestReading("invalid", failures=(EXPIRED, UNTRUSTED))
        known = bool(given & self.signer)
        return ManifestReading(
            "trusted" if known else "intact_untrusted",
            successes=(TRUSTED,) if known else (),
            failures=() if known else (UNTRUSTED,),
            time_stamped=stamped,
        )


@pytest.fixture(scope="module")
def roots(make_root: MakeRoot) -> dict[str, x509.Certificate]:
    """One root for each way in which a verifier may have got it."""
    return {name: make_root(name) for name in ("signers", "time-stamps", "given", "nobody")}


WAYS = [
    # signer's root, stamp's root, expired: verdict, stamped, misused
    ("signers", None, False, "trusted", False, ()),
    ("given", None, False, "trusted", False, ()),
    ("nobody", None, False, "intact_untrusted", False, ()),
    ("time-stamps", None, False, "intact_untrusted", False, ("signer",)),
    ("signers", "time-stamps", False, "trusted", True, ()),
    ("signers", "time-stamps", True, "trusted", True, ()),
    ("given", "given", True, "trusted", True, ()),
    ("given", "time-stamps", True, "trusted", True, ()),
    ("time-stamps", "given", True, "intact_untrusted", True, ("signer",)),
    ("signers", "given", True, "trusted", True, ()),
    ("signers", "signers", False, "trusted", False, ("time stamp",)),
    ("signers", "signers", True, "invalid", False, ("time stamp",)),
    ("signers", "nobody", True, "invalid", False, ()),
    ("time-stamps", "time-stamps", True, "intact_untrusted", True, ("signer",)),
    ("time-stamps", "signers", False, "intact_untrusted", False, ("time stamp", "signer")),
    ("nobody", "time-stamps", True, "intact_untrusted", True, ()),
    ("nobody", "signers", False, "intact_untrusted", False, ("time stamp",)),
]


@pytest.mark.parametrize(("signer", "stamp", "expired", "verdict", "stamped", "misused"), WAYS)
def test_every_root_vouches_for_its_own_use_alone(
    roots: dict[str, x509.Certificate],
    signer: str,
    stamp: str | None,
    expired: bool,
    verdict: str,
    stamped: bool,
    misused: tuple[str, ...],
) -> None:
    read = Reader(signer=(roots[signer],), stamp=(roots[stamp],) if stamp else (), expired=expired)
    lists = TrustLists(
        tuple(
            TrustList(use, use, "", "0" * 64, (roots[use],))
            for use in ("signers", "time-stamps")  # type: ignore[arg-type]
        )
    )
    found = read_by_use(read, TrustAnchors((roots["given"],)), lists)
    assert (found.verdict, found.time_stamped) == (verdict, stamped)
    assert set(found.misused) == set(misused)
    assert found.signer_trusted == (verdict == "trusted")
    assert read.calls <= 6


def test_root_on_both_lists_vouches_for_both(roots: dict[str, x509.Certificate]) -> None:
    one = roots["signers"]
    lists = TrustLists(
        tuple(
            TrustList(use, use, "", "0" * 64, (one,))
            for use in ("signers", "time-stamps")  # type: ignore[arg-type]
        )
    )
    read = Reader(signer=(one,), stamp=(one,), expired=True)
    found = read_by_use(read, TrustAnchors(()), lists)
    assert (found.verdict, found.time_stamped, found.misused) == ("trusted", True, ())


def test_without_lists_a_file_is_read_once(roots: dict[str, x509.Certificate]) -> None:
    read = Reader(signer=(roots["given"],))
    assert read_by_use(read, TrustAnchors((roots["given"],)), NO_LISTS).verdict == "trusted"
    assert read.calls == 1


@pytest.mark.parametrize("use", ["signers", "time-stamps"])
def test_signed_file_under_a_list_of_each_use(
    studio: Any, other_pki: Any, sign_elsewhere: Any, use: Use
) -> None:
    data = sign_elsewhere(other_pki, studio.picture("persona6_0", "image/jpeg").data)
    listed = read_list(pem_of(other_pki.root), name="list", use=use, dated="2026-08-05")
    verifier = Verifier(TrustAnchors(()), lists=TrustLists((listed,)))
    examined = verifier.examine(data)
    lines = {line.subject: line for line in examined.evidence}
    assert lines["trust lists"].words == listed.words
    if use == "signers":
        assert examined.result().verdict == "authentic"
        return
    with pytest.raises(Untrusted):
        examined.result()
    assert lines["trust"].state == "fails"
    assert "given for time stamps alone" in lines["trust"].words


@pytest.mark.parametrize(
    ("uses", "verdict", "stamp"),
    [
        (("signers", "time-stamps"), "authentic", "holds"),
        (("signers",), "authentic", "warns"),
        (("time-stamps",), "untrusted", "holds"),
    ],
)
def test_stamped_release_under_lists(
    gallery: Any, uses: tuple[Use, ...], verdict: str, stamp: str
) -> None:
    """One root issued signer and authority: each list makes it vouch for its own use alone."""
    walls, released = gallery
    pem = pem_of(walls.pki.root)
    lists = TrustLists(tuple(read_list(pem, name=use, use=use) for use in uses))
    verifier = Verifier(TrustAnchors(()), lists=lists)
    examined = verifier.examine(released["image/jpeg"].data)
    lines = {line.subject: line for line in examined.evidence}
    assert lines["time stamp"].state == stamp
    if stamp == "warns":
        assert "given for signers alone" in lines["time stamp"].words
    if verdict == "untrusted":
        assert isinstance(examined.outcome, Untrusted)
    else:
        assert examined.result().verdict == verdict
