"""The claim signature of a file's active manifest: the chain that signed, and stapled OCSP answers.

The C2PA library verifies the signature and reports neither chain nor answers; they are read here
from the store itself. Nothing read here makes anything trusted: it can only add doubt, so what
cannot be read is refused and counts as unknown. Refused: a store that is not of the manifest the
library read, a signature longer than `MAX_SIGNATURE_BYTES`, one without a chain or with two, a
certificate that cannot be parsed, and a leaf of another serial number than the library read.

Where things are: C2PA specification 2.2, 13.2 (COSE, `x5chain`), 10.3.2.6 (`rVals`); RFC 9360.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography import x509

from policies.errors import Malformed
from provenance.cbor import Item, decode_cbor
from provenance.chains import MAX_CHAIN_LENGTH
from provenance.jumbf import find_signature

MAX_ANSWERS: Final = 16
"""Most stapled answers looked at: one for each certificate of a chain, and some to spare."""

MAX_SIGNATURE_BYTES: Final = 256_000
"""Largest signature with all stapled to it; our whole stores have 15 kB, 16 long answers 100."""

_CHAIN: Final = (33, "x5chain")  # the registered number (RFC 9360), and the name of older manifests


@dataclass(frozen=True, slots=True)
class ClaimSignature:
    """Who signed a claim: the chain, leaf first, and the OCSP answers (DER) stapled to it."""

    chain: tuple[x509.Certificate, ...]
    answers: tuple[bytes, ...] = ()

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate of the signer itself."""
        return self.chain[0]


def read_claim_signature(
    store: bytes, manifest_id: str, *, serial: int | None = None
) -> ClaimSignature:
    """Read the signature of manifest `manifest_id`, the active one of a store; raise Malformed.

    `serial`: the serial number of the leaf that the C2PA library read, where it is known.
    """
    raw = find_signature(store, manifest_id)
    if len(raw) > MAX_SIGNATURE_BYTES:
        raise Malformed(f"a claim signature has at most {MAX_SIGNATURE_BYTES} bytes")
    cose = decode_cbor(raw)
    if not isinstance(cose, list) or len(cose) != 4:
        raise Malformed("a claim signature is a COSE_Sign1 of four parts")
    protected, loose = _header(cose[0]), cose[1]
    if not isinstance(loose, dict):
        raise Malformed("a claim signature has a header that is not signed, a map")
    found = ClaimSignature(_chain(protected, loose), _answers(loose))
    if serial is not None and found.leaf.serial_number != serial:
        raise Malformed("the chain in the store is not the one that was verified")
    return found


def _header(raw: Item) -> dict[int | str, Item]:
    """Return the header that is signed: a map in bytes, or no bytes for an empty one."""
    if not isinstance(raw, bytes):
        raise Malformed("the signed header of a claim signature is bytes")
    header = decode_cbor(raw) if raw else {}
    if not isinstance(header, dict):
        raise Malformed("the signed header of a claim signature is a map")
    return header


def _chain(*headers: dict[int | str, Item]) -> tuple[x509.Certificate, ...]:
    found = [header[name] for header in headers for name in _CHAIN if name in header]
    if len(found) != 1:
        raise Malformed(f"a claim signature has one chain, this has {len(found)}")
    ders = found[0] if isinstance(found[0], list) else [found[0]]
    if not 1 <= len(ders) <= MAX_CHAIN_LENGTH:
        raise Malformed(f"a chain has 1 to {MAX_CHAIN_LENGTH} certificates, not {len(ders)}")
    try:
        return tuple(x509.load_der_x509_certificate(_bytes(der)) for der in ders)
    except ValueError as error:
        raise Malformed("a certificate of the signer's chain cannot be read") from error


def _answers(header: dict[int | str, Item]) -> tuple[bytes, ...]:
    values = header.get("rVals", {})
    answers = values.get("ocspVals", []) if isinstance(values, dict) else None
    if not isinstance(answers, list) or len(answers) > MAX_ANSWERS:
        raise Malformed("the stapled answers are no list, or too many")
    return tuple(_bytes(answer) for answer in answers)


def _bytes(item: Item) -> bytes:
    if not isinstance(item, bytes):
        raise Malformed("a claim signature holds something else where a certificate must be")
    return item
