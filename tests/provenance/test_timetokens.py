"""Time stamps as bytes: ours verify in openssl, openssl's verify here, wrong ones nowhere."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms, core, tsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance.pki import DevelopmentChain, make_development_chain
from provenance.timetokens import (
    MAX_QUERY_BYTES,
    MAX_REPLY_BYTES,
    TimeStampRefused,
    answer_query,
    make_query,
    verify_reply,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DIGEST = hashlib.sha256(b"a signature").digest()
QUERY = make_query(DIGEST, nonce=7)
TSA = (ExtendedKeyUsageOID.TIME_STAMPING,)

PKI = make_development_chain(organisation="Test Studio", now=NOW)


def answer(
    query: bytes = QUERY, *, made: DevelopmentChain = PKI, now: datetime = NOW, serial: int = 5
) -> bytes:
    return answer_query(query, key=made.tsa_key, certificate=made.tsa, now=now, serial=serial)


def verify(reply: bytes, *, query: bytes = QUERY, now: datetime = NOW, trusted: Any = None) -> Any:
    authorities = (PKI.root,) if trusted is None else trusted
    return verify_reply(reply, query=query, authorities=authorities, now=now)


def refusal(reply: bytes, **given: Any) -> str:
    with pytest.raises(TimeStampRefused) as caught:
        verify(reply, **given)
    assert caught.value.code == "TSA-REFUSED"
    return caught.value.reason


GOOD = answer()


def test_a_good_stamp_says_when_and_who() -> None:
    found = verify(GOOD, now=NOW + timedelta(seconds=3))
    assert found.at == NOW
    assert found.authority == PKI.tsa.subject.rfc4514_string()
    assert "Time Stamps" in found.authority


def test_the_nonce_and_the_digest_are_those_that_were_asked() -> None:
    other = hashlib.sha256(b"another signature").digest()
    assert refusal(GOOD, query=make_query(other, nonce=7)) == "digest"
    assert refusal(GOOD, query=make_query(DIGEST, nonce=8)) == "nonce"
    no_nonce = tsp.TimeStampReq.load(QUERY)
    del no_nonce["nonce"]
    assert refusal(GOOD, query=no_nonce.dump(force=True)) == "nonce"
    verify(answer(no_nonce.dump(force=True)), query=no_nonce.dump(force=True))


@pytest.mark.parametrize(
    ("away", "fine"),
    [(0, True), (119, True), (-119, True), (121, False), (-121, False), (86_400, False)],
)
def test_a_clock_far_from_ours_is_refused(away: int, fine: bool) -> None:
    reply = answer(now=NOW + timedelta(seconds=away))
    if fine:
        verify(reply)
    else:
        assert refusal(reply) == "clock"


def test_another_root_is_not_trusted() -> None:
    other = make_development_chain(organisation="Someone Else", now=NOW)
    assert refusal(GOOD, trusted=(other.root,)) == "untrusted"
    assert refusal(GOOD, trusted=()) == "untrusted"
    assert refusal(answer(made=other)) == "untrusted"


def test_an_expired_authority_is_refused_at_its_own_time() -> None:
    late = NOW + 1826 * DAY
    assert refusal(answer(now=late), now=late) == "expired"
    early = NOW - DAY
    assert refusal(answer(now=early), now=early) == "expired"


def test_a_stamp_is_of_its_time_not_of_ours() -> None:
    """The certificate counts at the stamped time: a stamp from its last day is good."""
    last = PKI.tsa.not_valid_after_utc - timedelta(seconds=1)
    verify(answer(now=last), now=last + timedelta(seconds=5))


@pytest.mark.parametrize("reply", [b"", b"junk", b"\x30\x00", GOOD[:-1], GOOD + b"\x00"])
def test_what_is_no_answer_is_malformed(reply: bytes) -> None:
    assert refusal(reply) == "malformed"


def test_a_huge_answer_is_not_even_parsed() -> None:
    assert refusal(b"\x30" * (MAX_REPLY_BYTES + 1)) == "malformed"


def test_a_query_of_ours_that_is_none_is_malformed() -> None:
    assert refusal(GOOD, query=b"junk") == "malformed"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"status": "rejection", "fail_info": {"bad_alg", "time_not_available"}}, "bad_alg, time"),
        ({"status": "rejection"}, "rejection"),
        ({"status": "revocation_warning"}, "revocation_warning"),
        ({"status": "waiting"}, "waiting"),
    ],
)
def test_a_refusal_of_the_authority_is_told(status: Any, words: str) -> None:
    reply = core.SequenceOf([tsp.PKIStatusInfo(status)], spec=tsp.PKIStatusInfo).dump()
    with pytest.raises(TimeStampRefused, match=words) as caught:
        verify(reply)
    assert caught.value.reason == "rejected"


def test_granted_with_modifications_is_granted() -> None:
    found = tsp.TimeStampResp.load(GOOD)
    found["status"] = {"status": "granted_with_mods"}
    verify(found.dump(force=True))


def test_granted_without_a_stamp_is_malformed() -> None:
    status = tsp.PKIStatusInfo({"status": "granted"})
    reply = core.SequenceOf([status], spec=tsp.PKIStatusInfo).dump()
    assert refusal(reply) == "malformed"


@settings(derandomize=True, max_examples=150, deadline=None)
@given(at=st.integers(0, len(GOOD) - 1), bit=st.integers(0, 7))
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_no_flipped_bit_makes_another_stamp(at: int, bit: int) -> None:
    """It is refused, or it says what the good one says: only unsigned words may differ."""
    reply = bytearray(GOOD)
    reply[at] ^= 1 << bit
    try:
        found = verify(bytes(reply))
    except TimeStampRefused:
        return
    assert found == verify(GOOD)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(data=st.binary(max_size=300))
def test_no_query_breaks_the_authority(data: bytes) -> None:
    with pytest.raises(TimeStampRefused) as caught:
        answer(data)
    assert caught.value.reason == "malformed"


# ------------------------------------------------------------------------------ the authority


@pytest.mark.parametrize("name", ["sha256", "sha384", "sha512"])
def test_the_authority_stamps_sha2(name: str) -> None:
    digest = hashlib.new(name, b"x").digest()
    fields = {
        "version": "v1",
        "message_imprint": {"hash_algorithm": {"algorithm": name}, "hashed_message": digest},
        "cert_req": True,
    }
    query = tsp.TimeStampReq(fields).dump()
    verify(answer(query), query=query)


@pytest.mark.parametrize(
    ("name", "size"), [("sha1", 20), ("md5", 16), ("sha256", 31), ("sha384", 32), ("sha256", 0)]
)
def test_the_authority_stamps_nothing_weak_or_of_another_length(name: str, size: int) -> None:
    imprint = {"hash_algorithm": {"algorithm": name}, "hashed_message": bytes(size)}
    query = tsp.TimeStampReq({"version": "v1", "message_imprint": imprint}).dump()
    with pytest.raises(TimeStampRefused) as caught:
        answer(query)
    assert caught.value.reason == "malformed"


def test_a_long_query_is_not_even_parsed() -> None:
    with pytest.raises(TimeStampRefused, match="at most"):
        answer(bytes(MAX_QUERY_BYTES + 1))


def test_the_certificate_comes_only_when_asked() -> None:
    request = tsp.TimeStampReq.load(QUERY)
    request["cert_req"] = False
    query = request.dump(force=True)
    reply = answer(query)
    assert len(reply) < len(GOOD) / 2
    assert refusal(reply, query=query) in ("malformed", "certificate")  # of no use to a manifest


# ------------------------------------------------------------------------------ openssl


MACHINE = make_development_chain(organisation="Test Studio", now=datetime.now(tz=UTC))


@pytest.fixture
def openssl(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """The `openssl ts` of this machine, beside a chain that is valid by the machine's clock."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")
    (tmp_path / "root.pem").write_text(MACHINE.anchors.pem)
    (tmp_path / "tsa.pem").write_bytes(MACHINE.tsa.public_bytes(Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(
        MACHINE.tsa_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    (tmp_path / "tsa.cnf").write_text(
        "[tsa]\ndefault_tsa = t\n[t]\nserial = serial\nsigner_cert = tsa.pem\n"
        "signer_key = key.pem\nsigner_digest = sha256\ndefault_policy = 1.2.3.4.1\n"
        "digests = sha256\naccuracy = secs:1\nordering = yes\ntsa_name = yes\n"
        "ess_cert_id_alg = sha256\n"
    )
    (tmp_path / "q").write_bytes(QUERY)

    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [program, "ts", *arguments], cwd=tmp_path, capture_output=True, check=False
        )

    return run


def test_openssl_verifies_our_stamp(openssl: Any, tmp_path: Path) -> None:
    now = datetime.now(tz=UTC)
    given = ("-verify", "-queryfile", "q", "-in", "r", "-CAfile", "root.pem")
    (tmp_path / "r").write_bytes(answer(made=MACHINE, now=now))
    found = openssl(*given)
    assert found.returncode == 0, found.stderr
    (tmp_path / "r").write_bytes(answer(make_query(DIGEST, nonce=9), made=MACHINE, now=now))
    assert openssl(*given).returncode != 0


@pytest.mark.parametrize("algorithm", ["sha256", "sha1"])
def test_we_verify_a_stamp_of_openssl(openssl: Any, tmp_path: Path, algorithm: str) -> None:
    """With the certificate named by SHA-256, and by SHA-1 as RFC 3161 first had it."""
    config = (tmp_path / "tsa.cnf").read_text()
    (tmp_path / "tsa.cnf").write_text(config.replace("alg = sha256", f"alg = {algorithm}"))
    made = openssl("-reply", "-config", "tsa.cnf", "-queryfile", "q", "-out", "r")
    assert made.returncode == 0, made.stderr
    now = datetime.now(tz=UTC)
    found = verify((tmp_path / "r").read_bytes(), now=now, trusted=(MACHINE.root,))
    assert abs(found.at - now) < timedelta(minutes=1)


# ------------------------------------------------------------------------------ hostile authorities


@dataclass
class Forger:
    """An authority that does one thing wrong, or differently; everything it makes is signed."""

    key: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    ekus: tuple[x509.ObjectIdentifier, ...] = TSA
    critical: bool = True
    issuer: Forger | None = None
    ca: bool = False
    days: int = 1000

    def certificate(self) -> x509.Certificate:
        def named(forger: Forger) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(id(forger)))])

        issuer = self.issuer or self
        usage = dict.fromkeys(
            ["content_commitment", "key_encipherment", "data_encipherment", "key_agreement"], False
        )
        usage |= dict.fromkeys(["crl_sign", "encipher_only", "decipher_only"], False)
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(self))
            .issuer_name(named(issuer))
            .public_key(self.key.public_key())
            .serial_number(id(self))
            .not_valid_before(NOW - DAY)
            .not_valid_after(NOW - DAY + self.days * DAY)
            .add_extension(x509.BasicConstraints(self.ca, None), True)
            .add_extension(
                x509.KeyUsage(digital_signature=not self.ca, key_cert_sign=self.ca, **usage), True
            )
        )
        if self.ekus:
            builder = builder.add_extension(x509.ExtendedKeyUsage(self.ekus), self.critical)
        return builder.sign(issuer.key, hashes.SHA256())

    def reply(
        self,
        *,
        pool: Any = None,
        algorithm: str = "sha256_ecdsa",
        content: Any = None,
        **changes: Any,
    ) -> bytes:
        own = self.certificate()
        der = own.public_bytes(Encoding.DER)
        info = tsp.TSTInfo(
            {
                "version": "v1",
                "policy": "1.2.3",
                "message_imprint": tsp.TimeStampReq.load(QUERY)["message_imprint"],
                "serial_number": 1,
                "gen_time": NOW,
                "nonce": 7,
            }
        ).dump()
        named = tsp.SigningCertificateV2({"certs": [{"cert_hash": hashlib.sha256(der).digest()}]})
        attributes = {
            "content_type": "tst_info",
            "message_digest": hashlib.sha256(info).digest(),
            "signing_certificate_v2": named,
        } | changes.pop("attributes", {})
        signed = cms.CMSAttributes(
            [{"type": t, "values": [v]} for t, v in attributes.items() if v is not None]
        )
        certificates = [own, *(f.certificate() for f in pool or ())]
        ours = [cms.Certificate.load(c.public_bytes(Encoding.DER)) for c in certificates]
        signer = {
            "version": "v1",
            "sid": cms.SignerIdentifier(
                {
                    "issuer_and_serial_number": {
                        "issuer": ours[0].issuer,
                        "serial_number": ours[0].serial_number,
                    }
                }
            ),
            "digest_algorithm": {"algorithm": "sha256"},
            "signed_attrs": signed,
            "signature_algorithm": {"algorithm": algorithm},
            "signature": self.sign(signed.dump()),
        }
        fields = {
            "version": "v3",
            "digest_algorithms": [{"algorithm": "sha256"}],
            "encap_content_info": content
            or {"content_type": "tst_info", "content": core.ParsableOctetString(info)},
            "signer_infos": [signer],
            "certificates": ours,
        } | changes
        token = {"content_type": "signed_data", "content": cms.SignedData(fields)}
        return tsp.TimeStampResp(
            {"status": {"status": "granted"}, "time_stamp_token": token}
        ).dump()

    def sign(self, data: bytes) -> bytes:
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(data)
        return bytes(self.key.sign(data, ec.ECDSA(hashes.SHA256())))


