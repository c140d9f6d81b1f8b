"""The frames of a target video, each bound to the file that it was read from.

A swap task names its target by digest, and a picture carries its own. So does a frame from here:
`watch` alone makes them, of a clip that `open_clip` made. Refused: anything else (MediaError).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import InitVar, dataclass, field
from typing import NoReturn

from generator.faces import Frame
from provenance.clip import Clip, frames, require_clip
from provenance.errors import MediaError

_DOOR = object()


@dataclass(frozen=True, slots=True, eq=False)
class ClipFrame:
    """One frame of a target video; only `watch` makes one.

    `frame`: BGR uint8 (h, w, 3), upright, not writeable; `pts`: when it is shown, in units of the
    clip's time base; `number`: 0 is the first; `second`: whole seconds since then; `sha256`: of the
    clip's file, hex.
    """

    frame: Frame = field(repr=False)
    pts: int
    number: int
    second: int
    sha256: str
    door: InitVar[object] = None

    def __post_init__(self, door: object) -> None:
        if door is not _DOOR:
            raise MediaError("a ClipFrame cannot be built by hand", mend="use watch(clip)")

    def __reduce__(self) -> NoReturn:
        raise MediaError("a ClipFrame cannot be pickled", mend="use watch(clip) where it is needed")


def watch(clip: Clip, *, start: int = 0, stop: int | None = None) -> Generator[ClipFrame]:
    """Yield frames `start` to `stop` (not included) of a clip; raises as `provenance.clip.frames`.

    A generator with a decoder behind it: close it when it is not read to its end.
    """
    require_clip(clip)
    for number, (pts, frame) in enumerate(frames(clip, start=start, stop=stop), start):
        frame.setflags(write=False)
        yield ClipFrame(frame, pts, number, clip.form.second(pts), clip.sha256, _DOOR)


def require_clip_frame(value: object) -> ClipFrame:
    """Return `value` if it is a ClipFrame; raise MediaError for anything else."""
    if type(value) is not ClipFrame or not hasattr(value, "sha256"):
        raise MediaError("only a frame of a clip is taken", mend="use watch(clip)")
    return value
