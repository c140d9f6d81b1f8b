"""Who signs a claim: a key file, a key service behind a callback, a token, or a signing service.

A signer sees the bytes of one COSE signature structure, never pixels, and refuses unless a warrant
is active now. Refused: no warrant or one that no longer holds; a second claim for the same warrant;
bytes that are no COSE signature structure (the key signs nothing else); a chain that is outside its
dates or does not fit the key; a key file that others may read.
"""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Protocol, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from policies.errors import Error
from policies.keys import PublicKey
from policies.warrant import Warrant, verify_issuer
from policies.warrants import ActiveWarrant, require_active
from provenance.chains import Algorithm, Chain, LeafKey, leaf_algorithm, lint_chain, load_chain
from provenance.errors import SigningFailed
from provenance.notice import WithdrawalNotice, require_notice

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
"""A key that can sign claims, held in this process."""

MAX_KEY_FILE_BYTES = 16_384
"""A PKCS#8 RSA key of 4096 bits is about 3,300 bytes; much more is not a key file."""

_SIGNATURE_STRUCTURE = b"\x84\x6aSignature1"  # CBOR array(4), text "Signature1": RFC 9052, 4.4
_COORDINATE_BYTES = {"ES256": 32, "ES384": 48}
# RFC 8230, 2: MGF1 with the same hash, and a salt as long as the hash.
_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)


class KeyRefused(SigningFailed):
    """The key file is exposed, unreadable or holds no key that can sign claims."""

    code = "KEY-REFUSED"


class AlreadySigned(SigningFailed):
    """One claim is signed per warrant; this warrant has had its signature."""

    code = "ALREADY-SIGNED"


class Signer(Protocol):
    """Signs claims with one key whose certificate chain it knows."""

    @property
    def alg(self) -> Algorithm:
        """How it signs, by the key of the leaf."""

    @property
    def chain_pem(self) -> str:
        """The certificate chain as PEM text: leaf first, the root left out."""

    def check(self) -> None:
        """Return if the chain may sign now; else raise CertificateRefused."""

    def sign(self, claim: bytes, *, warrant: ActiveWarrant) -> bytes:
        """Sign a COSE signature structure; the signature as COSE writes it (RFC 9053, RFC 8230).

        Raises WarrantInvalid, AlreadySigned, CertificateRefused or SigningFailed.
        """

    def sign_update(self, claim: bytes, *, notice: WithdrawalNotice) -> bytes:
        """Sign the claim of one update manifest that says a consent was withdrawn; as `sign` does.

        Raises NoticeRefused, WarrantInvalid, CertificateRefused or SigningFailed.
        """


class ClaimKey(Protocol):
    """The private key of a leaf, wherever it is: it signs bytes and asks nothing."""

    @property
    def public(self) -> LeafKey:
        """The public half."""

    def sign(self, claim: bytes) -> bytes:
        """Sign bytes by the algorithm of the key; ECDSA as r then s, or as DER."""


@dataclass(frozen=True, slots=True)
class LocalKey:
    """A key held in this process."""

    private: PrivateKey = field(repr=False)

    @property
    def public(self) -> LeafKey:
        """The public half."""
        return self.private.public_key()

    def sign(self, claim: bytes) -> bytes:
        """Sign bytes; ECDSA as DER."""
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            return self.private.sign(claim, _ecdsa(self.private.curve))
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.sign(claim)
        return self.private.sign(claim, _PSS, hashes.SHA256())


@dataclass(frozen=True, slots=True)
class CallbackKey:
    """A key in a KMS, HSM or token; `call` signs bytes there by the algorithm of `public`.

    `call` gets the message, not its digest: ECDSA with SHA-256 (P-256) or SHA-384 (P-384), Ed25519,
    or RSASSA-PSS with SHA-256 and a salt of 32 bytes. ECDSA comes back as r then s, or as DER.
    """

    public: LeafKey
    call: Callable[[bytes], bytes] = field(repr=False)

    def sign(self, claim: bytes) -> bytes:
        """Have bytes signed; raises SigningFailed, with what the service raised as its cause."""
        try:
            return self.call(claim)
        except Error:
            raise
        # A key service may raise anything; its words may hold secrets and stay in the cause.
        except Exception as error:
            raise SigningFailed(
                f"the key service did not sign: {type(error).__name__}",
                mend="see the chained error; then ask for the same request again",
            ) from error


