"""RFC 3161 time stamps as bytes: reading a query, answering it, and judging an answer.

The only module that touches `asn1crypto`. Refused, each with its reason: an answer that is none, or
that the authority refused; another nonce, digest or hash algorithm than was asked for; a time far
from our clock; a signature that does not verify; a certificate that is not there, is not for time
stamping alone, was not valid at the stamped time, or leads to none of the given authorities.

Sources: RFC 3161 (2.4), RFC 5652 (5.4, 5.6), RFC 5816 (ESSCertIDv2); digests after C2PA 2.2, 13.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hmac import compare_digest
from typing import Any, Literal

from asn1crypto import algos, cms, core, tsp  # type: ignore[import-untyped]
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from provenance.chains import ChainRefused
from provenance.errors import SigningFailed
from provenance.paths import lint_time_stamping, require_path

MAX_QUERY_BYTES = 4096
"""A query is some 70 bytes; extensions may make it longer, never this long."""

MAX_REPLY_BYTES = 64 * 1024
"""A reply with its chain has 2 to 7 kB; more does not fit the manifest and is no time stamp."""

MAX_SKEW = timedelta(minutes=2)
"""How far an authority's clock may be from ours; our own choice, authorities keep to a second."""

POLICY = "1.2.3.4.1"
"""Policy of the local authority: the example of OpenSSL's configuration, which promises nothing."""

Reason = Literal[
    "malformed",
    "rejected",
    "nonce",
    "digest",
    "clock",
    "signature",
    "certificate",
    "expired",
    "untrusted",
]

_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


class TimeStampRefused(SigningFailed):
    """A time stamp is not what was asked for; `reason` is the machine form of why."""

    code = "TSA-REFUSED"

    def __init__(self, reason: Reason, message: str, *, mend: str = "") -> None:
        super().__init__(message, mend=mend)
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True)
class TimeStamp:
    """What a verified time stamp says: the moment, and who says so (the certificate's name)."""

    at: datetime
    authority: str


def verify_reply(
    reply: bytes,
    *,
    query: bytes,
    authorities: Sequence[x509.Certificate],
    now: datetime,
) -> TimeStamp:
    """Return the time stamp in `reply`, an answer to `query`, both DER; else TimeStampRefused.

    `authorities`: CAs that the certificate of the time stamp must lead to; `now`: our own time.
    """
    if len(reply) > MAX_REPLY_BYTES:
        raise TimeStampRefused("malformed", f"a time stamp has at most {MAX_REPLY_BYTES} bytes")
    with _parsing():
        asked = tsp.TimeStampReq.load(query, strict=True)
        answer = _Answer.load(reply, strict=True)
        _require_granted(answer["status"])
        signed = _signed_data(answer["time_stamp_token"])
        content = signed["encap_content_info"]["content"]
        info = content.parsed
        if not isinstance(info, tsp.TSTInfo):
            raise TimeStampRefused("malformed", "the answer signs something else than a time")
        _require_asked(info, asked)
        [signer] = signed["signer_infos"]
        pool = [x509.load_der_x509_certificate(c.dump()) for c in signed["certificates"]]
        leaf = _find_signer(signer, pool)
        _require_signed(signer, bytes(content), leaf)
        at: datetime = info["gen_time"].native
    if abs(at - now) > MAX_SKEW:
        raise TimeStampRefused(
            "clock",
            f"the authority says {at:%Y-%m-%d %H:%M:%S} UTC, this machine {now:%Y-%m-%d %H:%M:%S}",
            mend="set this machine's clock, or use another authority",
        )
    _require_trusted(leaf, pool, authorities, at)
    return TimeStamp(at, leaf.subject.rfc4514_string())


