"""Pixels are what viewers show, and a decoder that fails does so by name."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from provenance.containers import open_container
from provenance.errors import MediaError
from provenance.exchange import Coded
from provenance.pixels import load

VECTORS = Path(__file__).parent.parent / "vectors" / "media"


def coded(name: str) -> Coded:
    box = open_container((VECTORS / name).read_bytes())
    return Coded(box.mime, box.width, box.height, box.picture, box.icc)


def png(image: Image.Image, icc: bytes = b"", **options: Any) -> Coded:
    out = io.BytesIO()
    image.save(out, "PNG", **options)
    return Coded("image/png", image.width, image.height, out.getvalue(), icc)


@pytest.mark.parametrize(
    ("name", "depth", "channels", "profile"),
    [
        ("plain.jpg", 8, "colour", "none"),
        ("grey.png", 8, "grey", "none"),
        ("sixteen_bit.png", 16, "grey", "none"),
        ("sixteen_bit_colour.png", 16, "colour", "none"),
        ("palette.png", 8, "colour", "none"),
        ("cmyk.jpg", 8, "inks", "none"),
        ("srgb_profile.jpg", 8, "colour", "srgb"),
        ("display_p3.jpg", 8, "colour", "converted"),
        ("grey_profile.png", 8, "grey", "converted"),
        ("broken_profile.jpg", 8, "colour", "ignored"),
        ("wrong_profile.jpg", 8, "inks", "ignored"),
    ],
)
def test_the_form_tells_what_the_file_held(
    name: str, depth: int, channels: str, profile: str
) -> None:
    form = load(coded(name)).form
    assert (form.depth, form.channels, form.profile) == (depth, channels, profile)
    assert (form.width, form.height, form.alpha) == (48, 32, False)
    assert (form.outside_permille > 0) == (name == "display_p3.jpg")


def test_one_bit_pictures_are_grey() -> None:
    pixels = load(png(Image.fromarray(np.eye(16, dtype=bool))))
    assert pixels.form.channels == "grey"
    assert np.array_equal(pixels.frame[..., 1], np.eye(16, dtype=np.uint8) * 255)


def test_a_transparent_palette_entry_is_alpha() -> None:
    image = Image.new("P", (16, 16), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.putpixel((3, 5), 0)
    pixels = load(png(image, transparency=0))
    assert pixels.alpha is not None
    assert np.argwhere(pixels.alpha < 255).tolist() == [[5, 3]]
    assert pixels.frame[0, 0].tolist() == [30, 20, 10]


def test_a_profile_that_maps_one_way_only_is_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    build = ImageCms.buildTransform
    calls = []

    def once(*args: Any) -> ImageCms.ImageCmsTransform:
        calls.append(args)
        if len(calls) > 1:
            raise ImageCms.PyCMSError("no way back")
        return build(*args)

    monkeypatch.setattr(ImageCms, "buildTransform", once)
    form = load(coded("display_p3.png")).form
    assert (form.profile, form.outside_permille) == ("converted", 0)


def test_running_out_of_memory_has_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Image, "open", never)
    with pytest.raises(MediaError) as caught:
        load(coded("plain.png"))
    assert caught.value.code == "DECODE-MEMORY"