class ClaimSigner(ABC):
    """What is asked before any key is used, and of every signature before it leaves.

    `issuer` is the public key of the one warrant desk it signs for: a warrant of any other desk,
    however valid there, is worth nothing here. Which warrants were signed is remembered as long as
    the signer lives. A failed attempt spends the warrant as well, since whether a signature left is
    then unknown. Across processes it is the warrant's own state that allows one use.
    """

    __slots__ = ("_chain", "_clock", "_issuer", "_lock", "_public", "_signed")

    def __init__(
        self, *, public: LeafKey, chain: Chain, issuer: PublicKey, clock: Callable[[], datetime]
    ) -> None:
        """Take a chain and the key it is for; raise CertificateRefused when it is not for it."""
        self._public = public
        self._issuer = issuer
        self._chain = chain
        self._clock = clock
        self._lock = Lock()
        self._signed: set[str] = set()
        self.check()

    @property
    def alg(self) -> Algorithm:
        """How it signs, by the key of the leaf."""
        return leaf_algorithm(self._chain)

    @property
    def chain_pem(self) -> str:
        """The chain as PEM text: leaf first, the root left out."""
        return self._chain.pem

    def check(self) -> None:
        """Judge the chain at the clock's time, and the key against its leaf."""
        lint_chain(self._chain, now=self._clock(), key=self._public)

    def sign(self, claim: bytes, *, warrant: ActiveWarrant) -> bytes:
        """Sign one claim for one active warrant; see `Signer.sign`.

        A signature that does not verify never leaves, whatever the key service calls it.
        """
        active = require_active(warrant)
        active.require()
        verify_issuer(active.document, key=self._issuer)
        require_structure(claim)
        self.check()
        self._spend(active.document.warrant_id)
        return as_cose(self._use_key(claim, active.document), claim, self._public, self.alg)

    def sign_update(self, claim: bytes, *, notice: WithdrawalNotice) -> bytes:
        """Sign the claim of one update manifest; see `Signer.sign_update`."""
        given = require_notice(notice)
        given.require()
        verify_issuer(given.warrant, key=self._issuer)
        require_structure(claim)
        self.check()
        given.spend()
        return as_cose(self._use_key_for_update(claim), claim, self._public, self.alg)

    def _use_key_for_update(self, claim: bytes) -> bytes:
        """Return the signature of an update's claim; a signer that knows only warrants has none."""
        raise SigningFailed(
            "this signer signs under a warrant alone, not a notice of withdrawal",
            mend="sign the notice where the key itself is, with the same certificate",
        )

    @abstractmethod
    def _use_key(self, claim: bytes, warrant: Warrant) -> bytes:
        """Return the signature of a claim that may be signed; ECDSA in either form."""

    def _spend(self, warrant_id: str) -> None:
        with self._lock:
            if warrant_id in self._signed:
                raise AlreadySigned(
                    "a claim was already signed for this warrant",
                    mend="ask for a new warrant; one warrant is one output",
                )
            self._signed.add(warrant_id)


class KeySigner(ClaimSigner):
    """Signs with one key that this process can use, wherever it is."""

    __slots__ = ("_key",)

    def __init__(
        self, *, key: ClaimKey, chain: Chain, issuer: PublicKey, clock: Callable[[], datetime]
    ) -> None:
        """Take a key and its chain; raise CertificateRefused when they do not belong together."""
        self._key = key
        super().__init__(public=key.public, chain=chain, issuer=issuer, clock=clock)

    def _use_key(self, claim: bytes, warrant: Warrant) -> bytes:
        return self._key.sign(claim)

    def _use_key_for_update(self, claim: bytes) -> bytes:
        return self._key.sign(claim)


