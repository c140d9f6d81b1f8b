"""A picture's coded bytes to pixels in sRGB; runs in the decoding worker or, for our own, here.

Decides what the pixels of grey, palette, four-ink and 16-bit pictures are, and what an embedded
colour profile does to them: viewers apply it, so gates have to see it applied. Refuses content
that does not decode, and a transparent colour given in 16 bits, which cannot be told apart in 8.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageFile

from provenance.containers import Mime
from provenance.errors import MediaError, Transparent, Truncated, Undecodable
from provenance.exchange import Channels, Coded, DecodeMemory, Form, Profile, refusal

Frame: TypeAlias = npt.NDArray[np.uint8]
"""BGR uint8 (h, w, 3)."""
Alpha: TypeAlias = npt.NDArray[np.uint8]
"""uint8 (h, w): 0 clear, 255 opaque; not multiplied into the colours."""

PIL_NAME: Final[dict[Mime, str]] = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
_SAMPLE_SIDE_PX = 256
_OUT_OF_GAMUT_LEVELS = 8
"""Measured: colours inside sRGB come back from 8-bit Display P3 within 4 levels."""


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """A decoded picture: `frame` BGR uint8 (h, w, 3), `alpha` (h, w) or None where opaque."""

    frame: Frame
    alpha: Alpha | None
    form: Form


def load(coded: Coded) -> Pixels:
    """Decode one picture, not yet turned by its EXIF orientation.

    Raises Truncated, Undecodable, Transparent and DecodeMemory.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise Undecodable("another library told Pillow to accept truncated pictures")
    try:
        with Image.open(io.BytesIO(coded.picture), formats=[PIL_NAME[coded.mime]]) as image:
            if image.size != (coded.width, coded.height):
                raise Undecodable("the decoder and the file header disagree about the size")
            image.load()
            return _read(image, coded)
    except MediaError:
        raise
    except MemoryError as error:
        raise refusal(DecodeMemory, coded.mime) from error
    # Pillow's parsers raise whatever they trip over (OSError, SyntaxError, struct.error, ...).
    except Exception as error:
        raise refusal(
            Truncated if "truncated" in str(error) else Undecodable, coded.mime
        ) from error


def _read(image: Image.Image, coded: Coded) -> Pixels:
    depth = 16 if coded.mime == "image/png" and coded.picture[24] == 16 else 8
    if depth == 16 and "transparency" in image.info:
        raise refusal(Transparent, coded.mime)
    colours, alpha = _split(image)
    channels: Channels = {"L": "grey", "CMYK": "inks"}.get(colours.mode, "colour")  # type: ignore[assignment]
    rgb, profile, outside = _to_srgb(colours, coded.icc)
    frame = np.ascontiguousarray(np.asarray(rgb)[..., ::-1])
    opaque = alpha is None or alpha.min() == 255
    form = Form(coded.width, coded.height, not opaque, depth, channels, profile, outside)
    return Pixels(frame, None if opaque else alpha, form)


def _split(image: Image.Image) -> tuple[Image.Image, Alpha | None]:
    """Return the colours as an L, RGB or CMYK image, and the alpha plane where there is one."""
    if image.mode.startswith("I"):
        grey = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
        return Image.fromarray(grey), None
    if image.mode == "LA":
        return image.getchannel("L"), np.asarray(image.getchannel("A"))
    if "transparency" in image.info or {"A", "a"} & set(image.getbands()):
        image = image.convert("RGBA")
        return image.convert("RGB"), np.asarray(image.getchannel("A"))
    if image.mode in ("L", "CMYK"):
        return image, None
    return image.convert("L" if image.mode == "1" else "RGB"), None


def _to_srgb(image: Image.Image, icc: bytes) -> tuple[Image.Image, Profile, int]:
    """Return the image in sRGB, what became of its profile, and the permille that was clipped."""
    if not icc:
        return image.convert("RGB"), "none", 0
    srgb = ImageCms.createProfile("sRGB")
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        there = _transform(profile, srgb, image.mode)
    except (ImageCms.PyCMSError, OSError):
        return image.convert("RGB"), "ignored", 0
    probe = _probe().convert(image.mode)
    if _farthest(there.apply(probe), probe.convert("RGB")).max() <= 1:
        return image.convert("RGB"), "srgb", 0
    outside = _clipped(image, profile, there) if image.mode == "RGB" else 0
    return there.apply(image), "converted", outside


def _transform(source: object, target: object, mode: str) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(
        source,  # type: ignore[arg-type]
        target,  # type: ignore[arg-type]
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


def _clipped(
    image: Image.Image, profile: ImageCms.ImageCmsProfile, there: ImageCms.ImageCmsTransform
) -> int:
    """Return how many in a thousand sampled colours do not come back from sRGB."""
    size = (min(image.width, _SAMPLE_SIDE_PX), min(image.height, _SAMPLE_SIDE_PX))
    sample = image.resize(size, Image.Resampling.NEAREST)
    try:
        back = _transform(ImageCms.createProfile("sRGB"), profile, "RGB")
    except ImageCms.PyCMSError:
        return 0  # a profile that maps one way only, as scanners have
    lost = _farthest(back.apply(there.apply(sample)), sample) > _OUT_OF_GAMUT_LEVELS
    return round(1000 * float(lost.mean()))


def _probe() -> Image.Image:
    """Return every combination of 16 levels a channel, as a 64 x 64 picture."""
    steps = np.arange(0, 256, 17, dtype=np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1)
    return Image.fromarray(grid.reshape(64, 64, 3))


def _farthest(one: Image.Image, other: Image.Image) -> npt.NDArray[np.int16]:
    """Return the largest difference of the three channels at every pixel."""
    difference = np.asarray(one).astype(np.int16) - np.asarray(other)
    worst: npt.NDArray[np.int16] = np.abs(difference).max(axis=-1)
    return worst