ROOT = Forger(ca=True, ekus=())
ROOTS = (ROOT.certificate(),)


def test_a_forger_that_does_nothing_wrong_is_believed() -> None:
    verify(Forger(issuer=ROOT).reply(), trusted=ROOTS)


@pytest.mark.parametrize("name", ["sha256_rsa", "rsassa_pkcs1v15"])
def test_an_rsa_authority_is_believed(name: str) -> None:
    forger = Forger(issuer=ROOT, key=rsa.generate_private_key(65537, 2048))
    verify(forger.reply(algorithm=name), trusted=ROOTS)


def test_a_path_by_way_of_a_ca_in_the_answer_is_walked() -> None:
    ca = Forger(ca=True, issuer=ROOT, ekus=())
    leaf = Forger(issuer=ca)
    verify(leaf.reply(pool=[ca]), trusted=ROOTS)
    verify(leaf.reply(pool=[ca, ROOT]), trusted=ROOTS)
    assert refusal(leaf.reply(), trusted=ROOTS) == "untrusted"
    assert refusal(leaf.reply(pool=[ca, ROOT]), trusted=(PKI.root,)) == "untrusted"


def test_a_path_does_not_lead_through_what_is_no_ca() -> None:
    false_ca = Forger(issuer=ROOT)
    leaf = Forger(issuer=false_ca)
    assert refusal(leaf.reply(pool=[false_ca]), trusted=ROOTS) == "untrusted"