def answer_query(
    query: bytes,
    *,
    key: ec.EllipticCurvePrivateKey,
    certificate: x509.Certificate,
    now: datetime,
    serial: int,
) -> bytes:
    """Return the DER answer of an authority with this key to a DER query, at time `now`.

    The certificate is put in where the query asks for it. Raises TimeStampRefused (malformed) for
    a query that is none, or has a digest other than SHA-256, SHA-384 or SHA-512 of its length.
    """
    if len(query) > MAX_QUERY_BYTES:
        raise TimeStampRefused("malformed", f"a query has at most {MAX_QUERY_BYTES} bytes")
    with _parsing():
        asked = tsp.TimeStampReq.load(query, strict=True)
        imprint = asked["message_imprint"]
        method = _HASHES.get(imprint["hash_algorithm"]["algorithm"].native)
        digest: bytes = imprint["hashed_message"].native
        if method is None or len(digest) != method.digest_size:
            raise TimeStampRefused("malformed", "only SHA-256, SHA-384 and SHA-512 are stamped")
        fields: dict[str, Any] = {
            "version": "v1",
            "policy": POLICY,
            "message_imprint": imprint,
            "serial_number": serial,
            "gen_time": now.astimezone(UTC).replace(microsecond=0),
            "accuracy": {"seconds": 1},
        }
        if asked["nonce"].native is not None:
            fields["nonce"] = asked["nonce"].native
        info = tsp.TSTInfo(fields)
        with_chain = bool(asked["cert_req"].native)
    token = _sign_token(info, key, certificate, with_chain=with_chain)
    return bytes(
        tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token}).dump()
    )


