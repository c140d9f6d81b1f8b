"""Invisible marks by name: one protocol, one registry, one module for each kind.

Decides which mark a name stands for; refuses unknown names. A kind embeds a `Payload`, which only
an active warrant can issue, and reads without the original. Kinds differ in what they survive, not
in what a `Detection` means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol

from provenance.errors import UnknownWatermark
from provenance.pixels import Frame
from provenance.watermark.detection import Detection
from provenance.watermark.geometry import Geometry
from provenance.watermark.payload import Payload, issue_payload
from provenance.watermark.spread import SpreadMark

__all__ = [
    "DEFAULT_WATERMARK",
    "Detection",
    "Geometry",
    "Payload",
    "Watermark",
    "issue_payload",
    "list_watermarks",
    "open_watermark",
]

DEFAULT_WATERMARK: Final = "spread"


class Watermark(Protocol):
    """A mark of a key ring: the newest key writes, all read. Frames are BGR uint8 (h, w, 3)."""

    @property
    def alg(self) -> str:
        """The algorithm's name in a C2PA soft binding, with its version."""

    def embed(self, image: Frame, payload: Payload) -> Frame:
        """Return a marked copy; raises `WarrantInvalid`, `NotMarkable` or `AlreadyMarked`."""

    def detect(self, image: Frame, *, thorough: bool = True) -> Detection | None:
        """Return what mark of these keys is there, None where nothing can be claimed.

        Without `thorough` only what is quick is tried: pictures that kept their size and angle.
        """

    def detect_clip(self, frames: Iterable[Frame]) -> Detection | None:
        """The same of frames of one clip together, keyframes first; stops when it is sure."""


class _Maker(Protocol):
    def __call__(self, *, keys: Sequence[bytes]) -> Watermark: ...


_WATERMARKS: Mapping[str, _Maker] = MappingProxyType({"spread": SpreadMark})


def list_watermarks() -> tuple[str, ...]:
    """Return the registered names, sorted."""
    return tuple(sorted(_WATERMARKS))


def open_watermark(name: str, *, keys: Sequence[bytes]) -> Watermark:
    """Return the watermark registered under `name` for a ring of 32-byte keys, newest first.

    Raises `UnknownWatermark` and `MarkKeyRefused`.
    """
    maker = _WATERMARKS.get(name)
    if maker is None:
        raise UnknownWatermark(
            f"no watermark is called {name!r}", mend=f"one of {', '.join(list_watermarks())}"
        )
    return maker(keys=keys)