def test_a_path_ends_somewhere() -> None:
    issuer = ROOT
    pool = []
    for _ in range(6):
        issuer = Forger(ca=True, issuer=issuer, ekus=())
        pool.append(issuer)
    assert refusal(Forger(issuer=issuer).reply(pool=pool), trusted=ROOTS) == "untrusted"


def test_an_expired_ca_ends_the_path() -> None:
    ca = Forger(ca=True, issuer=ROOT, ekus=(), days=1)
    assert refusal(Forger(issuer=ca).reply(pool=[ca]), trusted=ROOTS) == "expired"
    old = Forger(ca=True, ekus=(), days=1)
    assert refusal(Forger(issuer=old).reply(), trusted=(old.certificate(),)) == "expired"


@pytest.mark.parametrize(
    "changes",
    [
        {"ekus": ()},
        {"ekus": (ExtendedKeyUsageOID.CODE_SIGNING,)},
        {"ekus": (*TSA, ExtendedKeyUsageOID.CODE_SIGNING)},
        {"ekus": (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)},
        {"critical": False},
        {"key": ec.generate_private_key(ec.SECP192R1())},
    ],
)
def test_a_certificate_for_more_than_time_stamps_is_refused(changes: dict[str, Any]) -> None:
    assert refusal(Forger(issuer=ROOT, **changes).reply(), trusted=ROOTS) == "certificate"


