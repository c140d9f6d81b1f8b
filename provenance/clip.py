"""A target video taken in: a private copy, what it is, its frames and its sound.

Decides what counts as a clip: an MP4 or QuickTime file within `RELEASE_LIMITS`, every frame of
which a worker has decoded once; nothing that the file claims about itself is believed. Refuses what
a release would have to change silently: HDR, more than 8 bits, interlaced pictures, odd sides,
sound that MP4 cannot carry. What is left behind (places, tags, other streams) is noted.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, Literal, NoReturn

import numpy as np

from provenance.clip_exchange import (
    COUNTED,
    FRAME,
    PACKET,
    SURVEYED,
    Colour,
    Found,
    Request,
    Sound,
    read_found,
)
from provenance.clip_reading import SoundPacket
from provenance.clip_sandbox import (
    DEFAULT_SANDBOX,
    MAX_SOUND_PACKETS_A_SECOND,
    Answer,
    Sandbox,
    ask,
)
from provenance.errors import MediaError
from provenance.exchange import DecodeCrashed
from provenance.video import (
    RELEASE_LIMITS,
    Frame,
    VideoError,
    VideoLimits,
    VideoTooLarge,
    VideoUnsupported,
    sniff,
)

_PIECE_BYTES: Final = 1_048_576
_HEAD_BYTES = 64
_DOOR = object()


@dataclass(frozen=True, slots=True)
class Form:
    """What a clip is, as counted and seen, not as claimed.

    `width`, `height`: upright; `time_base`: seconds a unit, numerator and denominator; `rotation`:
    degrees against the clock, already applied to the frames; `audio`: codec names; `frames`: how
    many; `seconds`: from the first frame to the end of the last, rounded up; `first`: when the
    first frame is shown, `last`: how long the last one stands, in units.
    """

    width: int
    height: int
    time_base: tuple[int, int]
    colour: Colour
    rotation: int
    audio: tuple[str, ...]
    frames: int
    seconds: int
    first: int
    last: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright frames."""
        return self.width, self.height

    def second(self, pts: int) -> int:
        """Return how many whole seconds after the first frame that time is."""
        return (pts - self.first) * self.time_base[0] // self.time_base[1]


