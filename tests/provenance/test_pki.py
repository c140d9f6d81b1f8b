"""Chains and anchors: the development PKI is fit, every unfit chain is refused with its reason."""

from __future__ import annotations

import contextlib
import dataclasses
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance.chains import leaf_algorithm
from provenance.pki import (
    CLAIM_SIGNING,
    Chain,
    ChainRefused,
    DevelopmentChain,
    TrustAnchors,
    is_development_root,
    lint_chain,
    load_anchors,
    load_authority,
    load_chain,
    make_development_chain,
    parse_chain,
    remaining_days,
    renew_chain,
    save_chain,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def made() -> DevelopmentChain:
    return make_development_chain(organisation="Test Studio", now=NOW)


@dataclasses.dataclass
class Shape:
    """A certificate to make; the defaults are a good leaf."""

    name: str = "leaf"
    ca: bool = False
    path_length: int | None = None
    cert_sign: bool = False
    digital_signature: bool = True
    constraints: bool = True
    usage: bool = True
    ekus: tuple[x509.ObjectIdentifier, ...] = (CLAIM_SIGNING,)
    days: int = 365
    key: Any = None
    hash: Any = dataclasses.field(default_factory=hashes.SHA256)

    def __post_init__(self) -> None:
        self.key = self.key or ec.generate_private_key(ec.SECP256R1())


def certificate(shape: Shape, issuer: Shape) -> x509.Certificate:
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    others = "content_commitment key_encipherment data_encipherment key_agreement crl_sign"
    usage = dict.fromkeys([*others.split(), "encipher_only", "decipher_only"], False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(shape.name))
        .issuer_name(named(issuer.name))
        .public_key(shape.key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW - DAY + shape.days * DAY)
    )
    if shape.constraints:
        builder = builder.add_extension(x509.BasicConstraints(shape.ca, shape.path_length), True)
    if shape.usage:
        builder = builder.add_extension(
            x509.KeyUsage(
                digital_signature=shape.digital_signature, key_cert_sign=shape.cert_sign, **usage
            ),
            True,
        )
    if shape.ekus:
        builder = builder.add_extension(x509.ExtendedKeyUsage(shape.ekus), False)
    return builder.sign(issuer.key, shape.hash)


def authority(name: str = "ca", **changes: Any) -> Shape:
    return Shape(**({"name": name, "ca": True, "cert_sign": True, "ekus": ()} | changes))


def chain_of(leaf: Shape, ca: Shape | None = None) -> Chain:
    ca = ca or authority()
    return Chain((certificate(leaf, ca), certificate(ca, authority("root"))))


def refusal(chain: Chain, *, now: datetime = NOW, **given: Any) -> str:
    with pytest.raises(ChainRefused) as caught:
        lint_chain(chain, now=now, **given)
    assert caught.value.code == "CERTIFICATE-REFUSED"
    return caught.value.reason


def test_development_chain_is_fit(made: DevelopmentChain) -> None:
    lint_chain(made.chain, now=NOW, key=made.leaf_key.public_key())
    lint_chain(Chain((made.leaf, made.issuing, made.root)), now=NOW)
    assert remaining_days(made.chain, now=NOW) == 364


def test_development_leaf_follows_the_profile(made: DevelopmentChain) -> None:
    extensions = made.leaf.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    ekus = extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert made.leaf.version is x509.Version.v3
    assert (constraints.value.ca, constraints.critical) == (False, True)
    assert (usage.value.digital_signature, usage.value.content_commitment) == (True, True)
    assert (usage.critical, ekus.critical) == (True, False)
    assert set(ekus.value) == {CLAIM_SIGNING, ExtendedKeyUsageOID.EMAIL_PROTECTION}
    extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    extensions.get_extension_for_class(x509.AuthorityInformationAccess)
    [policy] = extensions.get_extension_for_class(x509.CertificatePolicies).value
    assert policy.policy_identifier.dotted_string == "1.3.6.1.4.1.62558.1.1"
    level = extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.6.1.4.1.62558.3")).value
    assert isinstance(level, x509.UnrecognizedExtension)
    assert level.value == bytes.fromhex("060a2b0601040183e85e030a")
    names = {a.oid: a.value for a in made.leaf.subject}
    assert names[NameOID.ORGANIZATION_NAME] == "Test Studio"
    assert names[NameOID.COUNTRY_NAME] == "DE"
    issuing = made.issuing.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (issuing.ca, issuing.path_length) == (True, 0)


def test_private_key_is_not_in_the_repr(made: DevelopmentChain) -> None:
    assert "key" not in repr(made).lower().replace("<key", "")


@pytest.mark.parametrize("country", ["", "DEU"])
def test_bad_name_is_refused(country: str) -> None:
    with pytest.raises(ChainRefused) as caught:
        make_development_chain(organisation="Test", now=NOW, country=country)
    assert caught.value.reason == "name"


