"""A file that can carry a manifest: a picture in memory, or a video on disk.

Videos are too large to be held; they are read through an open file. Decides which type a file is by
its first bytes; refused: everything but the picture types and MP4, and for native code a file of
more parts than any real one has.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, Literal, NamedTuple, Protocol, TypeAlias

from provenance.containers import (
    BRANDS_OF_PICTURES,
    Mime,
    png_chunks,
    sniff_mime,
    webp_chunks,
)
from provenance.errors import Empty, Truncated, Undecodable, Unsupported
from provenance.mp4_boxes import require_few_boxes

VideoMime = Literal["video/mp4"]
AssetMime: TypeAlias = Mime | VideoMime

VIDEO: Final[VideoMime] = "video/mp4"

Content: TypeAlias = bytes | Path
"""The bytes of a file, or where they lie."""

_HEAD_BYTES = 4096
_PIECE_BYTES = 1 << 20
_CHUNKS: Final[Mapping[str, Callable[[bytes], Iterable[object]]]] = {
    "image/png": png_chunks,
    "image/webp": lambda data: webp_chunks(data, 8 + int.from_bytes(data[4:8], "little")),
}
_EBML = bytes.fromhex("1a45dfa3")  # RFC 8794, section 8.1


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
    """Give an open file, to be read from its start; raise Undecodable when there is none.

    A named pipe would wait for a writer for ever; it is no file.
    """
    if isinstance(content, bytes):
        yield io.BytesIO(content)
        return
    try:
        file = open(content, "rb", opener=_open_at_once)
    except OSError as error:
        raise Undecodable(f"the file cannot be read: {error.strerror}") from error
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Undecodable("the file cannot be read: it is no plain file")
        yield file


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def sniff_asset(content: Content) -> AssetMime:
    """Return the type that the first bytes name.

    Raises Unsupported for any other, Empty for nothing, and Undecodable.
    """
    with opened(content) as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise Empty("the file is empty")
    if head.startswith(_EBML):
        raise Unsupported("the file is Matroska or WebM", mend="save it as MP4")
    return VIDEO if is_video(head) else sniff_mime(head)


def require_few_parts(content: Content, mime: str) -> None:
    """Return if a file of this type has few enough boxes or chunks for native code to read it.

    Raises Undecodable for more, Truncated for a video whose boxes run out of each other. A picture
    that ends early is let pass: what is there was counted.
    """
    with opened(content) as file:
        if mime == VIDEO:
            require_few_boxes(file)
        elif mime in _CHUNKS:
            with suppress(Truncated):
                for _ in _CHUNKS[mime](file.read()):
                    pass


def is_video(head: bytes) -> bool:
    """Tell whether a file's first bytes are those of MP4, or of QuickTime, which has its boxes."""
    return head[4:8] == b"ftyp" and head[8:12] not in BRANDS_OF_PICTURES


def digest_of(content: Content) -> str:
    """Return the SHA-256 of a file, hex; raises Undecodable."""
    hasher = hashlib.sha256()
    with opened(content) as file:
        while piece := file.read(_PIECE_BYTES):
            hasher.update(piece)
    return hasher.hexdigest()
