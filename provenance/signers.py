"""Who signs a claim: the place of a key file, and later of a KMS or HSM.

A signer sees the bytes of one COSE signature structure, never pixels, and refuses unless a warrant
is active now. Refused: no warrant or one that no longer holds; a second claim for the same warrant;
bytes that are no COSE signature structure (the key signs nothing else); a chain that is outside its
dates or does not fit the key; a key file that others may read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Literal, Protocol

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from policies.keys import PublicKey
from policies.warrant import verify_issuer
from policies.warrants import ActiveWarrant, require_active
from provenance.chains import Chain, lint_chain, load_chain
from provenance.errors import SigningFailed

MAX_KEY_FILE_BYTES = 16_384
"""A PKCS#8 P-256 key is about 250 bytes; more is not a key file."""

_SIGNATURE_STRUCTURE = b"\x84\x6aSignature1"  # CBOR array(4), text "Signature1": RFC 9052, 4.4
_COORDINATE_BYTES = 32  # P-256


class KeyRefused(SigningFailed):
    """The key file is exposed, unreadable or not an EC P-256 key."""

    code = "KEY-REFUSED"


class AlreadySigned(SigningFailed):
    """One claim is signed per warrant; this warrant has had its signature."""

    code = "ALREADY-SIGNED"


class Signer(Protocol):
    """Signs claims with one key whose certificate chain it knows."""

    @property
    def alg(self) -> Literal["ES256"]:
        """The COSE algorithm: ECDSA over P-256 with SHA-256."""

    @property
    def chain_pem(self) -> str:
        """The certificate chain as PEM text: leaf first, the root left out."""

    def check(self) -> None:
        """Return if the chain may sign now; else raise CertificateRefused."""

    def sign(self, claim: bytes, *, warrant: ActiveWarrant) -> bytes:
        """Sign a COSE signature structure; 64 bytes, r then s, 32 bytes each, big-endian.

        Raises WarrantInvalid, AlreadySigned, CertificateRefused or SigningFailed.
        """


class LocalSigner:
    """Signs with a key held in this process; which warrants were signed is remembered as long.

    `issuer` is the public key of the one warrant desk it signs for: a warrant of any other desk,
    however valid there, is worth nothing here. A failed attempt spends the warrant as well, since
    whether a signature left is then unknown. Across processes it is the warrant's own state that
    allows one use.
    """

    __slots__ = ("_chain", "_clock", "_issuer", "_key", "_lock", "_signed")

    def __init__(
        self,
        *,
        key: ec.EllipticCurvePrivateKey,
        chain: Chain,
        issuer: PublicKey,
        clock: Callable[[], datetime],
    ) -> None:
        """Take a key and its chain; raise CertificateRefused when they do not belong together."""
        self._issuer = issuer
        self._key = key
        self._chain = chain
        self._clock = clock
        self._lock = Lock()
        self._signed: set[str] = set()
        self.check()

    @classmethod
    def load(
        cls, *, key_path: Path, chain_path: Path, issuer: PublicKey, clock: Callable[[], datetime]
    ) -> LocalSigner:
        """Read an unencrypted PKCS#8 key and a PEM chain; `clock` gives the time with its zone.

        Raises KeyRefused when others may read the key file or it holds no EC P-256 key, and
        CertificateRefused for a chain that is not fit to sign or belongs to another key.
        """
        chain = load_chain(chain_path)
        return cls(key=load_key(key_path), chain=chain, issuer=issuer, clock=clock)

    @property
    def alg(self) -> Literal["ES256"]:
        """ES256, the only algorithm that every engine we measured verifies."""
        return "ES256"

    @property
    def chain_pem(self) -> str:
        """The chain as PEM text: leaf first, the root left out."""
        return self._chain.pem

    def check(self) -> None:
        """Judge the chain at the clock's time, and the key against its leaf."""
        lint_chain(self._chain, now=self._clock(), key=self._key.public_key())

    def sign(self, claim: bytes, *, warrant: ActiveWarrant) -> bytes:
        """Sign one claim for one active warrant; see `Signer.sign`."""
        active = require_active(warrant)
        active.require()
        verify_issuer(active.document, key=self._issuer)
        if not claim.startswith(_SIGNATURE_STRUCTURE):
            raise SigningFailed("this is no COSE signature structure; the key signs nothing else")
        self.check()
        self._spend(active.document.warrant_id)
        r, s = decode_dss_signature(self._key.sign(claim, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(_COORDINATE_BYTES, "big") + s.to_bytes(_COORDINATE_BYTES, "big")

    def _spend(self, warrant_id: str) -> None:
        with self._lock:
            if warrant_id in self._signed:
                raise AlreadySigned(
                    "a claim was already signed for this warrant",
                    mend="ask for a new warrant; one warrant is one output",
                )
            self._signed.add(warrant_id)


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read an unencrypted PKCS#8 PEM key on P-256 from a file only its owner may read.

    Raises KeyRefused for anything else. The permissions are those of the opened file, so it cannot
    be exchanged between look and read.
    """
    data = _read_private(path)
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        raise KeyRefused(f"{path.name} is not an unencrypted PKCS#8 PEM key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyRefused(f"{path.name} does not hold an EC P-256 key")
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