@pytest.mark.parametrize("organisation", ["", "x" * 65])
def test_bad_organisation_is_refused(organisation: str) -> None:
    with pytest.raises(ChainRefused) as caught:
        make_development_chain(organisation=organisation, now=NOW)
    assert caught.value.reason == "name"


def test_files_are_private_and_load_again(made: DevelopmentChain, tmp_path: Path) -> None:
    save_chain(made, tmp_path / "pki")
    assert stat.S_IMODE((tmp_path / "pki" / "key.pem").stat().st_mode) == 0o600
    assert load_chain(tmp_path / "pki" / "chain.pem") == made.chain
    root = [tmp_path / "pki" / "root.pem"]
    assert load_anchors(root, time_stamping=root) == made.anchors
    assert sorted(p.name for p in (tmp_path / "pki").iterdir()) == [
        "chain.pem",
        "key.pem",
        "root.pem",
        "tsa-key.pem",
        "tsa.pem",
    ]
    assert stat.S_IMODE((tmp_path / "pki" / "tsa-key.pem").stat().st_mode) == 0o600


def test_the_local_authority_loads_again(made: DevelopmentChain, tmp_path: Path) -> None:
    save_chain(made, tmp_path)
    found = load_authority(tmp_path, clock=lambda: NOW)
    assert found.certificate == made.tsa
    assert found.key.public_key() == made.tsa.public_key()


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [("leaf", "eku"), ("issuing", "eku"), ("other", "key-mismatch"), ("junk", "unreadable")],
)
def test_an_unfit_local_authority_is_refused(
    made: DevelopmentChain, tmp_path: Path, certificate: str, reason: str
) -> None:
    save_chain(made, tmp_path)
    other = make_development_chain(organisation="Other", now=NOW).tsa
    certificates = {"leaf": made.leaf, "issuing": made.issuing, "other": other}
    found = certificates.get(certificate)
    (tmp_path / "tsa.pem").write_text(Chain((found,)).pem if found else "junk")
    with pytest.raises(ChainRefused) as caught:
        load_authority(tmp_path, clock=lambda: NOW)
    assert caught.value.reason == reason


def test_a_local_authority_with_another_kind_of_key_is_refused(
    made: DevelopmentChain, tmp_path: Path
) -> None:
    ed = make_development_chain(organisation="Other", now=NOW, algorithm="Ed25519")
    save_chain(dataclasses.replace(made, tsa_key=ed.leaf_key), tmp_path)
    with pytest.raises(ChainRefused) as caught:
        load_authority(tmp_path, clock=lambda: NOW)
    assert caught.value.reason == "key-mismatch"


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "Ed25519", "PS256"])
def test_a_chain_of_every_algorithm_is_fit(algorithm: Any) -> None:
    chain = make_development_chain(organisation="Test", now=NOW, algorithm=algorithm)
    lint_chain(chain.chain, now=NOW, key=chain.leaf_key.public_key())
    assert leaf_algorithm(chain.chain) == algorithm


def test_renewal_keeps_the_old_root_beside_the_new(made: DevelopmentChain, tmp_path: Path) -> None:
    save_chain(made, tmp_path)
    later = NOW + timedelta(days=340)
    new = make_development_chain(organisation="Test Studio", now=later)
    renew_chain(new, tmp_path)
    assert load_chain(tmp_path / "chain.pem") == new.chain
    assert load_authority(tmp_path, clock=lambda: later).certificate == new.tsa
    assert load_anchors([tmp_path / "root.pem"]).certificates == (new.root, made.root)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    lint_chain(load_chain(tmp_path / "chain.pem"), now=later, key=new.leaf_key.public_key())
    lint_chain(made.chain, now=later)  # both are valid for a while
    assert not list(tmp_path.glob("*.new"))


def test_a_renewal_that_stopped_is_mended_by_the_next(
    made: DevelopmentChain, tmp_path: Path
) -> None:
    save_chain(made, tmp_path)
    (tmp_path / "key.pem.new").write_text("half")
    (tmp_path / "chain.pem").unlink()
    new = make_development_chain(organisation="Test Studio", now=NOW)
    renew_chain(new, tmp_path)
    assert load_chain(tmp_path / "chain.pem") == new.chain
    assert not list(tmp_path.glob("*.new"))


def test_a_renewal_without_the_old_root_is_refused(made: DevelopmentChain, tmp_path: Path) -> None:
    with pytest.raises(ChainRefused) as caught:
        renew_chain(made, tmp_path)
    assert caught.value.reason == "unreadable"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["key.pem", "chain.pem", "root.pem", "tsa.pem", "tsa-key.pem"])
