"""What every list that a verifier is given has in common: a kind, a name, a day, a cap.

A list is refused whole, with the reason and what would mend it; nothing of it is believed then.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Final, Literal

from pydantic import StringConstraints

from provenance.errors import CertificateRefused

Use = Literal["signers", "time-stamps"]
"""What a root vouches for."""

Kind = Literal["signers", "time-stamps", "products", "revoked"]
"""What a list says: roots for one use, the conforming products, or revoked certificates."""

MAX_LIST_BYTES: Final = 2_000_000
"""Largest list read; the official ones have 60 to 300 kB (C2PA conformance-public, August 2026)."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class TrustRefused(CertificateRefused):
    """A trust list cannot be taken in, or is not what it was when it was taken in."""

    code = "TRUST-REFUSED"


def require_size(content: bytes) -> None:
    """Raise TrustRefused for more than `MAX_LIST_BYTES` bytes."""
    if len(content) > MAX_LIST_BYTES:
        raise TrustRefused(
            f"a trust list has at most {MAX_LIST_BYTES} bytes, this has {len(content)}"
        )


def require_day(text: str) -> None:
    """Raise TrustRefused for what is no day such as 2026-08-05."""
    try:
        date.fromisoformat(text)
    except ValueError as error:
        raise TrustRefused(f"{text!r} is no day", mend="write it as 2026-08-05") from error


def read_moment(text: str, *, what: str) -> datetime:
    """Return a moment written as 2026-08-05T00:11:47Z (ETSI TS 119 602); raise TrustRefused."""
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise TrustRefused(
            f"the list's {what} is no moment in UTC", mend="get the list again from its issuer"
        ) from error
