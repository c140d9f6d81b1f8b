"""The spread mark is read through the copies it is made for, and nowhere else."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import data as pictures

from policies.warrant import WarrantInvalid
from policies.warrants import ActiveWarrant
from provenance.errors import AlreadyMarked, NotMarkable, ShapeError
from provenance.media import decode
from provenance.watermark.payload import Payload, issue_payload
from provenance.watermark.spread import (
    MAX_FALSE_PRESENCE,
    TILE_PX,
    SpreadMark,
    bound_false_presence,
)

KEY = bytes(range(32))
ID = "0123456789ab"
GOLDEN = Path(__file__).parent.parent / "vectors" / "media" / "marked_spread_v1.webp"


@pytest.fixture
def payload(active_warrant: Callable[..., ActiveWarrant]) -> Payload:
    return issue_payload(active_warrant(), rng=lambda _: bytes.fromhex(ID))


@pytest.fixture
def mark() -> SpreadMark:
    return SpreadMark(key=KEY)


@pytest.fixture
def host(demo_picture: Callable[[str], bytes]) -> np.ndarray:
    return decode(demo_picture("persona1_0")).frame


def recode(frame: np.ndarray, kind: str, quality: int) -> np.ndarray:
    out = io.BytesIO()
    Image.fromarray(frame[..., ::-1]).save(out, kind, quality=quality)
    return np.asarray(Image.open(io.BytesIO(out.getvalue())).convert("RGB"))[..., ::-1].copy()


def half_and_back(frame: np.ndarray) -> np.ndarray:
    image, (h, w) = Image.fromarray(frame), frame.shape[:2]
    return np.asarray(image.resize((w // 2, h // 2), Image.LANCZOS).resize((w, h), Image.BICUBIC))


def crop(frame: np.ndarray, share: float) -> np.ndarray:
    y, x = (int(n * (1 - share) / 2) for n in frame.shape[:2])
    return frame[y : frame.shape[0] - y, x : frame.shape[1] - x]


ATTACKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda f: f,
    "jpeg 70": lambda f: recode(f, "JPEG", 70),
    "webp 80": lambda f: recode(f, "WEBP", 80),
    "half and back": half_and_back,
    "crop 80 %": lambda f: crop(f, 0.8),
    "odd crop": lambda f: f[3:, 77:],
    "crop and jpeg 70": lambda f: recode(crop(f, 0.8), "JPEG", 70),
    "brighter": lambda f: np.clip(f * 1.2, 0, 255).astype(np.uint8),
}


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * math.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


@pytest.mark.parametrize("name", ["persona1_0", "persona3_2", "persona5_0"])
def test_the_id_is_read_through_every_copy(
    name: str, mark: SpreadMark, payload: Payload, demo_picture: Callable[[str], bytes]
) -> None:
    marked = mark.embed(decode(demo_picture(name)).frame, payload)
    for attack, copy_of in ATTACKS.items():
        found = mark.detect(copy_of(marked))
        assert found is not None, attack
        assert (found.mark_id, found.version, found.state) == (ID, 1, "read"), attack
        assert found.p_value == bound_false_presence(found.statistic) <= MAX_FALSE_PRESENCE


def test_the_mark_costs_44_db_of_luma_only(
    mark: SpreadMark, payload: Payload, host: np.ndarray
) -> None:
    before = host.copy()
    marked = mark.embed(host, payload)
    assert np.array_equal(host, before)
    assert marked.dtype == np.uint8
    assert abs(psnr(marked, host) - 44.0) < 0.1
    change = marked.astype(int) - host
    inside = ((host > 20) & (host < 235)).all(axis=2)
    assert np.ptp(change[inside], axis=1).max() == 0


def test_the_same_key_id_and_picture_give_the_same_pixels(
    mark: SpreadMark, payload: Payload, host: np.ndarray
) -> None:
    again = SpreadMark(key=KEY).embed(host, payload)
    assert np.array_equal(mark.embed(host, payload), again)


def test_the_smallest_picture_carries_a_mark_and_one_below_does_not(
    mark: SpreadMark, payload: Payload, host: np.ndarray
) -> None:
    found = mark.detect(recode(mark.embed(host[128:384, 128:384], payload), "JPEG", 70))
    assert found is not None
    assert found.mark_id == ID
    with pytest.raises(NotMarkable):
        mark.embed(host[128:384, 128:383], payload)


def test_a_large_picture_carries_a_mark(mark: SpreadMark, payload: Payload) -> None:
    large = np.tile(pictures.astronaut()[..., ::-1], (2, 3, 1))[:900, :1400]
    marked = mark.embed(large, payload)
    assert psnr(marked, large) > 43.9
    found = mark.detect(recode(marked, "JPEG", 70))
    assert found is not None
    assert found.mark_id == ID


def test_marks_released_in_the_past_stay_readable(mark: SpreadMark) -> None:
    found = mark.detect(decode(GOLDEN.read_bytes()).frame)
    assert found is not None
    assert found.mark_id == ID
    assert found.statistic > 15


def test_mostly_clipped_pictures_never_fall_below_40_db(mark: SpreadMark, payload: Payload) -> None:
    picture = np.full((512, 512, 3), 255, np.uint8)
    picture[:, :200] = pictures.astronaut()[:, :200, ::-1]
    marked = mark.embed(picture, payload)
    assert psnr(marked, picture) >= 40.0


def unmarkable() -> Iterator[tuple[str, np.ndarray]]:
    for level in (0, 1, 128, 254, 255):
        yield f"flat {level}", np.full((512, 512, 3), level, np.uint8)
    ramp = np.linspace(0, 255, 512).astype(np.uint8)
    yield "gradient", np.repeat(np.tile(ramp, (512, 1))[..., None], 3, axis=2)
    pure = np.random.default_rng(5).integers(0, 2, (512, 512, 1)) * 255
    yield "black and white noise", np.repeat(pure, 3, axis=2).astype(np.uint8)
    line_art = np.where(pictures.horse(), 255, 0).astype(np.uint8)
    yield "silhouette", np.repeat(line_art[..., None], 3, axis=2)


@pytest.mark.parametrize(("name", "picture"), list(unmarkable()))
def test_what_cannot_carry_a_mark_says_so(
    name: str, picture: np.ndarray, mark: SpreadMark, payload: Payload
) -> None:
    with pytest.raises(NotMarkable) as caught:
        mark.embed(picture, payload)
    assert caught.value.code == "NOT-MARKABLE", name
    assert caught.value.mend


def test_a_marked_picture_is_not_marked_again(
    mark: SpreadMark, payload: Payload, host: np.ndarray
) -> None:
    with pytest.raises(AlreadyMarked) as caught:
        mark.embed(mark.embed(host, payload), payload)
    assert caught.value.code == "ALREADY-MARKED"


def test_another_key_may_mark_it_too_and_both_are_read(
    mark: SpreadMark, payload: Payload, host: np.ndarray
) -> None:
    other = SpreadMark(key=KEY[::-1])
    both = other.embed(mark.embed(host, payload), payload)
    assert [m.detect(both) is not None for m in (mark, other)] == [True, True]


def test_a_warrant_that_stopped_holding_marks_nothing(
    office: Any, mark: SpreadMark, payload: Payload, host: np.ndarray
) -> None:
    record_id = payload.warrant.document.people[0].record_id
    office.withdraw(record_id)
    with pytest.raises(WarrantInvalid) as caught:
        mark.embed(host, payload)
    assert caught.value.code == "CONSENT-CHANGED"


def test_no_payload_no_mark(mark: SpreadMark, host: np.ndarray) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        mark.embed(host, ID)  # type: ignore[arg-type]
    assert caught.value.code == "WARRANT-REQUIRED"


@pytest.mark.parametrize("shape", [(512, 512), (512, 512, 4), (0, 512, 3)])
def test_other_shapes_are_refused(shape: tuple[int, ...], mark: SpreadMark) -> None:
    with pytest.raises(ShapeError):
        mark.detect(np.zeros(shape, np.uint8))


def test_a_wrong_key_reads_nothing(mark: SpreadMark, payload: Payload, host: np.ndarray) -> None:
    marked = mark.embed(host, payload)
    for i in range(40):
        assert SpreadMark(key=bytes([i]) * 32).detect(marked) is None


def hosts() -> Iterator[np.ndarray]:
    rng = np.random.default_rng(6)
    y, x = np.mgrid[0:400, 0:400]
    for period in (2, 4, 8, 16, 128):
        wave = 127 + 120 * np.sin(2 * np.pi * (x + 0.5 * y) / period)
        yield np.repeat(wave[..., None], 3, axis=2).astype(np.uint8)
        yield np.repeat((((x // period + y // period) % 2) * 255)[..., None], 3, 2).astype(np.uint8)
    tile = rng.integers(0, 256, (TILE_PX, TILE_PX, 3), dtype=np.uint8)
    yield np.tile(tile, (4, 4, 1))
    yield rng.integers(0, 256, (400, 400, 3), dtype=np.uint8)
    yield np.full((400, 400, 3), 77, np.uint8)
    for frame in (pictures.astronaut(), pictures.chelsea(), pictures.coffee()):
        yield frame[..., ::-1].copy()
    for grey in (pictures.brick(), pictures.grass(), pictures.text(), pictures.page()):
        yield np.repeat(grey[..., None], 3, axis=2)


def test_nothing_is_claimed_of_unmarked_pictures() -> None:
    marks = [SpreadMark(key=bytes([200 + i]) * 32) for i in range(5)]
    statistics = [mark.measure_presence(host) for host in hosts() for mark in marks]
    assert bound_false_presence(max(statistics)) > MAX_FALSE_PRESENCE
    assert all(mark.detect(host) is None for host in hosts() for mark in marks[:1])


def test_tiny_pictures_are_read_as_nothing(mark: SpreadMark) -> None:
    assert mark.detect(np.zeros((63, 500, 3), np.uint8)) is None


def test_a_mixture_of_ids_is_present_but_never_a_third_id(
    mark: SpreadMark, active_warrant: Callable[..., ActiveWarrant], host: np.ndarray
) -> None:
    warrant, rng = active_warrant(), np.random.default_rng(7)
    states = set()
    for count in (2, 3, 5, 8):
        mixed_in = [issue_payload(warrant, rng=rng.bytes) for _ in range(count)]
        mixed = np.mean([mark.embed(host, one) for one in mixed_in], axis=0)
        found = mark.detect(np.rint(mixed).astype(np.uint8))
        assert found is not None
        assert found.mark_id in {None, *(one.mark_id for one in mixed_in)}
        states.add(found.state)
    assert "present_unreadable" in states


def test_the_bound_counts_every_position_searched() -> None:
    one = math.exp(-(8.0**2) / 2)
    assert bound_false_presence(8.0, searched=1) == pytest.approx(one)
    assert bound_false_presence(8.0) == pytest.approx(TILE_PX**2 * one)
    assert bound_false_presence(0.0) == bound_false_presence(-50.0) == 1.0
    threshold = math.sqrt(2 * math.log(TILE_PX**2 / MAX_FALSE_PRESENCE))
    assert bound_false_presence(threshold) == pytest.approx(MAX_FALSE_PRESENCE)
    assert 6.8 < threshold < 6.9


def test_the_statistic_of_a_random_key_obeys_the_bound() -> None:
    # One position, many keys, one picture: the share above t stays under exp(-t^2 / 2).
    picture = pictures.camera()[:128, :128]
    frame = np.repeat(picture[..., None], 3, axis=2)
    found = np.array([SpreadMark(key=i.to_bytes(32)).measure_presence(frame) for i in range(300)])
    for t in (4.0, 4.5, 5.0):
        assert np.mean(found > t) <= bound_false_presence(t)
    assert 3.0 < np.median(found) < 5.0
