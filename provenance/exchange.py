"""What passes between this process and the one that decodes: fixed headers and raw bytes.

Decides the form of a request and of an answer, and which refusals a worker may name. Nothing is
ever unpickled and no text of the worker is shown: an answer is numbers of known length, and the
reader checks them against what it asked for. Imports no codec, because the worker limits itself
before it loads one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, get_args

from provenance.containers import Mime
from provenance.errors import MediaError, Transparent, Truncated, Undecodable

Channels = Literal["colour", "grey", "inks"]
Profile = Literal["none", "srgb", "converted", "ignored"]
"""No profile; one that means sRGB; one that was applied; one that cannot be applied."""
Shield = Literal["network", "calls"]
"""What a worker could shut off beyond its limits: its network, and all but a few system calls."""

MIMES: Final[tuple[Mime, ...]] = get_args(Mime)
CHANNELS: Final[tuple[Channels, ...]] = get_args(Channels)
PROFILES: Final[tuple[Profile, ...]] = get_args(Profile)
SHIELDS: Final[tuple[Shield, ...]] = get_args(Shield)

_REQUEST = struct.Struct(">4sBIIII")
_ANSWER = struct.Struct(">4sBIIBBBBH")
_HELLO = struct.Struct(">4sB")
REQUEST_BYTES: Final = _REQUEST.size
ANSWER_BYTES: Final = _ANSWER.size
HELLO_BYTES: Final = _HELLO.size


class DecodeError(MediaError):
    """The decoding process could not give an answer; the file counts as unreadable."""

    code: ClassVar[str] = "DECODE"


class DecodeCrashed(DecodeError):
    """The worker died on the file, or answered what no honest worker answers."""

    code = "DECODE-CRASHED"


class DecodeTimeout(DecodeError):
    """The worker was stopped because the file took too long."""

    code = "DECODE-TIMEOUT"


class DecodeMemory(DecodeError):
    """The file needs more memory than the worker may have."""

    code = "DECODE-MEMORY"


class DecodeUnavailable(DecodeError):
    """No worker can be started, or not with the shields that are required."""

    code = "DECODE-UNAVAILABLE"


_REFUSALS: Final = (Truncated, Undecodable, Transparent, DecodeMemory)


@dataclass(frozen=True, slots=True)
class Coded:
    """What a decoder needs of a file: the picture alone, its header's size, its colour profile."""

    mime: Mime
    width: int
    height: int
    picture: bytes
    icc: bytes = b""


@dataclass(frozen=True, slots=True)
class Form:
    """What an answer says about the pixels after it; `outside_permille`: share outside sRGB."""

    width: int
    height: int
    alpha: bool
    depth: int
    channels: Channels
    profile: Profile
    outside_permille: int


def pack_request(coded: Coded) -> bytes:
    """Return the header of a request; the picture and the profile follow it."""
    kind, lengths = MIMES.index(coded.mime), (len(coded.picture), len(coded.icc))
    return _REQUEST.pack(b"FWQ1", kind, coded.width, coded.height, *lengths)


def read_request(header: bytes) -> tuple[Mime, int, int, int, int]:
    """Return (mime, width, height, picture bytes, profile bytes)."""
    _, kind, width, height, picture, icc = _REQUEST.unpack(header)
    return MIMES[kind], width, height, picture, icc


def pack_refusal(error: MediaError) -> bytes:
    """Return the answer that refuses: the kind of the error, none of its words."""
    kind = type(error) if type(error) in _REFUSALS else Undecodable
    status = 1 + _REFUSALS.index(kind)
    return _ANSWER.pack(b"FWA1", status, 0, 0, 0, 0, 0, 0, 0)


def pack_form(form: Form) -> bytes:
    """Return the answer's header; BGR bytes and, where `alpha`, the alpha plane follow it."""
    numbers = (form.width, form.height, form.alpha, form.depth)
    kinds = (CHANNELS.index(form.channels), PROFILES.index(form.profile))
    return _ANSWER.pack(b"FWA1", 0, *numbers, *kinds, form.outside_permille)


def read_answer(header: bytes, coded: Coded) -> Form:
    """Return what the worker says of the pixels of `coded`, as far as it can be true.

    Raises Truncated, Undecodable, Transparent or DecodeMemory where the worker refuses so, and
    DecodeCrashed for an answer that is none, or one of another size than was asked for.
    """
    magic, status, width, height, alpha, depth, channels, profile, outside = _ANSWER.unpack(header)
    if magic == b"FWA1" and 1 <= status <= len(_REFUSALS):
        raise refusal(_REFUSALS[status - 1], coded.mime)
    sane = alpha <= 1 and depth in (8, 16) and outside <= 1000
    known = channels < len(CHANNELS) and profile < len(PROFILES)
    if (magic, status, width, height) != (b"FWA1", 0, coded.width, coded.height):
        raise DecodeCrashed("the worker answered about another picture")
    if not (sane and known):
        raise DecodeCrashed("the worker's answer makes no sense")
    kinds = (CHANNELS[channels], PROFILES[profile])
    return Form(width, height, bool(alpha), depth, *kinds, outside)


def pack_hello(shields: frozenset[Shield]) -> bytes:
    """Return a worker's first words: that it is ready, and behind which shields."""
    return _HELLO.pack(b"FWW1", sum(1 << SHIELDS.index(shield) for shield in shields))


def read_hello(words: bytes) -> frozenset[Shield]:
    """Return the shields of a worker that is ready; raise DecodeUnavailable for other words."""
    if len(words) != HELLO_BYTES or not words.startswith(b"FWW1"):
        raise DecodeUnavailable("what was started is no decoding worker")
    return frozenset(shield for bit, shield in enumerate(SHIELDS) if words[4] >> bit & 1)


def refusal(kind: type[MediaError], mime: Mime) -> MediaError:
    """Return the refusal of one kind in the same words, wherever the picture was decoded."""
    if kind is Transparent:
        return Transparent(
            "the picture has one colour that stands for transparent, in 16 bits",
            mend="flatten it on the background it is meant to be seen on",
        )
    if kind is DecodeMemory:
        return DecodeMemory("decoding needs more memory than is allowed", mend="a smaller picture")
    return kind(f"the {mime} content cannot be decoded")
