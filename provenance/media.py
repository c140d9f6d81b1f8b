"""Bytes to pixels and pixels to bytes, with limits against hostile input.

Decides what counts as a picture: one still JPEG, PNG or WebP within named limits, read in full or
not at all, and opaque unless the caller asks for its alpha plane. The file's own structure is
checked first, the decoder then sees only the picture's bytes and its colour profile, which is
applied: frames are sRGB. Metadata and bytes after the end are tolerated when reading, reported, and
never carried on, because an output is always encoded anew. Files of others belong in a decoder of
its own process: `decode(data, load=pool)` with a `sandbox.DecodePool`.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from policies.digest import sha256_hex
from provenance.containers import Container, Mime, open_container, read_exif_tag
from provenance.errors import (
    Animated,
    Empty,
    MediaError,
    ShapeError,
    TooLarge,
    TooSmall,
    Transparent,
    Unsupported,
)
from provenance.exchange import Coded, Form
from provenance.foreign import find_formats, name_tail
from provenance.pixels import Alpha, Frame, Pixels, load

Box: TypeAlias = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels; x1 and y1 are outside."""
Loader: TypeAlias = Callable[[Coded], Pixels]
"""What turns coded bytes into pixels: `pixels.load` in this process, or a `DecodePool`."""
Change = Literal["tail", "polyglot", "depth", "profile", "gamut", "inks", "orientation", "alpha"]

MIMES: Final = get_args(Mime)
MAX_XMP_BYTES = 65_502
"""One JPEG APP1 segment (65,533 bytes) less the XMP name; the same for all formats."""
JPEG_QUALITY = 95
"""High enough that the mark and skin detail lose less than sensor noise; files stay usual in size.
Chroma is kept at full resolution (4:4:4): halved chroma smears colour across the swap's edge."""
WEBP_QUALITY = 95
"""As for JPEG; lossy WebP always halves chroma, which does not touch a luma mark."""

_DOOR = object()


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on what is decoded; values from the threat model, section 2 (T16, T18).

    The inflation cap cannot bite below the default pixel cap (150 MB / 1 MB = 150); it holds where
    an operator raises that cap.
    """

    file_bytes: int = 64_000_000
    """A 50-megapixel photograph at top quality is about 40 MB."""
    pixels: int = 50_000_000
    """150 MB decoded; below Pillow's own warning at 89 MP."""
    side_px: int = 16_384
    """WebP's own limit is 16,383; longer sides are strips, not photographs."""
    side_ratio: int = 20
    """A 16384 x 819 panorama passes; a line does not."""
    inflation: int = 1_000
    """Decoded bytes per file byte, for files above `inflation_from_bytes`."""
    inflation_from_bytes: int = 1_000_000
    metadata_bytes: int = 1_000_000
    """EXIF, XMP, profiles, manifests and comments together."""
    min_side_px: int = 16
    """One JPEG block group at halved chroma; nothing smaller holds a face."""


DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Note:
    """One thing about a file that its frame does not show, in words for people."""

    change: Change
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded, immutable picture; only `decode` makes one.

    `data`: the file as received; `mime`: what its content is; `frame`: BGR uint8 (h, w, 3), sRGB,
    not writeable, EXIF orientation applied; `sha256`: hex digest of `data`; `alpha`: uint8 (h, w),
    None where every pixel is opaque, as always unless it was asked for; `notes`: what was changed,
    dropped or found beside the picture.
    """

    data: bytes = field(repr=False)
    mime: Mime
    frame: Frame = field(repr=False)
    sha256: str
    door: InitVar[object] = None
    alpha: Alpha | None = field(default=None, repr=False)
    notes: tuple[Note, ...] = ()

    def __post_init__(self, door: object) -> None:
        if door is not _DOOR:
            raise MediaError("a Picture cannot be built by hand", mend="use decode(data)")

    @property
    def content(self) -> bytes:
        """The file as it was received: what `asset.Input` asks for."""
        return self.data

    def __reduce__(self) -> tuple[object, ...]:
        # A pickled picture is decoded again: no stored pixels are ever trusted.
        return _decode_again, (self.data, self.alpha is not None)


def decode(
    data: bytes,
    *,
    limits: Limits = DEFAULT_LIMITS,
    load: Loader = load,
    keep_alpha: bool = False,
) -> Picture:
    """Decode a still JPEG, PNG or WebP file named by its content, not by its name.

    Grey, palette, CMYK and 16-bit pictures become BGR uint8 (16 bits by their high byte), colours
    become sRGB by the embedded profile. `load`: give a `DecodePool` for any file we did not write
    ourselves. A picture with any pixel that is not fully opaque is refused: viewers show it on
    different backgrounds, so people and our gates would judge different pictures. Who sets
    `keep_alpha` has to judge every one of `views(picture)`; colours under clear pixels become
    white, so that nothing hides there. Raises `Empty`, `Unsupported`, `Truncated`, `TooLarge`,
    `TooSmall`, `Animated`, `Transparent` or `Undecodable`, and what `load` raises.
    """
    if not data:
        raise Empty("the file is empty")
    if len(data) > limits.file_bytes:
        raise TooLarge(f"the file has {len(data)} bytes, the cap is {limits.file_bytes}")
    box = open_container(data)
    _check_limits(box, len(data), limits)
    pixels = load(Coded(box.mime, box.width, box.height, box.picture, box.icc))
    if pixels.alpha is not None and not keep_alpha:
        raise Transparent(
            "the picture has pixels that are not fully opaque",
            mend="flatten it on the background it is meant to be seen on",
        )
    orientation = _orientation(box)
    frame, alpha = _turn(pixels.frame, orientation), None
    if pixels.alpha is not None:
        alpha = _turn(pixels.alpha, orientation)
        frame[alpha == 0] = 255
        alpha.setflags(write=False)
    frame.setflags(write=False)
    notes = (*_file_notes(data, box, orientation), *_pixel_notes(pixels.form))
    return Picture(data, box.mime, frame, sha256_hex(data), _DOOR, alpha, notes)


def views(picture: Picture) -> tuple[Frame, ...]:
    """Return the picture as people may see it: one frame, or on black and on white.

    Whatever an alpha plane draws shows on one of the two; a gate that allows both allows the
    picture. BGR uint8 (h, w, 3) each.
    """
    if picture.alpha is None:
        return (picture.frame,)
    share = picture.alpha[..., None].astype(np.uint16)
    colours = picture.frame * share
    return tuple(
        ((colours + ground * (255 - share) + 127) // 255).astype(np.uint8) for ground in (0, 255)
    )


def encode(
    frame: Frame, mime: Mime, *, xmp: bytes | None = None, alpha: Alpha | None = None
) -> bytes:
    """Encode BGR uint8 (h, w, 3) as JPEG (quality 95, 4:4:4), PNG (lossless) or WebP (quality 95).

    The file holds the pixels and, where given, an alpha plane (h, w), which PNG and WebP keep
    value by value, and one XMP packet of at most 65,502 bytes; nothing else. Raises `ShapeError`,
    `Unsupported` for another mime or alpha in JPEG, `TooLarge` for too long an XMP packet or sides
    the format cannot hold.
    """
    require_frame(frame)
    if mime not in MIMES:
        raise Unsupported(f"cannot write {mime!r}", mend=f"one of {', '.join(MIMES)}")
    if xmp is not None and len(xmp) > MAX_XMP_BYTES:
        raise TooLarge(f"the XMP packet has {len(xmp)} bytes, the cap is {MAX_XMP_BYTES}")
    image = Image.fromarray(np.ascontiguousarray(frame[..., ::-1]))
    if alpha is not None:
        _require_alpha(alpha, frame, mime)
        image.putalpha(Image.fromarray(alpha))
    out = io.BytesIO()
    try:
        if mime == "image/jpeg":
            image.save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0, **_xmp_option(xmp))
        elif mime == "image/png":
            image.save(out, "PNG", compress_level=6, pnginfo=_png_text(xmp))
        else:
            image.save(out, "WEBP", quality=WEBP_QUALITY, method=4, exact=True, **_xmp_option(xmp))
    except (OSError, ValueError) as error:
        size = f"{frame.shape[1]} x {frame.shape[0]}"
        raise TooLarge(f"{mime} cannot hold a picture of {size} pixels") from error
    return out.getvalue()


def require_picture(value: object) -> Picture:
    """Return `value` if `decode` made it; raise MediaError for anything that only looks like it.

    A stand-in could name one picture by its digest and show another.
    """
    if type(value) is not Picture or not hasattr(value, "sha256"):
        raise MediaError(f"a {type(value).__name__} is not a Picture", mend="use decode(data)")
    return value


def require_frame(frame: npt.NDArray[np.generic]) -> None:
    """Raise `ShapeError` unless `frame` is a uint8 array (h, w, 3) with at least one pixel."""
    if not isinstance(frame, np.ndarray):
        raise ShapeError(actual=type(frame).__name__, expected="a BGR uint8 array (h, w, 3)")
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.size == 0:
        raise ShapeError(actual=(frame.dtype.name, frame.shape), expected="BGR uint8 (h, w, 3)")


def _check_limits(container: Container, file_bytes: int, limits: Limits) -> None:
    width, height = container.width, container.height
    short, long = sorted((width, height))
    size = f"{width} x {height} pixels"
    if short < limits.min_side_px:
        raise TooSmall(f"the picture is {size}, a side has at least {limits.min_side_px}")
    if long > limits.side_px or width * height > limits.pixels:
        raise TooLarge(
            f"the picture is {size}; at most {limits.side_px} a side and {limits.pixels} in all",
            mend="make the picture smaller",
        )
    if long > short * limits.side_ratio:
        raise TooLarge(f"the picture is {size}, the sides differ more than {limits.side_ratio}:1")
    if container.animated:
        raise Animated("the file holds an animation, a still is needed")
    if container.metadata_bytes > limits.metadata_bytes:
        raise TooLarge(f"{container.metadata_bytes} bytes of metadata exceed the cap")
    inflated = width * height * 3 / len(container.picture)
    if file_bytes > limits.inflation_from_bytes and inflated > limits.inflation:
        raise TooLarge(f"the picture inflates {inflated:.0f} times, the cap is {limits.inflation}")


def _orientation(container: Container) -> int:
    """Return EXIF tag 0x0112, 1 where it is absent or no number from 1 to 8 (EXIF 2.32)."""
    value = read_exif_tag(container.exif, 0x0112)
    orientation = int.from_bytes(value, "big") if value is not None and len(value) == 2 else 1
    return orientation if 1 <= orientation <= 8 else 1


def _turn(plane: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Return the plane turned and mirrored as the orientation says."""
    turns = {3: 2, 4: 2, 5: 3, 6: 3, 7: 1, 8: 1}.get(orientation, 0)
    turned = np.rot90(plane, turns)
    mirrored = turned[:, ::-1] if orientation in {2, 4, 5, 7} else turned
    return np.ascontiguousarray(mirrored)


