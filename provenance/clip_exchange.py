"""What passes between this process and the one that reads a clip: fixed headers and raw bytes.

Decides the form of requests and answers about a target video, what is known of a clip, and which
refusals a worker may name. As in `exchange`, nothing is unpickled and no text of the worker is
shown. Imports no codec, because the worker limits itself before it loads one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from provenance.exchange import DecodeCrashed

Range: TypeAlias = Literal["tv", "pc"]
"""Luma from 16 to 235, or from 0 to 255."""
SoundCodec: TypeAlias = Literal["aac", "opus", "alac"]
Reason: TypeAlias = Literal[
    "codec",
    "no_video",
    "many_videos",
    "pixel_form",
    "hdr",
    "matrix",
    "odd_side",
    "interlaced",
    "clock",
    "sound",
    "many_sounds",
]
Task: TypeAlias = Literal["survey", "frames", "sound", "coded"]

SOUND_CODECS: Final[tuple[SoundCodec, ...]] = get_args(SoundCodec)
"""What MP4 holds and phones and browsers write; `alac` is Apple's lossless sound."""
REASONS: Final[dict[Reason, tuple[str, str]]] = {
    "codec": ("the video is not coded as H.264", "save it as MP4 with H.264"),
    "no_video": ("the file has no video stream", "a file with moving pictures"),
    "many_videos": ("the file has several video streams", "save it with one, and no cover picture"),
    "pixel_form": (
        "the video has more than 8 bits or another form than 4:2:0",
        "save it as H.264, 8 bits, 4:2:0 (yuv420p)",
    ),
    "hdr": (
        "the video is HDR (PQ or HLG); turning it into SDR is a choice that we do not make",
        "export it as SDR in an editor, or switch HDR video off on the phone",
    ),
    "matrix": (
        "the video's colours are not stored by BT.601 or BT.709",
        "export it as SDR with BT.709",
    ),
    "odd_side": ("a side of the video is odd", "crop it to an even width and height"),
    "interlaced": ("the video is interlaced", "deinterlace it in an editor"),
    "clock": ("the video's unit of time is not usable", "save it anew as MP4"),
    "sound": (
        "a sound stream is not one that we copy into MP4",
        f"save it with sound as one of {', '.join(SOUND_CODECS)}, mono, stereo, 5.1 or 7.1",
    ),
    "many_sounds": ("the file has too many sound streams", "save it with one"),
}
"""Why a clip is not supported, and what to do."""

MATRICES: Final = {1: 1, 5: 5, 6: 5}
"""H.273 matrix -> swscale's number: BT.709, and BT.601 in its two numbers."""
UNSPECIFIED: Final = 2  # H.273
MAX_SOUNDS: Final = 4
MAX_CLOCK: Final = 10_000_000
"""Units a second: 100 ns, the finest that MP4 writers use."""
MAX_RATE: Final = 192_000
MAX_LAST_SECONDS: Final = 10
"""How long the last frame may stand."""
MAX_SETUP_BYTES: Final = 65_536
LAYOUTS: Final = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
"""Channels -> their places, as MP4 takes them for granted."""

REQUEST: Final = struct.Struct(">4sBI?qqQ8d")
"""What it is, the task, the open file's number; whether to begin at a frame and at which time, the
time of the first frame wanted (the stream's number where sound is asked for), how many; limits."""
ANSWER: Final = struct.Struct(">4sBqqII")
"""What it is, its status, two times and two numbers."""
FRAME, COUNTED, SURVEYED, PACKET, END, REFUSED = range(6)
"""Status of: a frame (its time, height and width; BGR bytes follow), a frame that was only counted
(its time, then 1 where decoding may begin), the form of the clip (its length
follows), a packet of sound (times, length and duration; its bytes follow; where the coded form is
asked for, the stream's number instead of a time, and a SHA-256 follows), the end, a refusal (the
kind and, where there is one, the reason plus one)."""

_FORM = struct.Struct(">IIII?BBBB?HBB")
_SOUND = struct.Struct(">BBIIBI")
MAX_FORM_BYTES: Final = _FORM.size + MAX_SOUNDS * (_SOUND.size + MAX_SETUP_BYTES)