def make_query(digest: bytes, *, nonce: int) -> bytes:
    """Return a DER query for a SHA-256 digest that asks for the certificate too."""
    imprint = {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": digest}
    fields = {"version": "v1", "message_imprint": imprint, "nonce": nonce, "cert_req": True}
    return bytes(tsp.TimeStampReq(fields).dump())


class _Answer(core.Sequence):  # type: ignore[misc]
    """TimeStampResp of RFC 3161, 2.4.2; asn1crypto's own wants a token in refusals too."""

    _fields = [  # noqa: RUF012 - the library's own form
        ("status", tsp.PKIStatusInfo),
        ("time_stamp_token", cms.ContentInfo, {"optional": True}),
    ]


@contextmanager
def _parsing() -> Iterator[None]:
    """Turn what the parsers raise into a refusal; they parse a field only when asked for it."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise TimeStampRefused("malformed", "this is no RFC 3161 time stamp") from error


def _require_granted(status: Any) -> None:
    if status["status"].native not in ("granted", "granted_with_mods"):
        failure = status["fail_info"].native or ()
        words = ", ".join(sorted(failure)) or str(status["status"].native)
        raise TimeStampRefused("rejected", f"the authority refused to stamp: {words}")


def _signed_data(token: Any) -> Any:
    if token["content_type"].native != "signed_data":
        raise TimeStampRefused("malformed", "the answer holds no signed time stamp")
    return token["content"]


def _require_asked(info: Any, asked: Any) -> None:
    """Refuse a stamp of other bytes, or one that answers another query."""
    if info["message_imprint"].native != asked["message_imprint"].native:
        raise TimeStampRefused("digest", "the authority stamped something else")
    if info["nonce"].native != asked["nonce"].native:
        raise TimeStampRefused("nonce", "the answer belongs to another query: its nonce differs")


def _find_signer(signer: Any, pool: Sequence[x509.Certificate]) -> x509.Certificate:
    """Return the certificate that the signed attributes name, by its digest."""
    attributes = {a["type"].native: a["values"] for a in signer["signed_attrs"]}
    if "signing_certificate_v2" in attributes:
        [named] = attributes["signing_certificate_v2"]
        entry = named["certs"][0]
        method = entry["hash_algorithm"]["algorithm"].native
    else:
        [named] = attributes["signing_certificate"]  # RFC 3161 names it by SHA-1, no more
        entry, method = named["certs"][0], "sha1"
    wanted: bytes = entry["cert_hash"].native
    for certificate in pool:
        der = certificate.public_bytes(serialization.Encoding.DER)
        found = hashlib.new(method, der, usedforsecurity=method != "sha1").digest()
        if compare_digest(found, wanted):
            return certificate
    raise TimeStampRefused("certificate", "the certificate of the time stamp is not in the answer")


def _require_signed(signer: Any, content: bytes, leaf: x509.Certificate) -> None:
    """Refuse unless the signed attributes name the content and the leaf's key signed them."""
    attributes = {a["type"].native: a["values"] for a in signer["signed_attrs"]}
    method = _HASHES[signer["digest_algorithm"]["algorithm"].native]
    hasher = hashes.Hash(method)
    hasher.update(content)
    if not compare_digest(hasher.finalize(), attributes["message_digest"][0].native):
        raise TimeStampRefused("signature", "the signature is over another time stamp")
    signed = signer["signed_attrs"].untag().dump(force=True)
    try:
        _verify(leaf.public_key(), signer, signed, method)
    except InvalidSignature as error:
        raise TimeStampRefused("signature", "the signature of the time stamp is wrong") from error


def _verify(key: object, signer: Any, signed: bytes, digest: hashes.HashAlgorithm) -> None:
    signature: bytes = signer["signature"].native
    algorithm = signer["signature_algorithm"]
    kind = algorithm.signature_algo
    # A bare "rsaEncryption" or "ecPublicKey" leaves the hash to the digest algorithm (RFC 5754).
    named = algorithm["algorithm"].native.startswith("sha")
    method = _HASHES[algorithm.hash_algo] if named else digest
    if isinstance(key, rsa.RSAPublicKey) and kind == "rsassa_pkcs1v15":
        key.verify(signature, signed, padding.PKCS1v15(), method)
    elif isinstance(key, ec.EllipticCurvePublicKey) and kind == "ecdsa":
        key.verify(signature, signed, ec.ECDSA(method))
    else:
        raise TimeStampRefused("signature", "the time stamp is signed in a way we do not accept")


def _require_trusted(
    leaf: x509.Certificate,
    pool: Sequence[x509.Certificate],
    authorities: Sequence[x509.Certificate],
    at: datetime,
) -> None:
    try:
        lint_time_stamping(leaf)
    except ChainRefused as error:
        raise TimeStampRefused("certificate", error.message, mend=error.mend) from error
    try:
        require_path(leaf, pool, authorities, at=at)
    except ChainRefused as error:
        reason: Reason = "expired" if error.reason in ("expired", "not-yet-valid") else "untrusted"
        raise TimeStampRefused(reason, error.message, mend=error.mend) from error


def _sign_token(
    info: Any, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, *, with_chain: bool
) -> Any:
    der = certificate.public_bytes(serialization.Encoding.DER)
    ours = asn1_x509.Certificate.load(der)
    content = info.dump()
    sha256 = algos.DigestAlgorithm({"algorithm": "sha256"})
    named = tsp.SigningCertificateV2({"certs": [{"cert_hash": hashlib.sha256(der).digest()}]})
    attributes = cms.CMSAttributes(
        [
            {"type": "content_type", "values": ["tst_info"]},
            {"type": "message_digest", "values": [hashlib.sha256(content).digest()]},
            {"type": "signing_certificate_v2", "values": [named]},
        ]
    )
    signer = {
        "version": "v1",
        "sid": cms.SignerIdentifier(
            {
                "issuer_and_serial_number": {
                    "issuer": ours.issuer,
                    "serial_number": ours.serial_number,
                }
            }
        ),
        "digest_algorithm": sha256,
        "signed_attrs": attributes,
        "signature_algorithm": {"algorithm": "sha256_ecdsa"},
        "signature": key.sign(attributes.dump(), ec.ECDSA(hashes.SHA256())),
    }
    signed: dict[str, Any] = {
        "version": "v3",
        "digest_algorithms": [sha256],
        "encap_content_info": {
            "content_type": "tst_info",
            "content": core.ParsableOctetString(content),
        },
        "signer_infos": [signer],
    }
    if with_chain:
        signed["certificates"] = [ours]
    return cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(signed)})
