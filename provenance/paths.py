"""From a certificate up to an authority that is believed, at one moment: for time stamps.

The C2PA library walks the path of signers; before a time stamp goes into a manifest its path is
walked here, because a stamp that nobody can trust later would be found out too late. Refused: a
certificate that may do more than stamp times, one that was not valid at the stamped moment, and a
path that ends at no given authority.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from provenance.chains import (
    MAX_CHAIN_LENGTH,
    TIME_STAMPING,
    ChainRefused,
    lint_dates,
    lint_strength,
    name_of,
    refusing_malformed,
    require_ca,
)


def lint_time_stamping(leaf: x509.Certificate) -> None:
    """Return if a certificate is for time stamping alone; else ChainRefused (eku, weak-key).

    RFC 3161, 2.3: one extended key usage, time stamping, and it is critical.
    """
    with refusing_malformed():
        lint_strength(leaf)
        try:
            usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        except x509.ExtensionNotFound:
            usage = None
        if usage is None or not usage.critical or list(usage.value) != [TIME_STAMPING]:
            raise ChainRefused("eku", "the certificate is not for time stamping alone")


def require_path(
    leaf: x509.Certificate,
    pool: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    *,
    at: datetime,
) -> None:
    """Return if `leaf` leads to one of `anchors` by way of `pool`, all valid at `at`.

    Raises ChainRefused: no-path, else what is wrong with a certificate on the way.
    """
    with refusing_malformed():
        current = leaf
        for below in range(MAX_CHAIN_LENGTH):
            lint_dates(current, at)
            lint_strength(current)
            if anchor := _find_issuer(current, anchors):
                lint_dates(anchor, at)
                return
            above = _find_issuer(current, pool)
            if above is None or above in anchors or above == current:
                break
            require_ca(above, what="issuer", below=below)
            current = above
        raise ChainRefused(
            "no-path",
            f"certificate {name_of(leaf)} leads to none of the given authorities",
            mend="give the CA that issued it, if you trust it",
        )


def _find_issuer(
    certificate: x509.Certificate, among: Sequence[x509.Certificate]
) -> x509.Certificate | None:
    for candidate in among:
        with suppress(ValueError, TypeError, InvalidSignature):
            certificate.verify_directly_issued_by(candidate)
            return candidate
    return None
