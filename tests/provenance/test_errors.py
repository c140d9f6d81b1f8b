"""Codes are what machines act on: stable, unique and in the family."""

from __future__ import annotations

import inspect

import pytest

from policies.errors import Error
from provenance import errors
from provenance.errors import MarkError, MediaError, ShapeError, VerificationError

CODES = {
    "ShapeError": "SHAPE",
    "MediaError": "MEDIA",
    "Unsupported": "MEDIA-UNSUPPORTED",
    "Empty": "MEDIA-EMPTY",
    "Truncated": "MEDIA-TRUNCATED",
    "TooLarge": "MEDIA-TOO-LARGE",
    "TooSmall": "MEDIA-TOO-SMALL",
    "Animated": "MEDIA-ANIMATED",
    "Transparent": "MEDIA-TRANSPARENT",
    "Undecodable": "MEDIA-UNDECODABLE",
    "LabelRefused": "LABEL-REFUSED",
    "MarkError": "MARK",
    "NotMarkable": "NOT-MARKABLE",
    "AlreadyMarked": "ALREADY-MARKED",
    "MarkKeyRefused": "MARK-KEY-REFUSED",
    "UnknownWatermark": "UNKNOWN-WATERMARK",
    "VerificationError": "VERIFICATION",
    "Tampered": "TAMPERED",
    "Untrusted": "UNTRUSTED",
    "Unmarked": "UNMARKED",
    "Unreadable": "UNREADABLE",
    "NotReleased": "NOT-RELEASED",
    "SigningFailed": "SIGNING-FAILED",
    "CertificateRefused": "CERTIFICATE-REFUSED",
}


def own_errors() -> dict[str, type[Error]]:
    members = inspect.getmembers(errors, inspect.isclass)
    return {name: kind for name, kind in members if kind.__module__ == errors.__name__}


def test_every_error_is_in_the_family_with_the_code_it_is_known_by() -> None:
    found = own_errors()
    assert all(issubclass(kind, Error) for kind in found.values())
    assert CODES.items() <= {name: kind.code for name, kind in found.items()}.items()


def test_no_two_errors_share_a_code() -> None:
    codes = [kind.code for kind in own_errors().values()]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(
    ("branch", "names"),
    [
        (MediaError, ("Unsupported", "Truncated", "TooLarge", "Undecodable", "Transparent")),
        (MarkError, ("NotMarkable", "AlreadyMarked")),
        (VerificationError, ("Tampered", "Untrusted", "Unmarked", "Unreadable")),
    ],
)
def test_branches_catch_their_own(branch: type[Error], names: tuple[str, ...]) -> None:
    assert all(issubclass(own_errors()[name], branch) for name in names)


def test_a_shape_error_says_what_came_and_what_was_expected() -> None:
    error = ShapeError(actual=(4, 4), expected="(h, w, 3)")
    assert error.message == "expected (h, w, 3), got (4, 4)"
    assert (error.actual, error.expected) == ((4, 4), "(h, w, 3)")
