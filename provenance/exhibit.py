"""A file that is being verified, as a picture or as a video: what it carries, and whose copy it is.

Decides how each kind is looked at; what the findings mean is `verify`'s. Videos are decoded apart
and looked at frame by frame (`sight`); only their copy on disk is open meanwhile.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random, SystemRandom
from typing import Final, Protocol

from policies.files import replace_file
from provenance.asset import VIDEO, AssetMime, Content, opened, sniff_asset
from provenance.clip import Clip, frames, open_clip
from provenance.clip_reading import ClipUnsupported
from provenance.labels import Labels, read_labels, read_video_labels
from provenance.media import DEFAULT_LIMITS, Limits, Loader, Picture, decode
from provenance.pixels import Frame
from provenance.sight import Sight, look_at, look_through
from provenance.video import VideoLimits
from provenance.video_sandbox import read_apart
from provenance.watermark import Detection, Watermark

SCAN_LIMITS: Final = VideoLimits(min_seconds=0.0, max_seconds=600.0)
"""For videos of codecs that no release is made of; these are held in memory, up to 200 MB."""

UNFORESEEN: Final[Random] = SystemRandom()
"""Chooses what is looked at, unless a test says otherwise."""


class Exhibit(Protocol):
    """What verification asks of a file."""

    @property
    def content(self) -> Content:
        """The file."""

    @property
    def mime(self) -> AssetMime:
        """What its content is."""

    @property
    def mark(self) -> Detection | None:
        """The mark of the whole; None where there is none, or no key to look with."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Every mark id that was read in it."""

    @property
    def marked(self) -> tuple[int, int]:
        """In how many looks a mark is, readable or not, and how many looks there are."""

    @property
    def sight(self) -> Sight:
        """The frames that stand for it."""

    def labels(self) -> Labels | None:
        """What its labels say; raises as `read_labels` does."""


@dataclass(frozen=True)
class PictureExhibit:
    """A picture; `watermark` looks for marks where there is a key."""

    picture: Picture
    watermark: Watermark | None

    @property
    def content(self) -> bytes:
        """The file."""
        return self.picture.data

    @property
    def mime(self) -> AssetMime:
        """What its content is."""
        return self.picture.mime

    @cached_property
    def mark(self) -> Detection | None:
        """The mark in it."""
        return self.watermark.detect(self.picture.frame) if self.watermark else None

    @property
    def ids(self) -> tuple[str, ...]:
        """The mark id that was read in it, if any."""
        return (self.mark.mark_id,) if self.mark and self.mark.mark_id else ()

    @property
    def marked(self) -> tuple[int, int]:
        """Whether a mark is in it, as one look."""
        return (0 if self.mark is None else 1), 1

    @cached_property
    def sight(self) -> Sight:
        """The picture as the only frame there is."""
        return look_at(self.picture.frame)

    def labels(self) -> Labels | None:
        """What its labels say; raises as `read_labels` does."""
        return read_labels(self.picture.data, self.picture.mime)


@dataclass(frozen=True, slots=True)
class ClipExhibit:
    """A video: its file, and what was seen of it."""

    content: Path
    sight: Sight
    mime: AssetMime = VIDEO

    @property
    def mark(self) -> Detection | None:
        """The mark that every look that can be read carries."""
        return self.sight.mark

    @property
    def ids(self) -> tuple[str, ...]:
        """Every mark id that was read in it."""
        return self.sight.ids

    @property
    def marked(self) -> tuple[int, int]:
        """In how many looks a mark is, readable or not, and how many looks there are."""
        return len(self.sight.marked), len(self.sight.looks)

    def labels(self) -> Labels | None:
        """What its labels say; raises as `read_video_labels` does."""
        with opened(self.content) as file:
            return read_video_labels(file)


@contextmanager
def open_exhibit(
    content: Content,
    *,
    watermark: Watermark | None,
    load: Loader,
    limits: Limits = DEFAULT_LIMITS,
    rng: Random = UNFORESEEN,
) -> Iterator[Exhibit]:
    """Give a file to be verified; a video lies on disk until the end. `limits`: for pictures.

    `rng` chooses the frames that are looked at; one that can be foreseen can be cheated.

    Raises MediaError when it is neither a picture nor a video we read.
    """
    if sniff_asset(content) != VIDEO:
        with opened(content) as file:
            data = file.read(limits.file_bytes + 1)
        yield PictureExhibit(decode(data, limits=limits, load=load), watermark)
        return
    with tempfile.TemporaryDirectory(prefix="facewarrant-") as folder:
        yield _look(content, Path(folder), watermark, rng)


def _look(content: Content, folder: Path, watermark: Watermark | None, rng: Random) -> ClipExhibit:
    """Look at a video by a copy of our own, which nobody changes between two looks."""
    path = folder / "given.mp4"
    if isinstance(content, bytes):
        replace_file(path, content, mode=0o600)
    else:
        path = content
    try:
        clip = open_clip(path, workspace=folder)
    except ClipUnsupported:
        # Platforms code anew; what no release is made of can still be a copy of one.
        with opened(content) as file:
            data = file.read(SCAN_LIMITS.file_bytes + 1)  # one more is refused by name
        sight = look_through(read_apart(data, limits=SCAN_LIMITS), watermark, rng=rng)
        given = folder / "given.mp4"
        replace_file(given, data, mode=0o600)
        return ClipExhibit(given, sight)
    return ClipExhibit(clip.path, look_through(_timed(clip), watermark, rng=rng))


def _timed(clip: Clip) -> Iterator[tuple[float, Frame]]:
    """Yield (seconds since the first frame, frame)."""
    numerator, denominator = clip.form.time_base
    for pts, frame in frames(clip):
        yield (pts - clip.form.first) * numerator / denominator, frame
