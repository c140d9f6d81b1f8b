"""The attacks of the watermark benchmark do what they say, twice alike."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.watermark import attacks, video
from benchmarks.watermark.attacks import ATTACKS, EXTRA_ATTACKS, PEER_ATTACKS, WORDS
from benchmarks.watermark.measure import psnr
from benchmarks.watermark.methods import Rgb
from benchmarks.watermark.video_codec import recode_frames

PEER_TABLE = """none jpeg90 jpeg70 jpeg50 jpeg30 webp50 resize.5back resize.25back resize.5 crop80
crop50 rot2 rot5 rot90 hflip noise10 blur1 blur2 bright+20 contr+20 screenshot print-persp h264_23
h264_28 h264_35 jpg70+webp50 jpg50+rs.5+crop90 bilateral""".split()
HEIGHT, WIDTH = 200, 264


@pytest.fixture(scope="module")
def copies(host: Rgb) -> dict[str, Rgb]:
    return {name: attack(host) for name, attack in ATTACKS.items()}


def test_the_rows_of_the_peer_table_are_there_in_its_order() -> None:
    assert list(PEER_ATTACKS) == PEER_TABLE
    assert not set(PEER_ATTACKS) & set(EXTRA_ATTACKS)
    assert set(WORDS) == set(ATTACKS)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_gives_a_picture_and_the_same_one_twice(
    name: str, host: Rgb, copies: dict[str, Rgb]
) -> None:
    before = host.copy()
    again = ATTACKS[name](host)
    assert again.dtype == np.uint8
    assert again.ndim == 3
    assert again.shape[2] == 3
    assert again.flags.c_contiguous
    assert np.array_equal(again, copies[name])
    assert np.array_equal(host, before), "an attack may not write into the marked picture"
    assert (name == "none") == np.array_equal(again, host)


SHAPES = {
    "resize.5": (100, 132),
    "crop80": (162, 212),
    "crop71": (142, 188),
    "crop50": (100, 132),
    "rot90": (WIDTH, HEIGHT),
    "rot270": (WIDTH, HEIGHT),
    "screenshot": (146, 193),
    "jpg50+rs.5+crop90": (182, 238),
    "jpg50+rs.5nb+crop90": (92, 120),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_leaves_the_size_it_says(name: str, copies: dict[str, Rgb]) -> None:
    assert copies[name].shape[:2] == SHAPES.get(name, (HEIGHT, WIDTH))


@pytest.mark.parametrize(("name", "area"), [("crop80", 0.64), ("crop71", 0.5), ("crop50", 0.25)])
def test_a_crop_keeps_its_share_of_the_area_from_the_middle(name: str, area: float) -> None:
    y, x = np.mgrid[0:600, 0:800]
    coordinates = np.stack([y % 256, x % 256, y // 256], axis=-1).astype(np.uint8)
    kept = ATTACKS[name](coordinates)
    assert kept.shape[0] * kept.shape[1] / (600 * 800) == pytest.approx(area, abs=0.005)
    top = int(kept[0, 0, 0]) + 256 * int(kept[0, 0, 2])
    assert top == (600 - kept.shape[0]) // 2


@pytest.mark.parametrize(
    "milder_first",
    [
        ("jpeg90", "jpeg70", "jpeg50", "jpeg30"),
        ("h264_23", "h264_28", "h264_35"),
        ("resize.5back", "resize.25back"),
        ("blur1", "blur2"),
        ("noise5", "noise10"),
        ("rot2", "rot5", "rot30"),
    ],
)
def test_a_harder_attack_leaves_less(
    milder_first: tuple[str, ...], host: Rgb, copies: dict[str, Rgb]
) -> None:
    left = [psnr(host, copies[name]) for name in milder_first]
    assert left == sorted(left, reverse=True)
    assert len(set(left)) == len(left)


@pytest.mark.parametrize(("name", "sigma"), [("noise5", 5), ("noise10", 10)])
def test_noise_has_the_strength_it_says(name: str, sigma: float, host: Rgb) -> None:
    # Rounding down to whole levels adds 1/3 to the mean square.
    expected = 10 * np.log10(255**2 / (sigma**2 + 1 / 3))
    assert psnr(host, ATTACKS[name](host)) == pytest.approx(expected, abs=0.2)


def test_turns_and_mirrors_are_undone_by_their_opposites(host: Rgb) -> None:
    turned = ATTACKS["rot90"](host)
    assert np.array_equal(ATTACKS["rot270"](turned), host)
    assert np.array_equal(ATTACKS["rot90"](turned), ATTACKS["rot180"](host))
    for name in ("hflip", "vflip", "rot180"):
        assert np.array_equal(ATTACKS[name](ATTACKS[name](host)), host)
    assert np.array_equal(turned[0], host[:, -1]), "counter-clockwise"


def test_a_rotation_turns_counter_clockwise_and_leaves_black_corners() -> None:
    white = np.full((200, 200, 3), 255, np.uint8)
    white[90:110, 150:200] = (255, 0, 0)
    turned = ATTACKS["rot30"](white)
    assert (turned[0, 0] == 0).all()
    red = np.argwhere((turned == (255, 0, 0)).all(axis=2))
    assert red[:, 0].mean() < 80, "what was at the right is now above the middle"


def test_light_changes_clip_and_keep_their_pivot() -> None:
    levels = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    assert ATTACKS["bright+20"](levels)[0, 250, 0] == 255
    assert ATTACKS["bright-20"](levels)[0, 100, 0] == 80
    assert ATTACKS["contr+20"](levels)[0, 128, 0] == 128
    assert ATTACKS["contr+20"](levels)[0, 0, 0] == 0
    assert ATTACKS["contr-20"](levels)[0, 0, 0] == 25


def test_the_digest_tells_a_changed_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = attacks.digest_attacks.__wrapped__()
    assert kept == attacks.digest_attacks.__wrapped__()
    changed = {**ATTACKS, "jpeg50": lambda x: attacks.jpeg(x, 51)}
    monkeypatch.setattr(attacks, "ATTACKS", changed)
    assert attacks.digest_attacks.__wrapped__() != kept


def test_a_pattern_that_stands_still_does_not_flicker(host: Rgb) -> None:
    rng = np.random.default_rng(3)
    frames = [host.copy() for _ in range(4)]
    still = rng.integers(-2, 3, host.shape).astype(np.int16)
    assert video.measure_flicker(frames, [(f + still).astype(np.uint8) for f in frames]) == 0
    fresh = [(f + rng.normal(0, 4, host.shape)).astype(np.uint8) for f in frames]
    assert video.measure_flicker(frames, fresh) == pytest.approx(np.sqrt(2), abs=0.05)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_codec_returns_as_many_frames_of_even_sides(codec: str, host: Rgb) -> None:
    small = [np.ascontiguousarray(host[:65, shift : 97 + shift]) for shift in range(6)]
    coded = recode_frames(small, crf=28, codec=codec)
    assert [frame.shape for frame in coded.frames] == [(64, 96, 3)] * 6
    assert coded.keyframes[0] == 0
    assert all(psnr(a[:64, :96], b) > 25 for a, b in zip(small, coded.frames, strict=True))


def test_a_faster_copy_shows_each_second_in_thirty_frames(host: Rgb) -> None:
    assert len(video._faster([host[:64, :64]] * 25).frames) == 30
