"""Whatever is written is read: ids, sizes, crops, turns, angles and scales drawn at random."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provenance.errors import ShapeError
from provenance.pixels import Frame
from provenance.watermark.payload import Payload
from provenance.watermark.spread import SpreadMark

NAMES = ("coffee", "cloud", "persona4_0", "wide")
HOSTS = st.sampled_from(NAMES)
IDS = st.binary(min_size=6, max_size=6).map(bytes.hex)
ID = "0123456789ab"


def some(count: int) -> Any:
    """Fixed examples; the fixtures hold nothing that one example could change for the next."""
    return settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@some(10)
@given(mark_id=IDS, name=st.sampled_from(("coffee", "persona4_0")))
def test_any_id_comes_back(
    mark_id: str, name: str, mark: SpreadMark, marked: Callable[..., Frame]
) -> None:
    found = mark.detect(marked(name, mark_id), thorough=False)
    assert found is not None
    assert (found.mark_id, found.version, found.state) == (mark_id, 2, "read")
    assert found.p_value <= 1e-20


@some(10)
@given(height=st.integers(256, 1024), width=st.integers(256, 1024), at=st.integers(0, 200))
def test_any_size_from_256_px_on_carries_a_mark(
    height: int,
    width: int,
    at: int,
    mark: SpreadMark,
    host: Callable[[str], Frame],
    payload_of: Callable[[str], Payload],
    copies: SimpleNamespace,
) -> None:
    large = np.tile(host("cloud"), (2, 2, 1))
    frame = np.ascontiguousarray(large[at : at + height, at : at + width])
    out = mark.embed(frame, payload_of(ID))
    assert out.shape == frame.shape
    assert 40.3 <= copies.psnr(out, frame) <= 44.1
    found = mark.detect(copies.recode(out, "JPEG", 70), thorough=False)
    assert found is not None
    assert found.mark_id == ID


@some(20)
@given(
    name=HOSTS,
    box=st.tuples(st.integers(0, 140), st.integers(0, 140), st.integers(230, 500)),
    quarters=st.integers(0, 3),
    mirror=st.booleans(),
)
def test_any_crop_turn_and_flip_is_read_quickly(
    name: str,
    box: tuple[int, int, int],
    quarters: int,
    mirror: bool,
    mark: SpreadMark,
    marked: Callable[..., Frame],
    copies: SimpleNamespace,
) -> None:
    y, x, side = box
    part = copies.crop(marked(name), y, x, side, side + 13)
    found = mark.detect(copies.turn(part, quarters, mirror)[0], thorough=False)
    assert found is not None
    assert found.mark_id == ID
    assert found.geometry is not None
    assert found.geometry.mirrored is mirror
    assert round(found.geometry.rotation_deg) % 360 == 90 * quarters


@some(10)
@given(name=HOSTS, degrees=st.floats(0, 360), mirror=st.booleans())
def test_any_angle_is_read(
    name: str,
    degrees: float,
    mirror: bool,
    mark: SpreadMark,
    marked: Callable[..., Frame],
    copies: SimpleNamespace,
) -> None:
    frame = copies.rotate(copies.turn(marked(name), 0, mirror)[0], degrees)[0]
    found = mark.detect(frame)
    assert found is not None
    assert found.mark_id == ID
    assert found.geometry is not None
    assert found.geometry.mirrored is mirror
    assert abs((found.geometry.rotation_deg - degrees + 180) % 360 - 180) < 0.3


@some(10)
@given(name=HOSTS, factor=st.floats(0.35, 2.0))
def test_any_scale_from_a_third_to_twice_is_read(
    name: str,
    factor: float,
    mark: SpreadMark,
    marked: Callable[..., Frame],
    copies: SimpleNamespace,
) -> None:
    found = mark.detect(copies.scale(marked(name), factor)[0])
    assert found is not None
    assert found.mark_id == ID
    assert found.geometry is not None
    assert abs(found.geometry.scale / factor - 1) < 0.01


@some(8)
@given(
    name=st.sampled_from(("cloud", "persona4_0", "wide")),
    factor=st.floats(0.6, 1.4),
    degrees=st.floats(-20, 20),
    quality=st.integers(60, 95),
)
def test_scale_angle_and_jpeg_together_are_read(
    name: str,
    factor: float,
    degrees: float,
    quality: int,
    mark: SpreadMark,
    marked: Callable[..., Frame],
    copies: SimpleNamespace,
) -> None:
    frame = copies.scale(copies.rotate(marked(name), degrees)[0], factor)[0]
    found = mark.detect(copies.recode(frame, "JPEG", quality))
    assert found is not None
    assert found.mark_id == ID


@some(12)
@given(
    name=HOSTS,
    gain=st.floats(0.7, 1.3),
    level=st.integers(-30, 30),
    coded=st.tuples(st.sampled_from(("JPEG", "WEBP")), st.integers(50, 95)),
)
def test_brightness_contrast_and_codecs_are_read_through(
    name: str,
    gain: float,
    level: int,
    coded: tuple[str, int],
    mark: SpreadMark,
    marked: Callable[..., Frame],
    copies: SimpleNamespace,
) -> None:
    moved = np.clip(gain * (marked(name).astype(float) - 128) + 128 + level, 0, 255)
    found = mark.detect(copies.recode(moved.astype(np.uint8), *coded), thorough=False)
    assert found is not None
    assert found.mark_id == ID


@some(60)
@given(
    shape=st.lists(st.integers(0, 5), min_size=0, max_size=5).map(tuple),
    kind=st.sampled_from(["uint8", "uint16", "int16", "bool", "float32", "float64"]),
)
def test_only_bgr_uint8_is_looked_at(shape: tuple[int, ...], kind: str, mark: SpreadMark) -> None:
    frame = np.zeros(shape, kind)
    if kind == "uint8" and len(shape) == 3 and shape[2] == 3 and frame.size:
        assert mark.detect(frame) is None
        return
    with pytest.raises(ShapeError) as caught:
        mark.detect(frame)
    assert caught.value.code == "SHAPE"
    assert kind in str(caught.value)
