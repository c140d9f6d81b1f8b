from __future__ import annotations

import inspect

import pytest

from generator import errors
from generator.errors import FaceError, ShapeError
from policies.errors import Error

CLASSES = [
    member
    for _, member in inspect.getmembers(errors, inspect.isclass)
    if issubclass(member, FaceError)
]


def test_every_error_belongs_to_the_one_family() -> None:
    assert len(CLASSES) >= 7
    assert all(issubclass(cls, Error) for cls in CLASSES)


def test_codes_are_unique_and_as_documented() -> None:
    codes = {cls.__name__: cls.code for cls in CLASSES}
    assert len(set(codes.values())) == len(codes)
    assert codes["NoFace"] == "NO-FACE"
    assert codes["ManyFaces"] == "MANY-FACES"
    assert codes["WeightRefused"] == "WEIGHT-REFUSED"
    assert codes["ShapeError"] == "SHAPE-ERROR"
    assert codes["PackMissing"] == "PACK-MISSING"
    assert codes["SwapRefused"] == "SWAP-REFUSED"
    assert codes["EnrolmentRefused"] == "ENROLMENT-REFUSED"
    assert codes["MeasurementFailed"] == "MEASUREMENT-FAILED"
    assert codes["RegistryUnavailable"] == "REGISTRY-UNAVAILABLE"


def test_shape_error_carries_what_came_and_what_is_needed() -> None:
    error = ShapeError("mesh", actual=(3, 2), expected=(468, 3), mend="detect the face first")
    assert (error.actual, error.expected) == ((3, 2), (468, 3))
    assert "(3, 2)" in error.message
    assert "(468, 3)" in error.message
    assert error.diagnostics().endswith("To mend: detect the face first")


@pytest.mark.parametrize("cls", [c for c in CLASSES if c is not ShapeError])
def test_errors_carry_message_and_mend(cls: type[FaceError]) -> None:
    error = cls("what is wrong", mend="what to do")
    assert error.diagnostics() == "what is wrong\nTo mend: what to do"