class LocalSigner(KeySigner):
    """Signs with a key held in this process."""

    __slots__ = ()

    def __init__(
        self, *, key: PrivateKey, chain: Chain, issuer: PublicKey, clock: Callable[[], datetime]
    ) -> None:
        """Take a key and its chain; raise CertificateRefused when they do not belong together."""
        super().__init__(key=LocalKey(key), chain=chain, issuer=issuer, clock=clock)

    @classmethod
    def load(
        cls, *, key_path: Path, chain_path: Path, issuer: PublicKey, clock: Callable[[], datetime]
    ) -> LocalSigner:
        """Read an unencrypted PKCS#8 key and a PEM chain; `clock` gives the time with its zone.

        Raises KeyRefused when others may read the key file or it holds no key that can sign claims,
        and CertificateRefused for a chain that is not fit to sign or belongs to another key.
        """
        chain = load_chain(chain_path)
        return cls(key=load_key(key_path), chain=chain, issuer=issuer, clock=clock)


def _ecdsa(curve: ec.EllipticCurve) -> ec.ECDSA:
    return ec.ECDSA(hashes.SHA384() if isinstance(curve, ec.SECP384R1) else hashes.SHA256())


def leaf_key(chain: Chain) -> LeafKey:
    """Return the public key of a chain's leaf; raise ChainRefused for one we cannot sign with."""
    leaf_algorithm(chain)  # it refuses every other kind of key
    return cast(LeafKey, chain.leaf.public_key())


def require_structure(claim: bytes) -> None:
    """Return if bytes begin as a COSE signature structure does; raise SigningFailed.

    RFC 9052, 4.4. What begins so is no certificate, no document and no message of another protocol.
    """
    if not claim.startswith(_SIGNATURE_STRUCTURE):
        raise SigningFailed("this is no COSE signature structure; the key signs nothing else")


def as_cose(signature: bytes, claim: bytes, key: LeafKey, alg: Algorithm) -> bytes:
    """Return a signature in COSE's form once it verifies with `key`; raise SigningFailed.

    ECDSA may come as r then s, or as DER (RFC 9053, 2.1).
    """
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            size = _COORDINATE_BYTES[alg]
            r, s = _read_ecdsa(signature, size)
            key.verify(encode_dss_signature(r, s), claim, _ecdsa(key.curve))
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, claim)
        else:
            key.verify(signature, claim, _PSS, hashes.SHA256())
    except (InvalidSignature, ValueError, TypeError, OverflowError) as error:
        raise SigningFailed(
            "the key service returned a signature that does not verify",
            mend="check that it signs with the key of the certificate, and by its algorithm",
        ) from error
    return signature


def _read_ecdsa(signature: bytes, size: int) -> tuple[int, int]:
    """Return r and s of either form; a DER signature is 2 * size long once in some 2^48."""
    if len(signature) == 2 * size:
        return int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
    return decode_dss_signature(signature)


def load_key(path: Path) -> PrivateKey:
    """Read an unencrypted PKCS#8 PEM key from a file only its owner may read.

    Raises KeyRefused for anything else. The permissions are those of the opened file, so it cannot
    be exchanged between look and read.
    """
    data = _read_private(path)
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        raise KeyRefused(f"{path.name} is not an unencrypted PKCS#8 PEM key") from error
    if not isinstance(
        key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
    ):
        raise KeyRefused(f"{path.name} does not hold an EC, Ed25519 or RSA key")
    return key


def _read_private(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise KeyRefused(
                    f"{path.name} may be read or written by others than its owner",
                    mend=f"chmod 600 {path.name}, and replace the key if others had access",
                )
            return file.read(MAX_KEY_FILE_BYTES)
    except OSError as error:
        raise KeyRefused(f"{path.name} cannot be read: {error.strerror}") from error