@dataclass(frozen=True, slots=True)
class ClipNote:
    """One thing about a clip that an output will not have, in words for people."""

    change: Literal["tags", "location", "streams", "rotation"]
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A target video; only `open_clip` makes one.

    `path`: our copy, mode 0600; `sha256`: of its bytes, hex; `times`: when each frame is shown, in
    units of the form's time base, strictly rising; `sounds`: what is copied.
    """

    path: Path
    sha256: str
    mime: Literal["video/mp4"]
    form: Form
    times: tuple[int, ...] = field(repr=False)
    sounds: tuple[Sound, ...] = field(repr=False)
    notes: tuple[ClipNote, ...]
    entries: tuple[int, ...] = field(repr=False)
    limits: VideoLimits = field(repr=False)
    door: InitVar[object] = None

    def __post_init__(self, door: object) -> None:
        if door is not _DOOR:
            raise MediaError("a Clip cannot be built by hand", mend="use open_clip(path)")

    def __reduce__(self) -> NoReturn:
        # A pickled clip would be believed without its file having been read.
        raise MediaError("a Clip cannot be pickled", mend="use open_clip(path) where it is needed")

    @property
    def content(self) -> Path:
        """Where its bytes lie."""
        return self.path


def require_clip(value: object) -> Clip:
    """Return `value` if it is a Clip; raise MediaError for anything else."""
    if type(value) is not Clip or not hasattr(value, "sha256"):
        raise MediaError("only a Clip is taken", mend="use open_clip(path)")
    return value


def open_clip(
    path: Path,
    *,
    workspace: Path,
    limits: VideoLimits = RELEASE_LIMITS,
    sandbox: Sandbox = DEFAULT_SANDBOX,
) -> Clip:
    """Copy the file at `path` into `workspace`, named by its digest, and count its every frame.

    The same file gives the same copy, so a resumed job finds it again. Nothing is left there when
    it raises: ClipUnsupported and the other errors of `video`, or of the decoding worker.
    """
    copy, digest = _copy(path, workspace, limits)
    try:
        times, entries, found = _survey(copy, limits, sandbox)
        kept = workspace / f"{digest}.mp4"
        copy.replace(kept)
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    form = _form(times, found)
    facts = (form, times, found.sounds, _notes(found), entries, limits)
    return Clip(kept, digest, "video/mp4", *facts, _DOOR)


def frames(
    clip: Clip, *, start: int = 0, stop: int | None = None, sandbox: Sandbox = DEFAULT_SANDBOX
) -> Iterator[tuple[int, Frame]]:
    """Yield (time in units of the time base, BGR uint8 (h, w, 3), upright) of frames start to stop.

    Decoding begins at the last entry at or before `start`, so a resumed job does not pay for what
    it has done. Every time is held against the survey's: a frame that is not the one of its number
    raises DecodeCrashed. Raises also what `open_clip` raises while it reads.
    """
    end = clip.form.frames if stop is None else min(stop, clip.form.frames)
    if start >= end:
        return
    entry = max((number for number in clip.entries if 0 < number <= start), default=None)
    at = None if entry is None else clip.times[entry]
    wanted = Request("frames", 0, at, clip.times[start], end - start)
    number, shape = start, (clip.form.height, clip.form.width, 3)
    for answer in _told(ask(clip.path, wanted, clip.limits, sandbox), FRAME):
        frame = answer.content
        alike = number < end and answer.pts == clip.times[number]
        if not alike or not isinstance(frame, np.ndarray) or frame.shape != shape:
            raise DecodeCrashed("the worker's frames are not those that it counted")
        number += 1
        yield answer.pts, frame
    if number != end:
        raise DecodeCrashed("the worker gave fewer frames than it counted")


def sound_packets(
    clip: Clip, sound: Sound, *, sandbox: Sandbox = DEFAULT_SANDBOX
) -> Generator[SoundPacket]:
    """Yield every packet of one sound stream as it is stored, times in units of its clock.

    Raises DecodeCrashed for times that do not run forward or lie far outside of the clip.
    """
    seconds = clip.limits.max_seconds + 2
    count, last = 0, -math.inf
    wanted = Request("sound", 0, first=sound.stream)
    for answer in _told(ask(clip.path, wanted, clip.limits, sandbox), PACKET):
        count += 1
        places = (answer.pts, answer.dts, answer.number)
        if answer.dts <= last or any(abs(place) > seconds * sound.clock for place in places):
            raise DecodeCrashed("the times of the worker's sound make no sense")
        if count > seconds * MAX_SOUND_PACKETS_A_SECOND:
            raise VideoTooLarge("the sound has more packets than the clip may have")
        last = answer.dts
        yield SoundPacket(*places, bytes(answer.content))


def _told(answers: Iterator[Answer], status: int) -> Iterator[Answer]:
    for answer in answers:
        if answer.status != status:
            raise DecodeCrashed("the worker answers what it was not asked")
        yield answer


def _copy(path: Path, workspace: Path, limits: VideoLimits) -> tuple[Path, str]:
    """Copy a regular file under another name; return it and its digest."""
    try:
        with open(path, "rb", buffering=0, opener=_open_at_once) as source:
            if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
                raise VideoUnsupported("the video is not a file", mend="the path of an MP4 file")
            handle, name = tempfile.mkstemp(".part", dir=workspace)
            try:
                with open(handle, "wb", buffering=0) as out:
                    return Path(name), _pour(source, out, limits)
            except BaseException:
                Path(name).unlink()
                raise
    except OSError as error:
        raise VideoError(
            f"the video cannot be copied: {error.strerror}",
            mend="check the path, the rights and the space left",
        ) from error


def _open_at_once(name: str, flags: int) -> int:
    # Opening a pipe or a device must not wait for whoever is at its other end.
    return os.open(name, flags | os.O_NONBLOCK)


def _pour(source: BinaryIO, out: BinaryIO, limits: VideoLimits) -> str:
    digest, total = hashlib.sha256(), 0
    while piece := source.read(_PIECE_BYTES):
        if total == 0 and sniff(piece[:_HEAD_BYTES]) != "mov":
            raise VideoUnsupported("the file is neither MP4 nor QuickTime", mend="save it as MP4")
        total += len(piece)
        if total > limits.file_bytes:
            raise VideoTooLarge(f"the file has more than {limits.file_bytes} bytes")
        digest.update(piece)
        view = memoryview(piece)
        while view:
            view = view[out.write(view) :]
    if total == 0:
        raise VideoUnsupported("the file is empty")
    return digest.hexdigest()


def _survey(
    copy: Path, limits: VideoLimits, sandbox: Sandbox
) -> tuple[tuple[int, ...], tuple[int, ...], Found]:
    """Return every frame's time, where decoding may begin, and what the clip is."""
    times: list[int] = []
    entries: list[int] = []
    found: Found | None = None
    most = limits.fps * (limits.max_seconds + 1)
    for answer in ask(copy, Request("survey", 0), limits, sandbox):
        if answer.status == SURVEYED and found is None:
            found = read_found(bytes(answer.content))
            continue
        runs = not times or answer.pts > times[-1]
        if answer.status != COUNTED or found or not runs or len(times) >= most:
            raise DecodeCrashed("the worker's count makes no sense")
        if answer.number:
            entries.append(len(times))
        times.append(answer.pts)
    if found is None or not times:
        raise DecodeCrashed("the worker's count has no end")
    if (times[-1] - times[0]) / found.clock > limits.max_seconds:
        raise DecodeCrashed("the worker counts frames beyond the longest time")
    return tuple(times), tuple(entries), found


def _form(times: tuple[int, ...], found: Found) -> Form:
    return Form(
        found.width,
        found.height,
        (1, found.clock),
        found.colour,
        rotation=found.turns * 90,
        audio=tuple(sound.codec for sound in found.sounds),
        frames=len(times),
        seconds=-((times[0] - times[-1] - found.last) // found.clock),
        first=times[0],
        last=found.last,
    )


def _notes(found: Found) -> tuple[ClipNote, ...]:
    """Return what an output will not have."""
    notes = {
        "location": ("the place where it was filmed is not carried on", found.located),
        "tags": (f"{found.tags} tags about the video are not carried on", found.tags),
        "streams": (
            f"{found.others} streams beside picture and sound are not carried on",
            found.others,
        ),
        "rotation": ("turned upright; the mark that said so is not carried on", found.turns),
    }
    return tuple(ClipNote(change, text) for change, (text, holds) in notes.items() if holds)  # type: ignore[arg-type]