def test_the_certificate_must_be_the_one_the_signature_names() -> None:
    forger, other = Forger(issuer=ROOT), Forger(issuer=ROOT)
    named_other = other.certificate()
    der = named_other.public_bytes(Encoding.DER)
    named = tsp.SigningCertificateV2({"certs": [{"cert_hash": hashlib.sha256(der).digest()}]})
    reply = forger.reply(attributes={"signing_certificate_v2": named})
    assert refusal(reply, trusted=ROOTS) == "certificate"
    pair = [cms.Certificate.load(der)]
    reply = forger.reply(attributes={"signing_certificate_v2": named}, certificates=pair)
    assert refusal(reply, trusted=ROOTS) == "signature"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"attributes": {"message_digest": bytes(32)}}, "signature"),
        ({"attributes": {"message_digest": None}}, "malformed"),
        ({"attributes": {"signing_certificate_v2": None}}, "malformed"),
        ({"signer_infos": []}, "malformed"),
        ({"algorithm": "sha256_rsa"}, "signature"),
        ({"algorithm": "sha1_ecdsa"}, "malformed"),
        ({"algorithm": "ed25519"}, "signature"),
        (
            {
                "content": {
                    "content_type": "data",
                    "content": core.ParsableOctetString(b"\x04\x02no"),
                }
            },
            "malformed",
        ),
    ],
)
def test_a_forged_answer_is_refused(changes: dict[str, Any], reason: str) -> None:
    assert refusal(Forger(issuer=ROOT).reply(**changes), trusted=ROOTS) == reason


def test_an_answer_that_is_not_signed_data_is_refused() -> None:
    token = cms.ContentInfo({"content_type": "data", "content": core.OctetString(b"x")})
    reply = tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token})
    assert refusal(reply.dump()) == "malformed"