def _file_notes(data: bytes, container: Container, orientation: int) -> list[Note]:
    notes = []
    if tail := len(data) - container.end:
        what = name_tail(data, container.end)
        notes.append(Note("tail", f"{tail} bytes follow the picture ({what}); dropped"))
    for name in find_formats(data):
        notes.append(Note("polyglot", f"the file can also be opened as {name}; dropped"))
    if orientation != 1:
        notes.append(Note("orientation", f"turned upright from EXIF orientation {orientation}"))
    return notes


def _pixel_notes(form: Form) -> list[Note]:
    notes = []
    if form.depth == 16:
        notes.append(Note("depth", "16 bits a channel became 8: the low byte is lost"))
    if form.profile == "converted":
        notes.append(Note("profile", "colours were converted to sRGB by the embedded profile"))
    if form.profile == "ignored":
        notes.append(Note("profile", "the embedded colour profile does not apply; read as sRGB"))
    if form.outside_permille:
        share = form.outside_permille / 10
        notes.append(Note("gamut", f"{share:g} % of the colours lie outside sRGB: clipped"))
    if form.channels == "inks":
        notes.append(Note("inks", "four inks became RGB; print colours may differ"))
    if form.alpha:
        notes.append(Note("alpha", "colours under fully transparent pixels became white"))
    return notes


def _require_alpha(alpha: Alpha, frame: Frame, mime: Mime) -> None:
    if mime == "image/jpeg":
        raise Unsupported("JPEG holds no transparency", mend="write PNG or WebP, or flatten it")
    if alpha.dtype != np.uint8 or alpha.shape != frame.shape[:2]:
        expected = f"an alpha plane uint8 {frame.shape[:2]}"
        raise ShapeError(actual=(alpha.dtype.name, alpha.shape), expected=expected)


def _decode_again(data: bytes, keep_alpha: bool) -> Picture:
    return decode(data, keep_alpha=keep_alpha)


def _xmp_option(xmp: bytes | None) -> dict[str, bytes]:
    return {} if xmp is None else {"xmp": xmp}


def _png_text(xmp: bytes | None) -> PngInfo | None:
    if xmp is None:
        return None
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8"))
    return info