def test_nothing_is_overwritten(made: DevelopmentChain, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(ChainRefused) as caught:
        save_chain(made, tmp_path)
    assert caught.value.reason == "exists"
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "precious"


def test_dates(made: DevelopmentChain) -> None:
    assert refusal(made.chain, now=NOW - DAY) == "not-yet-valid"
    assert refusal(made.chain, now=NOW + 365 * DAY) == "expired"
    lint_chain(made.chain, now=NOW + 364 * DAY)
    assert remaining_days(made.chain, now=NOW + 400 * DAY) < 0


def test_wrong_order_is_refused(made: DevelopmentChain) -> None:
    other = make_development_chain(organisation="Other", now=NOW)
    assert refusal(Chain((made.issuing, made.leaf))) == "ca-leaf"
    assert refusal(Chain((made.leaf, made.root))) == "order"
    assert refusal(Chain((made.leaf, other.issuing))) == "order"
    assert refusal(Chain((made.leaf, made.root, made.issuing))) == "order"
    assert refusal(Chain((made.leaf,))) == "incomplete"


def test_key_of_another_certificate_is_refused(made: DevelopmentChain) -> None:
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert refusal(made.chain, key=other) == "key-mismatch"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ca": True, "cert_sign": True}, "ca-leaf"),
        ({"constraints": False}, "ca-leaf"),
        ({"cert_sign": True}, "key-usage"),
        ({"digital_signature": False}, "key-usage"),
        ({"usage": False}, "key-usage"),
        ({"ekus": ()}, "eku"),
        ({"ekus": (ExtendedKeyUsageOID.CODE_SIGNING,)}, "eku"),
        ({"ekus": (ExtendedKeyUsageOID.EMAIL_PROTECTION,)}, "eku"),
        ({"ekus": (CLAIM_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)}, "eku"),
        ({"ekus": (CLAIM_SIGNING, ExtendedKeyUsageOID.TIME_STAMPING)}, "eku"),
        ({"ekus": (CLAIM_SIGNING, ExtendedKeyUsageOID.OCSP_SIGNING)}, "eku"),
        ({"days": 367}, "too-long"),
        ({"key": ec.generate_private_key(ec.SECP521R1())}, "weak-key"),
        ({"key": ec.generate_private_key(ec.SECP256K1())}, "weak-key"),
        ({"key": ec.generate_private_key(ec.SECP192R1())}, "weak-key"),
        ({"key": rsa.generate_private_key(65537, 1024)}, "weak-key"),  # noqa: S505
        ({"key": dsa.generate_private_key(1024)}, "weak-key"),  # noqa: S505
    ],
)
def test_unfit_leaf_is_refused(changes: dict[str, Any], reason: str) -> None:
    assert refusal(chain_of(Shape(**changes))) == reason


def test_fit_leaf_of_the_same_maker_passes() -> None:
    lint_chain(chain_of(Shape(days=366)), now=NOW)


def test_self_signed_leaf_is_refused() -> None:
    leaf = Shape()
    assert refusal(Chain((certificate(leaf, leaf),))) == "self-signed"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ca": False}, "not-a-ca"),
        ({"cert_sign": False}, "not-a-ca"),
        ({"constraints": False}, "not-a-ca"),
        ({"usage": False}, "not-a-ca"),
        ({"days": 1}, "expired"),
        ({"key": rsa.generate_private_key(65537, 1024)}, "weak-key"),  # noqa: S505  # noqa: S505
        ({"key": ec.generate_private_key(ec.SECP224R1())}, "weak-key"),
    ],
)
def test_unfit_issuer_is_refused(changes: dict[str, Any], reason: str) -> None:
    assert refusal(chain_of(Shape(), authority(**changes)), now=NOW) == reason


def test_issuer_with_an_rsa_key_passes() -> None:
    ca = authority(key=rsa.generate_private_key(65537, 2048))
    lint_chain(chain_of(Shape(), ca), now=NOW)


def test_path_length_is_kept() -> None:
    lower, upper, root = authority("lower"), authority("upper", path_length=0), authority("root")
    certificates = (
        certificate(Shape(), lower),
        certificate(lower, upper),
        certificate(upper, root),
    )
    assert refusal(Chain(certificates)) == "not-a-ca"


def test_weak_hash_is_refused() -> None:
    # SHA3 is not weak, but no C2PA engine verifies it; SHA-1 cannot be made any more.
    assert refusal(chain_of(Shape(hash=hashes.SHA3_256()))) == "weak-hash"


@pytest.mark.parametrize("count", [0, 6])
def test_chain_length_is_limited(made: DevelopmentChain, count: int) -> None:
    with pytest.raises(ChainRefused) as caught:
        Chain((made.leaf,) * count)
    assert caught.value.reason == "unreadable"


