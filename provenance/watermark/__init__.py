"""Invisible marks by name: one protocol, one registry, one module for each kind.

Decides which mark a name stands for; refuses unknown names. A kind embeds a `Payload`, which only
an active warrant can issue, and reads without the original. Kinds differ in what they survive, not
in what a `Detection` means.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

from provenance.errors import UnknownWatermark
from provenance.pixels import Frame
from provenance.watermark.payload import Detection, Payload, issue_payload
from provenance.watermark.spread import SpreadMark

__all__ = [
    "DEFAULT_WATERMARK",
    "Detection",
    "Payload",
    "Watermark",
    "issue_payload",
    "list_watermarks",
    "open_watermark",
]

DEFAULT_WATERMARK: Final = "spread"


class Watermark(Protocol):
    """A keyed mark; frames are BGR uint8 (h, w, 3)."""

    @property
    def alg(self) -> str:
        """The algorithm's name in a C2PA soft binding, with its version."""

    def embed(self, image: Frame, payload: Payload) -> Frame:
        """Return a marked copy; raises `WarrantInvalid`, `NotMarkable` or `AlreadyMarked`."""

    def detect(self, image: Frame) -> Detection | None:
        """Return what mark of this key is there, None where nothing can be claimed."""


class _Maker(Protocol):
    def __call__(self, *, key: bytes) -> Watermark: ...


_WATERMARKS: Mapping[str, _Maker] = MappingProxyType({"spread": SpreadMark})


def list_watermarks() -> tuple[str, ...]:
    """Return the registered names, sorted."""
    return tuple(sorted(_WATERMARKS))


def open_watermark(name: str, *, key: bytes) -> Watermark:
    """Return the watermark registered under `name` for a 32-byte key.

    Raises `UnknownWatermark` and `MarkKeyRefused`.
    """
    maker = _WATERMARKS.get(name)
    if maker is None:
        raise UnknownWatermark(
            f"no watermark is called {name!r}", mend=f"one of {', '.join(list_watermarks())}"
        )
    return maker(key=key)
