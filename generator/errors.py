"""Everything the generator refuses: one class per reason, each with a stable code.

The family hangs under `policies.errors.Error`, so that one `except Error` in a command line or a
batch turns every refusal into a result. Errors of onnxruntime, onnx, OpenCV and insightface are
translated into these at the module that touches the library.
"""

from __future__ import annotations

from typing import ClassVar

from policies.errors import Error


class FaceError(Error):
    """Something about a face, a face model or a swap was refused; the base of this family."""

    code: ClassVar[str] = "FACE-ERROR"


class NoFace(FaceError):
    """A picture in which one face is needed shows none that the detectors find."""

    code: ClassVar[str] = "NO-FACE"


class ManyFaces(FaceError):
    """A picture in which exactly one face is needed shows more than one."""

    code: ClassVar[str] = "MANY-FACES"


class WeightRefused(FaceError):
    """A weight file is unknown, altered, of a refused format, or its card is incomplete."""

    code: ClassVar[str] = "WEIGHT-REFUSED"


class ShapeError(FaceError):
    """An array has the wrong shape, dtype or non-finite values.

    `actual` and `expected` say what came and what is needed, as short text.
    """

    code: ClassVar[str] = "SHAPE-ERROR"

    def __init__(self, message: str, *, actual: object, expected: object, mend: str = "") -> None:
        super().__init__(f"{message}: got {actual}, need {expected}", mend=mend)
        self.actual = actual
        self.expected = expected


class EnrolmentRefused(FaceError):
    """The pictures given for one person's enrolment do not show one person."""

    code: ClassVar[str] = "ENROLMENT-REFUSED"


class PackMissing(FaceError):
    """An operator's own model pack is not where the settings say, or lacks a needed model."""

    code: ClassVar[str] = "PACK-MISSING"


class OtherPerson(FaceError):
    """The face that would be used is not that of the person who consented."""

    code: ClassVar[str] = "OTHER-PERSON"


class SwapRefused(FaceError):
    """A swap was asked for on inputs the swapper cannot treat honestly."""

    code: ClassVar[str] = "SWAP-REFUSED"


class MeasurementFailed(FaceError):
    """A gate looked and got no usable numbers; whoever needs the fact must deny."""

    code: ClassVar[str] = "MEASUREMENT-FAILED"


class RegistryUnavailable(FaceError):
    """The do-not-swap registry cannot be searched, or not with this net's vectors."""

    code: ClassVar[str] = "REGISTRY-UNAVAILABLE"


class GatesMissing(FaceError):
    """Something was asked for without the gates on age, nudity and opt-outs."""

    code: ClassVar[str] = "GATES-REQUIRED"


class OptedOut(SwapRefused):
    """A face may be of somebody who asked never to be swapped."""

    code: ClassVar[str] = "OPTED-OUT"


class OutputRefused(SwapRefused):
    """What was made must not leave: it looks like nudity, or could not be looked at."""

    code: ClassVar[str] = "OUTPUT-NUDITY"


class BlurUnavailable(SwapRefused):
    """Faces that nobody named are to be blurred or replaced where that is not done."""

    code: ClassVar[str] = "BLUR-UNAVAILABLE"