@dataclass(frozen=True, slots=True)
class Colour:
    """How a clip stores colours; the last three by the numbers of ITU-T H.273, 2: unspecified."""

    range: Range
    matrix: int
    primaries: int
    transfer: int


@dataclass(frozen=True, slots=True)
class Sound:
    """One sound stream as it is copied: `stream` in the file, `clock` units a second."""

    stream: int
    codec: SoundCodec
    rate: int
    clock: int
    channels: int
    setup: bytes
    """What a decoder needs before the first packet (MP4's extradata)."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a worker says of a clip after its last frame; `last`: duration of the last frame."""

    width: int
    height: int
    clock: int
    colour: Colour
    turns: int
    last: int
    tags: int
    located: bool
    others: int
    sounds: tuple[Sound, ...]


class Request(NamedTuple):
    """One task; see REQUEST."""

    task: Task
    file: int
    at: int | None = None
    first: int = 0
    most: int = 0


def swscale_matrix(colour: Colour, width: int, height: int) -> int:
    """Return which matrix to convert by; where the file names none, what players take by size."""
    large = max(width, height) >= 1280 or min(width, height) > 576
    return MATRICES.get(colour.matrix, 1 if large else 5)


def pack_request(request: Request, numbers: tuple[float, ...]) -> bytes:
    """Return a request; `numbers`: the fields of VideoLimits."""
    task = get_args(Task).index(request.task)
    place = (request.at is not None, request.at or 0, request.first, request.most)
    return REQUEST.pack(b"FWC1", task, request.file, *place, *numbers)


def read_request(header: bytes) -> tuple[Request, tuple[float, ...]]:
    """Return a request and the fields of VideoLimits."""
    _, task, file, seek, at, first, most, *numbers = REQUEST.unpack(header)
    wanted = Request(get_args(Task)[task], file, at if seek else None, first, most)
    return wanted, tuple(numbers)


def pack_found(found: Found) -> bytes:
    """Return what a survey found."""
    colour = found.colour
    head = _FORM.pack(
        *(found.width, found.height, found.clock, found.last, colour.range == "pc"),
        *(colour.matrix, colour.primaries, colour.transfer, found.turns, found.located),
        *(min(found.tags, 0xFFFF), min(found.others, 0xFF), len(found.sounds)),
    )
    return head + b"".join(_pack_sound(sound) for sound in found.sounds)


def _pack_sound(sound: Sound) -> bytes:
    kind = SOUND_CODECS.index(sound.codec)
    numbers = (sound.stream, kind, sound.rate, sound.clock, sound.channels, len(sound.setup))
    return _SOUND.pack(*numbers) + sound.setup


def read_found(words: bytes) -> Found:
    """Return what a survey says it found; raise DecodeCrashed for what no honest worker says."""
    try:
        numbers = _FORM.unpack_from(words)
        width, height, clock, last, full, *h273, turns, located, tags, others, count = numbers
        sounds, at = [], _FORM.size
        for _ in range(count):
            stream, kind, rate, units, channels, length = _SOUND.unpack_from(words, at)
            at += _SOUND.size + length
            setup = words[at - length : at]
            sounds.append(Sound(stream, SOUND_CODECS[kind], rate, units, channels, setup))
    except (struct.error, IndexError) as error:
        raise DecodeCrashed("the worker's answer is none") from error
    colour = Colour("pc" if full else "tv", *h273)
    found = Found(width, height, clock, colour, turns, last, tags, located, others, tuple(sounds))
    if at != len(words) or count > MAX_SOUNDS or not _is_sane(found):
        raise DecodeCrashed("what the worker says of the clip makes no sense")
    return found


def _is_sane(found: Found) -> bool:
    sides = found.width > 0 and found.height > 0 and not (found.width | found.height) & 1
    clock = 0 < found.clock <= MAX_CLOCK and 0 < found.last <= found.clock * MAX_LAST_SECONDS
    matrix = found.colour.matrix in {*MATRICES, UNSPECIFIED} and found.turns < 4
    return sides and clock and matrix and all(map(_is_sound, found.sounds))


def _is_sound(sound: Sound) -> bool:
    clocks = 0 < sound.rate <= MAX_RATE and 0 < sound.clock <= MAX_CLOCK
    return clocks and sound.channels in LAYOUTS and 0 < len(sound.setup) <= MAX_SETUP_BYTES
