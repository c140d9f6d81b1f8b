"""The root of every error FaceWarrant raises.

Security results are raised, never returned as booleans: a caller who forgets to look at the answer
is stopped, not let through. Foreign errors (pydantic, SQLAlchemy, c2pa, OpenCV ...) are translated
into this family at the module that touches the foreign library.
"""

from __future__ import annotations

from typing import ClassVar


class Error(Exception):
    """Something FaceWarrant refuses or could not do: a code for machines, a mend for people.

    `code` is stable and UPPER-KEBAB; `message` says what is wrong, `mend` what would make it right.
    Neither may hold key material, names of people or pixels.
    """

    code: ClassVar[str] = "ERROR"

    def __init__(self, message: str, *, mend: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend

    def diagnostics(self) -> str:
        """Return the message and, where there is one, how to mend it; two lines at most."""
        return f"{self.message}\nTo mend: {self.mend}" if self.mend else self.message


class Malformed(Error):
    """A document is not what its schema says: bad JSON, unknown field, wrong type, wrong form."""

    code = "MALFORMED"


class BadSignature(Error):
    """A signature does not verify, or the key behind it must not be used."""

    code = "BAD-SIGNATURE"


class StoreUnavailable(Error):
    """The database could not be read or written; whatever depended on it is denied."""

    code = "STORE-UNAVAILABLE"
