"""The learned mark behind the interface, with linear networks that are known to work."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from policies.errors import StoreUnavailable
from policies.warrant import WarrantInvalid
from provenance.errors import AlreadyMarked, MarkKeyRefused, NotMarkable, ShapeError
from provenance.watermark import Watermark
from provenance.watermark.learned.card import CARD_NAME, load_card
from provenance.watermark.learned.errors import MarkWeightsRefused
from provenance.watermark.learned.message import MESSAGE_BITS, PILOTS, bound_false_presence
from provenance.watermark.learned.onnx_mark import LearnedMark
from provenance.watermark.payload import Payload

KEYS = tuple(bytes([number]) * 32 for number in range(5))
ID = "0123456789ab"
Weights = Callable[..., Path]
NO_ID = slice(MESSAGE_BITS - 30, None)


@pytest.fixture
def host() -> np.ndarray:
    """A soft gradient: what linear networks can mark."""
    ramp = np.add.outer(np.linspace(40, 110, 320), np.linspace(20, 90, 272))
    return np.rint(ramp[..., None] + [0, 10, 20]).astype(np.uint8)


@pytest.fixture
def mark(write_weights: Weights) -> LearnedMark:
    return LearnedMark(keys=KEYS[:2], folder=write_weights())


@pytest.fixture
def marked(mark: LearnedMark, host: np.ndarray, payload: Payload) -> np.ndarray:
    return mark.embed(host, payload)


def noisy(frame: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, sigma, frame.shape[:2])
    return np.clip(np.rint(frame + noise[..., None]), 0, 255).astype(np.uint8)


def test_what_is_embedded_is_read(
    mark: LearnedMark, host: np.ndarray, marked: np.ndarray, payload: Payload
) -> None:
    found = mark.detect(marked)
    assert found is not None
    assert (found.mark_id, found.version, found.state) == (ID, payload.version, "read")
    assert found.key_index == 0
    assert found.searched == 8 * 2
    assert found.p_value == bound_false_presence(PILOTS, 16) == 16 / 2**32
    assert found.statistic == pytest.approx(math.sqrt(PILOTS))
    error = np.mean((marked.astype(float) - host) ** 2)
    assert 10 * math.log10(255**2 / error) == pytest.approx(42.0, abs=0.1)
    assert marked.dtype == np.uint8
    assert marked.shape == host.shape


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_turned_and_mirrored_pictures_are_read(
    mark: LearnedMark, marked: np.ndarray, turns: int, mirrored: bool
) -> None:
    seen = np.ascontiguousarray(np.rot90(marked[:, ::-1] if mirrored else marked, turns))
    found = mark.detect(seen)
    assert found is not None
    assert found.mark_id == ID


def test_a_quick_look_is_upright_only(mark: LearnedMark, marked: np.ndarray) -> None:
    found = mark.detect(marked, thorough=False)
    assert found is not None
    assert (found.mark_id, found.searched) == (ID, 2)
    assert mark.detect(np.ascontiguousarray(np.rot90(marked)), thorough=False) is None


@pytest.mark.parametrize("method", ["embed", "detect", "detect_clip"])
def test_the_interface_is_that_of_every_mark(method: str) -> None:
    ours, theirs = (inspect.signature(getattr(kind, method)) for kind in (LearnedMark, Watermark))
    assert ours == theirs


def test_an_older_key_of_the_ring_is_read(write_weights: Weights, marked: np.ndarray) -> None:
    found = LearnedMark(keys=(KEYS[3], KEYS[0]), folder=write_weights()).detect(marked)
    assert found is not None
    assert (found.mark_id, found.key_index) == (ID, 1)


def test_nothing_is_claimed_without_the_key_or_without_a_mark(
    write_weights: Weights, mark: LearnedMark, host: np.ndarray, marked: np.ndarray
) -> None:
    stranger = LearnedMark(keys=KEYS[1:], folder=write_weights())
    assert stranger.detect(marked) is None
    assert stranger.detect_clip([marked] * 3) is None
    assert mark.detect(host) is None
    for seed in range(20):
        assert mark.detect(noisy(host, 30, seed)) is None


def test_a_damaged_id_is_present_but_unreadable(write_weights: Weights, marked: np.ndarray) -> None:
    folder = write_weights(wrong=NO_ID)
    found = LearnedMark(keys=KEYS[:1], folder=folder).detect(marked)
    assert found is not None
    assert (found.mark_id, found.version, found.state) == (None, None, "present_unreadable")
    assert found.p_value <= 1e-6


def test_damaged_pilots_are_no_claim_whatever_the_id_says(
    write_weights: Weights, marked: np.ndarray
) -> None:
    def claims(broken: int) -> bool:
        folder = write_weights(wrong=slice(broken))
        return LearnedMark(keys=KEYS[:4], folder=folder).detect(marked) is not None

    assert [claims(broken) for broken in range(4)] == [True, True, False, False]


def test_a_picture_is_marked_once(mark: LearnedMark, marked: np.ndarray, payload: Payload) -> None:
    with pytest.raises(AlreadyMarked):
        mark.embed(marked, payload)


@pytest.mark.parametrize("wrong", [slice(None), NO_ID], ids=["nothing", "no id"])
def test_what_cannot_be_read_back_is_not_markable(
    wrong: slice, write_weights: Weights, host: np.ndarray, payload: Payload
) -> None:
    mark = LearnedMark(keys=KEYS[:1], folder=write_weights(wrong=wrong))
    with pytest.raises(NotMarkable, match="read back"):
        mark.embed(host, payload)


def test_small_pictures_other_shapes_and_false_payloads_are_refused(
    mark: LearnedMark, host: np.ndarray, payload: Payload
) -> None:
    with pytest.raises(NotMarkable, match="256 px"):
        mark.embed(host[:, :255], payload)
    with pytest.raises(ShapeError):
        mark.embed(host[..., 0], payload)
    with pytest.raises(ShapeError):
        mark.detect(host.astype(np.float32))
    with pytest.raises(WarrantInvalid):
        mark.embed(host, ID)  # type: ignore[arg-type]


def count(frames: list[np.ndarray], seen: list[int]) -> Iterator[np.ndarray]:
    for number, frame in enumerate(frames):
        seen.append(number)
        yield frame


def test_a_clip_is_read_at_its_first_clear_frame(mark: LearnedMark, marked: np.ndarray) -> None:
    seen: list[int] = []
    found = mark.detect_clip(count([marked] * 9, seen))
    assert found is not None
    assert (found.mark_id, found.searched) == (ID, 8 * 2 * 6)
    assert seen == [0]


@pytest.mark.parametrize("length", [4, 3, 32])
def test_frames_that_say_too_little_alone_add_up(
    length: int, mark: LearnedMark, marked: np.ndarray
) -> None:
    # The more frames, the worse each may be.
    sigma = {3: 40, 4: 45, 32: 90}[length]
    frames = [noisy(marked, sigma, 100 + seed) for seed in range(length)]
    alone = [mark.detect(frame) for frame in frames]
    assert sum(one is not None and one.state == "read" for one in alone) == 0
    found = mark.detect_clip(frames)
    assert found is not None
    assert found.mark_id == ID


def test_only_the_first_frames_of_a_long_clip_are_looked_at(
    mark: LearnedMark, host: np.ndarray, marked: np.ndarray
) -> None:
    seen: list[int] = []
    assert mark.detect_clip(count([host] * 32 + [marked], seen)) is None
    assert len(seen) == 32
    assert mark.detect_clip([]) is None


def test_a_clip_with_a_damaged_id_is_present_but_unreadable(
    write_weights: Weights, host: np.ndarray, marked: np.ndarray
) -> None:
    mark = LearnedMark(keys=KEYS[:1], folder=write_weights(wrong=NO_ID))
    for clip in ([marked], [marked] * 3, [marked, *[noisy(host, 60, seed) for seed in range(5)]]):
        found = mark.detect_clip(clip)
        assert found is not None
        assert found.state == "present_unreadable"


@pytest.mark.parametrize("keys", [(), KEYS, (b"short",)], ids=["none", "five", "short"])
def test_a_key_ring_has_one_to_four_whole_keys(
    keys: tuple[bytes, ...], write_weights: Weights
) -> None:
    with pytest.raises(MarkKeyRefused):
        LearnedMark(keys=keys, folder=write_weights())


@pytest.mark.parametrize("name", ["encoder", "reader"])
def test_altered_weights_are_refused(name: str, write_weights: Weights) -> None:
    folder = write_weights()
    content = bytearray((folder / f"{name}.onnx").read_bytes())
    content[-100] ^= 1
    (folder / f"{name}.onnx").write_bytes(content)
    with pytest.raises(MarkWeightsRefused, match=f"{name}.onnx has sha256"):
        LearnedMark(keys=KEYS[:1], folder=folder)


def test_missing_weights_and_cards_are_refused(write_weights: Weights, tmp_path: Path) -> None:
    (write_weights() / "reader.onnx").unlink()
    with pytest.raises(StoreUnavailable, match="reader"):
        LearnedMark(keys=KEYS[:1], folder=tmp_path)
    (tmp_path / CARD_NAME).unlink()
    with pytest.raises(StoreUnavailable, match="learned"):
        LearnedMark(keys=KEYS[:1], folder=tmp_path)


def test_a_toy_with_fewer_bits_is_no_mark(write_weights: Weights) -> None:
    with pytest.raises(MarkWeightsRefused, match="16 bits"):
        LearnedMark(keys=KEYS[:1], folder=write_weights(bits=16))


def test_what_is_no_graph_is_refused(write_weights: Weights) -> None:
    with pytest.raises(MarkWeightsRefused, match="not a graph"):
        LearnedMark(keys=KEYS[:1], folder=write_weights(reader=b"\x80\x04pickle"))


def test_a_graph_that_asks_for_something_else_is_refused(
    write_weights: Weights, host: np.ndarray
) -> None:
    encoder = (write_weights() / "encoder.onnx").read_bytes()
    mark = LearnedMark(keys=KEYS[:1], folder=write_weights(reader=encoder))
    with pytest.raises(MarkWeightsRefused, match="cannot be run"):
        mark.detect(host)


def test_the_card_is_read_as_it_was_written(write_weights: Weights) -> None:
    assert load_card(write_weights()).known_failures == ('anything "hard"\n', "größer")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'luma = "bt601"', b'luma = "bt709"'),
        (b'resize = "area"', b'resize = "cubic"'),
        (b"psnr_db = 42.0", b"psnr_db = 30.0"),
        (b'file = "reader.onnx"', b'file = "../reader.onnx"'),
        (b'allowed_use = "tests"', b""),
        (b"bits = 104", b"bits = 104\nextra = 1"),
        (b"bits = 104", b"bits = 2026-11-21"),
        (b"bits = 104", b"bits ="),
        (b"tests", b"\xff"),
    ],
)
def test_an_incomplete_card_is_refused(old: bytes, new: bytes, write_weights: Weights) -> None:
    card = write_weights() / CARD_NAME
    content = card.read_bytes()
    assert content.count(old) == 1
    card.write_bytes(content.replace(old, new))
    with pytest.raises(MarkWeightsRefused, match="not complete"):
        load_card(card.parent)
