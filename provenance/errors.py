"""Everything `provenance` can refuse, as one family under `policies.errors.Error`.

Four branches: a file that cannot be read (`MediaError`), a picture that cannot carry or give back a
mark (`MarkError`), evidence that does not hold (`VerificationError`) and an output that must not
leave (`NotReleased`, `SigningFailed`, `CertificateRefused`). Codes are stable; no message holds
pixels, keys or names.
"""

from __future__ import annotations

from typing import ClassVar

from policies.errors import Error, StoreUnavailable
from provenance.evidence import Evidence


class ShapeError(Error):
    """An array is not what the function works on; carries what came and what was expected."""

    code = "SHAPE"

    def __init__(self, *, actual: object, expected: str) -> None:
        super().__init__(f"expected {expected}, got {actual}")
        self.actual = actual
        self.expected = expected


class MediaError(Error):
    """A file cannot be taken in, or a picture cannot be written."""

    code: ClassVar[str] = "MEDIA"


class Unsupported(MediaError):
    """The bytes are not one of the formats we read, whatever the file is called."""

    code = "MEDIA-UNSUPPORTED"


class Empty(MediaError):
    """The file has no bytes at all."""

    code = "MEDIA-EMPTY"


class Truncated(MediaError):
    """The file ends before its own structure says it should."""

    code = "MEDIA-TRUNCATED"

    def __init__(self, message: str, *, mend: str = "get the file again, all of it") -> None:
        super().__init__(message, mend=mend)


class TooLarge(MediaError):
    """A cap on bytes, pixels, side, side ratio, inflation or metadata is exceeded."""

    code = "MEDIA-TOO-LARGE"


class TooSmall(MediaError):
    """The picture has too few pixels for anything we do."""

    code = "MEDIA-TOO-SMALL"


class Animated(MediaError):
    """The file holds more than one frame: a still was expected."""

    code = "MEDIA-ANIMATED"


class Transparent(MediaError):
    """The picture is not opaque: what people see would not be what our gates see."""

    code = "MEDIA-TRANSPARENT"


class Undecodable(MediaError):
    """The format is right but its content is damaged or malformed."""

    code = "MEDIA-UNDECODABLE"


class LabelRefused(MediaError):
    """A label in the file is hostile, malformed or too large, or a label to write is not legal."""

    code = "LABEL-REFUSED"


class MarkError(Error):
    """The invisible mark cannot be used as asked."""

    code: ClassVar[str] = "MARK"


class NotMarkable(MarkError):
    """The picture cannot carry a mark that would survive; it is never marked weakly instead."""

    code = "NOT-MARKABLE"


class AlreadyMarked(MarkError):
    """The picture carries a mark of this key: a second one would make both unreadable."""

    code = "ALREADY-MARKED"


class MarkKeyRefused(MarkError):
    """The watermark key is not 32 bytes of key material."""

    code = "MARK-KEY-REFUSED"


class UnknownWatermark(MarkError):
    """No watermark is registered under that name."""

    code = "UNKNOWN-WATERMARK"


class VerificationError(Error):
    """The evidence about a file does not hold; `evidence` has every line that was looked at."""

    code: ClassVar[str] = "VERIFICATION"

    def __init__(
        self, message: str, *, mend: str = "", evidence: tuple[Evidence, ...] = ()
    ) -> None:
        super().__init__(message, mend=mend)
        self.evidence = evidence


class Tampered(VerificationError):
    """The file or its manifest was changed after signing."""

    code = "TAMPERED"


class NeverReleased(VerificationError):
    """The file was signed here, but no release of it was ever completed."""

    code = "NEVER-RELEASED"


class Untrusted(VerificationError):
    """The signature is intact but leads to no anchor the verifier was given."""

    code = "UNTRUSTED"


class Unmarked(VerificationError):
    """The file carries neither a manifest nor a mark: nothing can be said about its origin."""

    code = "UNMARKED"


class Unreadable(VerificationError):
    """The manifest or mark is present but cannot be parsed: absent and unreadable are not alike."""

    code = "UNREADABLE"


class NotReleased(Error):
    """A step of the release failed, so nothing leaves."""

    code = "NOT-RELEASED"


class ClipInUse(StoreUnavailable):
    """Another process has the folder of this video: its warrant and pieces are that one's."""

    code = "CLIP-IN-USE"

    def __init__(self) -> None:
        super().__init__(
            "another process is making this video", mend="wait until it has ended, then run again"
        )


class SigningFailed(Error):
    """The signer did not return a signature that verifies."""

    code = "SIGNING-FAILED"


class CertificateRefused(Error):
    """A certificate or chain does not meet the C2PA profile or the signer's own rules."""

    code = "CERTIFICATE-REFUSED"