# ------------------------------------------------------------------------------ anchors


def test_leaf_is_no_anchor(made: DevelopmentChain, tmp_path: Path) -> None:
    leaf = Shape()
    for certificates in (made.chain.certificates, (certificate(leaf, leaf),)):
        path = tmp_path / "anchors.pem"
        path.write_text(Chain(certificates).pem)
        with pytest.raises(ChainRefused) as caught:
            load_anchors([path])
        assert caught.value.reason == "not-a-ca"


def test_several_anchors_in_several_files(made: DevelopmentChain, tmp_path: Path) -> None:
    other = make_development_chain(organisation="Other", now=NOW)
    (tmp_path / "a.pem").write_text(made.anchors.pem + other.anchors.pem)
    (tmp_path / "b.pem").write_text(TrustAnchors((made.issuing,)).pem)
    anchors = load_anchors([tmp_path / "a.pem", tmp_path / "b.pem"])
    assert anchors.certificates == (made.root, other.root, made.issuing)
    assert anchors.fingerprints[0] == made.root.fingerprint(hashes.SHA256()).hex()


def test_a_chain_signed_by_ed25519_is_fit() -> None:
    ca = authority(key=ed25519.Ed25519PrivateKey.generate(), hash=None)
    root = authority("root", key=ed25519.Ed25519PrivateKey.generate(), hash=None)
    leaf = Shape(hash=None)
    lint_chain(Chain((certificate(leaf, ca), certificate(ca, root))), now=NOW)


def test_an_authority_of_time_stamps_vouches_for_nothing_else() -> None:
    ca, root = authority("ca"), authority("root")
    general = certificate(ca, root)
    for signers in ((), (certificate(root, root),)):
        with pytest.raises(ChainRefused) as caught:
            TrustAnchors(signers, (general,))
        assert caught.value.reason == "eku"
        assert "not the root" in caught.value.mend
    alone = authority("tsa", ekus=(ExtendedKeyUsageOID.TIME_STAMPING,))
    found = TrustAnchors((), (certificate(alone, root),))
    assert (found.pem, found.time_stamping_pem.count("BEGIN")) == ("", 1)
    both = authority("b", ekus=(ExtendedKeyUsageOID.TIME_STAMPING, CLAIM_SIGNING))
    with pytest.raises(ChainRefused):
        TrustAnchors((), (certificate(both, root),))
    leaf = Shape(ekus=(ExtendedKeyUsageOID.TIME_STAMPING,))
    with pytest.raises(ChainRefused) as caught:
        TrustAnchors((), (certificate(leaf, alone),))
    assert caught.value.reason == "not-a-ca"
    TrustAnchors((general,), (general,))  # who gives it for both says so


def test_no_anchors_is_allowed_and_empty() -> None:
    assert load_anchors([]) == TrustAnchors(())
    assert (TrustAnchors(()).pem, TrustAnchors(()).fingerprints) == ("", ())


# ------------------------------------------------------------------------------ hostile files


def test_missing_file(tmp_path: Path) -> None:
    for load in (load_chain, lambda path: load_anchors([path])):
        with pytest.raises(ChainRefused) as caught:
            load(tmp_path / "absent.pem")
        assert caught.value.reason == "unreadable"


_MADE = make_development_chain(organisation="Test Studio", now=NOW)
_PEM = _MADE.chain.pem.encode()
_DER = _MADE.leaf.public_bytes(Encoding.DER)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(data=st.binary(min_size=1, max_size=400), at=st.integers(0, len(_PEM)))
def test_damaged_pem_is_refused_or_the_same_chain(data: bytes, at: int) -> None:
    with pytest.raises(ChainRefused):
        parse_chain(data)
    with contextlib.suppress(ChainRefused):  # text between PEM blocks is allowed
        chain = parse_chain(_PEM[:at] + data + _PEM[at:])
        lint_chain(chain, now=NOW)
        assert chain == _MADE.chain


@settings(derandomize=True, max_examples=200, deadline=None)
@given(at=st.integers(0, len(_DER) - 1), bit=st.integers(0, 7))
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_flipped_certificate_is_never_fit(at: int, bit: int) -> None:
    der = bytearray(_DER)
    der[at] ^= 1 << bit
    try:
        leaf = x509.load_der_x509_certificate(bytes(der))
    except ValueError:
        return
    with pytest.raises(ChainRefused):
        lint_chain(Chain((leaf, _MADE.issuing)), now=NOW)
    with pytest.raises(ChainRefused):
        TrustAnchors((leaf,))


def test_a_development_root_is_known_by_its_name(made: DevelopmentChain) -> None:
    assert is_development_root(made.root)
    assert not is_development_root(made.issuing)
    assert not is_development_root(certificate(authority(), authority()))
