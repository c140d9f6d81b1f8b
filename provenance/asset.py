"""A file that can carry a manifest: a picture in memory, or a video on disk.

Videos are too large to be held; they are read through an open file. Decides which type a file is by
its first bytes; refused: everything but the picture types and MP4.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, Literal, NamedTuple, Protocol, TypeAlias

from provenance.containers import BRANDS_OF_PICTURES, Mime, sniff_mime
from provenance.errors import Undecodable, Unsupported

VideoMime = Literal["video/mp4"]
AssetMime: TypeAlias = Mime | VideoMime

VIDEO: Final[VideoMime] = "video/mp4"

Content: TypeAlias = bytes | Path
"""The bytes of a file, or where they lie."""

_HEAD_BYTES = 4096


class Input(Protocol):
    """A picture or clip that a release was made from."""

    @property
    def sha256(self) -> str:
        """SHA-256 of the file, hex."""

    @property
    def mime(self) -> AssetMime:
        """What its content is."""

    @property
    def content(self) -> Content:
        """The file as it was received."""


class Inputs(NamedTuple):
    """What a release was made from: whose body it shows, and whose face."""

    target: Input
    source: Input


@contextmanager
def opened(content: Content) -> Iterator[BinaryIO]:
    """Give an open file, to be read from its start; raise Undecodable when there is none."""
    if isinstance(content, bytes):
        yield io.BytesIO(content)
        return
    try:
        file = content.open("rb")
    except OSError as error:
        raise Undecodable(f"the file cannot be read: {error.strerror}") from error
    with file:
        yield file


def sniff_asset(content: Content) -> AssetMime:
    """Return the type that the first bytes name; raise Unsupported for any other, Undecodable."""
    with opened(content) as file:
        head = file.read(_HEAD_BYTES)
    if head[4:8] == b"ftyp" and head[8:12] not in BRANDS_OF_PICTURES:
        if head[8:12] == b"qt  ":
            raise Unsupported("the file is QuickTime", mend="export it as MP4 with H.264")
        return VIDEO
    return sniff_mime(head)
