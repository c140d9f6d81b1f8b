"""Marking costs what it may, refuses what it cannot do, and never marks in silence what is bad."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from skimage import data as textures
from skimage.metrics import structural_similarity

from policies.warrant import WarrantInvalid
from provenance.errors import AlreadyMarked, NotMarkable, ShapeError
from provenance.pixels import Frame
from provenance.watermark.payload import Payload
from provenance.watermark.spread import SpreadMark

KEY, OTHER = bytes(range(32)), bytes(range(32, 64))
ID = "0123456789ab"
PEOPLE = [f"persona{number}_0" for number in range(1, 9)]
MARKABLE = [*PEOPLE, "coffee", "chelsea", "rocket", "moon", "brick", "cloud", "dark", "wide"]
Marked = Callable[..., Frame]
Host = Callable[[str], Frame]


def ssim(a: Frame, b: Frame) -> float:
    return float(structural_similarity(a, b, channel_axis=2))


# --- what it costs --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*MARKABLE, "flat", "ramp", "half clipped"])
def test_the_mark_costs_between_40_and_44_db(
    name: str, host: Host, marked: Marked, copies: SimpleNamespace
) -> None:
    frame, out = host(name), marked(name)
    assert (out.shape, out.dtype) == (frame.shape, np.uint8)
    assert 40.3 <= copies.psnr(out, frame) <= 44.1


def test_rendered_people_lose_42_db_on_the_average_and_keep_their_structure(
    host: Host, marked: Marked, copies: SimpleNamespace
) -> None:
    lost = [copies.psnr(marked(name), host(name)) for name in PEOPLE]
    assert float(np.mean(lost)) >= 42.0
    alike = [ssim(marked(name), host(name)) for name in PEOPLE]
    assert min(alike) >= 0.965
    assert float(np.mean(alike)) >= 0.975


@pytest.mark.parametrize("name", ["persona1_0", "coffee", "moon"])
def test_only_luma_is_changed(name: str, host: Host, marked: Marked) -> None:
    frame = host(name)
    change = marked(name).astype(int) - frame
    free = ((frame > 30) & (frame < 225)).all(axis=2)
    assert np.ptp(change[free], axis=1).max() == 0
    assert change[free].std() > 0.5


def test_the_same_key_id_and_picture_give_the_same_pixels(
    host: Host, marked: Marked, payload_of: Callable[[str], Payload]
) -> None:
    again = SpreadMark(keys=[KEY]).embed(host("coffee"), payload_of(ID))
    assert np.array_equal(marked("coffee"), again)
    older = SpreadMark(keys=[KEY, OTHER]).embed(host("coffee"), payload_of(ID))
    assert np.array_equal(older, again)
    assert not np.array_equal(marked("coffee", "ffffffffffff"), again)
    assert not np.array_equal(marked("coffee", ID, OTHER), again)


def test_every_reading_of_a_picture_is_the_same(mark: SpreadMark, marked: Marked) -> None:
    one, two = mark.detect(marked("coffee")), SpreadMark(keys=[KEY]).detect(marked("coffee"))
    assert one is not None
    assert two is not None
    assert one == two
    assert one.confidence is not None
    assert np.array_equal(one.confidence, two.confidence)  # type: ignore[arg-type]


def test_confidence_tells_where_the_mark_is(mark: SpreadMark, marked: Marked, host: Host) -> None:
    frame = marked("wide").copy()
    frame[:, 640:] = host("wide")[:, 640:]
    found = mark.detect(frame, thorough=False)
    assert found is not None
    assert found.confidence is not None
    assert found.confidence.shape == (4, 10)
    assert found.confidence.dtype == np.float32
    assert found.confidence[:, :5].min() > 0.1
    assert np.abs(found.confidence[:, 5:]).max() < 0.1


@pytest.mark.parametrize(
    ("box", "tiles"), [((60, 70, 999, 999), (4, 4)), ((60, 70, 190, 500), (1, 3))]
)
def test_confidence_begins_at_the_first_whole_tile(
    box: tuple[int, int, int, int],
    tiles: tuple[int, int],
    mark: SpreadMark,
    marked: Marked,
    copies: SimpleNamespace,
) -> None:
    found = mark.detect(copies.crop(marked("cloud"), *box))
    assert found is not None
    assert found.confidence is not None
    # The last row and column may be filled up with nothing.
    assert found.confidence.shape == tiles
    assert np.abs(found.confidence).max(initial=0.0) <= 1


# --- what is refused, and what is not -------------------------------------------------------------


def never_a_frame() -> Iterator[tuple[str, Any, str]]:
    grey = np.full((300, 300), 128, np.uint8)
    yield "one channel", grey, "(300, 300)"
    yield "one channel in three axes", grey[..., None], "(300, 300, 1)"
    yield "alpha", np.repeat(grey[..., None], 4, axis=2), "(300, 300, 4)"
    yield "16 bit", np.full((300, 300, 3), 999, np.uint16), "uint16"
    yield "float", np.full((300, 300, 3), 0.5, np.float32), "float32"
    yield "NaN", np.full((300, 300, 3), np.nan, np.float64), "float64"
    yield "bool", np.ones((300, 300, 3), bool), "bool"
    yield "nothing", np.zeros((0, 300, 3), np.uint8), "(0, 300, 3)"
    yield "no array", [[1, 2, 3]], "list"
    yield "None", None, "NoneType"


NOT_FRAMES = list(never_a_frame())


@pytest.mark.parametrize(("name", "frame", "said"), NOT_FRAMES, ids=[n for n, _, _ in NOT_FRAMES])
def test_what_is_no_bgr_picture_is_refused_by_name(
    name: str, frame: Any, said: str, mark: SpreadMark, payload_of: Callable[[str], Payload]
) -> None:
    for use in (
        lambda: mark.detect(frame),
        lambda: mark.detect(frame, thorough=False),
        lambda: mark.detect_clip([frame]),
        lambda: mark.embed(frame, payload_of(ID)),
    ):
        with pytest.raises(ShapeError) as caught:
            use()
        assert caught.value.code == "SHAPE", name
        assert said in str(caught.value)
        assert "BGR uint8" in str(caught.value)


@pytest.mark.parametrize(
    "shape", [(255, 1000), (1000, 255), (1, 4000), (4000, 1), (200, 200), (1, 1)]
)
def test_below_256_px_a_side_nothing_is_marked(
    shape: tuple[int, int], mark: SpreadMark, payload_of: Callable[[str], Payload]
) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    with pytest.raises(NotMarkable, match="256 px") as caught:
        mark.embed(frame, payload_of(ID))
    assert caught.value.code == "NOT-MARKABLE"
    assert "larger" in caught.value.mend
    if min(shape) < 48:
        assert mark.detect(frame) is None


def hopeless() -> Iterator[tuple[str, Frame]]:
    pure = np.random.default_rng(5).integers(0, 2, (512, 512, 1)) * 255
    yield "black and white noise", np.repeat(pure, 3, axis=2).astype(np.uint8)
    yield "grass", np.repeat(textures.grass()[..., None], 3, axis=2)


def poor() -> Iterator[tuple[str, Frame]]:
    rng = np.random.default_rng(23)
    for level in (0, 1, 128, 254, 255):
        yield f"flat {level}", np.full((512, 512, 3), level, np.uint8)
    for colour in ((255, 0, 0), (0, 255, 255)):
        yield f"flat {colour}", np.full((400, 300, 3), colour, np.uint8)
    ramp = np.linspace(0, 255, 512).astype(np.uint8)
    yield "gradient across", np.repeat(np.tile(ramp, (512, 1))[..., None], 3, axis=2)
    yield "gradient down", np.repeat(np.tile(ramp[:, None], (1, 300))[..., None], 3, axis=2)
    yield "noise", rng.integers(0, 256, (512, 512, 3), dtype=np.uint8)
    yield "smallest", np.full((256, 256, 3), 90, np.uint8)
    yield "long", np.full((256, 4000, 3), 90, np.uint8)
    white = np.full((512, 512, 3), 255, np.uint8)
    white[:, :200] = rng.integers(60, 180, (512, 200, 1), dtype=np.uint8)
    yield "mostly white", white


@pytest.mark.parametrize(("name", "frame"), list(poor()), ids=[name for name, _ in poor()])
def test_a_poor_picture_is_marked_readably(
    name: str,
    frame: Frame,
    mark: SpreadMark,
    payload_of: Callable[[str], Payload],
    copies: SimpleNamespace,
) -> None:
    out = mark.embed(frame, payload_of(ID))
    assert 40.3 <= copies.psnr(out, frame) <= 44.1, name
    for copy in (out, copies.recode(out, "JPEG", 75)):
        found = mark.detect(copy, thorough=False)
        assert found is not None
        assert found.mark_id == ID


@pytest.mark.parametrize(("name", "frame"), list(hopeless()), ids=[name for name, _ in hopeless()])
def test_what_would_not_be_read_back_is_refused_and_told(
    name: str, frame: Frame, mark: SpreadMark, payload_of: Callable[[str], Payload]
) -> None:
    with pytest.raises(NotMarkable, match="cannot be read back") as caught:
        mark.embed(frame, payload_of(ID))
    assert caught.value.code == "NOT-MARKABLE", name
    assert "noise" in caught.value.mend


VIEWS: dict[str, Callable[[Frame], Frame]] = {
    "read-only": lambda f: f,
    "rgb order": lambda f: f[..., ::-1],
    "upside down": lambda f: f[::-1],
    "every second column": lambda f: f[:, ::2],
    "transposed": lambda f: f.swapaxes(0, 1),
    "column-major": np.asfortranarray,
}


@pytest.mark.parametrize("name", list(VIEWS))
def test_any_memory_layout_is_marked_and_read_and_never_written_to(
    name: str, host: Host, mark: SpreadMark, payload_of: Callable[[str], Payload]
) -> None:
    frame = VIEWS[name](host("cloud"))
    plain = np.ascontiguousarray(frame)
    before = plain.copy()
    frame.setflags(write=False)
    out = mark.embed(frame, payload_of(ID))
    assert np.array_equal(frame, before)
    assert not np.shares_memory(out, frame)
    assert np.array_equal(out, mark.embed(plain, payload_of(ID)))
    assert np.array_equal(plain, before)
    out.setflags(write=False)
    found = mark.detect(out, thorough=False)
    assert found is not None
    assert found.mark_id == ID
    # Seen through a view, a marked picture is as good.
    assert mark.detect(np.asfortranarray(out), thorough=False) == found


# --- who may mark, and what --------------------------------------------------------------------


def test_a_marked_picture_is_not_marked_again(
    mark: SpreadMark,
    marked: Marked,
    payload_of: Callable[[str], Payload],
    copies: SimpleNamespace,
) -> None:
    whole = marked("coffee")
    for frame in (whole, copies.crop(whole, 9, 77), copies.turn(whole, 1, True)[0]):
        with pytest.raises(AlreadyMarked) as caught:
            mark.embed(frame, payload_of("ffffffffffff"))
        assert caught.value.code == "ALREADY-MARKED"


def test_a_warrant_that_stopped_holding_marks_nothing(
    office: Any, mark: SpreadMark, host: Host, payload_of: Callable[[str], Payload]
) -> None:
    payload = payload_of(ID)
    office.withdraw(payload.warrant.document.people[0].record_id)
    with pytest.raises(WarrantInvalid) as caught:
        mark.embed(host("coffee"), payload)
    assert caught.value.code == "CONSENT-CHANGED"


@pytest.mark.parametrize("payload", [None, ID, object()])
def test_no_payload_no_mark(payload: Any, mark: SpreadMark, host: Host) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        mark.embed(host("coffee"), payload)
    assert caught.value.code == "WARRANT-REQUIRED"


def test_a_payload_is_asked_for_before_the_picture_is_looked_at(mark: SpreadMark) -> None:
    with pytest.raises(WarrantInvalid):
        mark.embed(None, None)  # type: ignore[arg-type]
