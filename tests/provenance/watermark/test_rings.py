"""Key rings: the newest key writes, all read, and no ring reads another's marks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from provenance.errors import AlreadyMarked, MarkKeyRefused, UnknownWatermark
from provenance.pixels import Frame
from provenance.watermark import DEFAULT_WATERMARK, list_watermarks, open_watermark
from provenance.watermark.payload import Payload
from provenance.watermark.spread import MOST_KEYS, SpreadMark

KEY, OTHER = bytes(range(32)), bytes(range(32, 64))
YOUNGER = [bytes([i]) * 32 for i in (7, 8, 9)]
ID, SECOND = "0123456789ab", "ffeeddccbbaa"
Marked = Callable[..., Frame]


@pytest.mark.parametrize("place", range(MOST_KEYS))
def test_any_key_of_a_full_ring_reads_and_says_which(place: int, marked: Marked) -> None:
    keys = [*YOUNGER[:place], KEY, *YOUNGER[place:]]
    found = SpreadMark(keys=keys).detect(marked("coffee"), thorough=False)
    assert found is not None
    assert (found.mark_id, found.key_index) == (ID, place)


def test_an_older_key_reads_through_the_whole_search(
    marked: Marked, copies: SimpleNamespace
) -> None:
    turned = copies.rotate(marked("cloud"), 14)[0]
    found = SpreadMark(keys=[OTHER, KEY]).detect(turned)
    assert found is not None
    assert (found.mark_id, found.key_index) == (ID, 1)


def test_the_newest_key_writes(
    marked: Marked, host: Callable[[str], Frame], payload_of: Callable[[str], Payload]
) -> None:
    out = SpreadMark(keys=[KEY, *YOUNGER]).embed(host("coffee"), payload_of(ID))
    assert np.array_equal(out, marked("coffee"))


def test_what_an_older_key_marked_is_not_marked_again(
    marked: Marked, payload_of: Callable[[str], Payload]
) -> None:
    with pytest.raises(AlreadyMarked):
        SpreadMark(keys=[OTHER, KEY]).embed(marked("coffee"), payload_of(SECOND))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ([], "got 0"),
        ([bytes([i]) * 32 for i in range(5)], "got 5"),
        ([KEY, KEY], "twice"),
        ([KEY, OTHER, KEY], "twice"),
        ([KEY[:31]], "32 bytes"),
        ([KEY, OTHER + b"0"], "32 bytes"),
        ([b""], "32 bytes"),
    ],
    ids=["none", "five", "twice", "twice apart", "short", "long older", "empty"],
)
def test_a_ring_that_is_none_is_refused(keys: Sequence[bytes], said: str) -> None:
    for make in (lambda: SpreadMark(keys=keys), lambda: open_watermark("spread", keys=keys)):
        with pytest.raises(MarkKeyRefused, match=said) as caught:
            make()
        assert caught.value.code == "MARK-KEY-REFUSED"
        # Keys are secret: no message shows one.
        assert KEY.hex()[:12] not in str(caught.value)


def test_two_rings_do_not_read_each_other(marked: Marked) -> None:
    ours, theirs = marked("coffee"), marked("coffee", SECOND, OTHER)
    one, two = SpreadMark(keys=[KEY, YOUNGER[0]]), SpreadMark(keys=[OTHER, YOUNGER[1]])
    for frame in (ours, theirs):
        found = [ring.detect(frame, thorough=False) for ring in (one, two)]
        assert [one is not None for one in found].count(True) == 1
    for number in range(12):
        stranger = SpreadMark(keys=[(number + 500).to_bytes(32)])
        assert stranger.detect(ours, thorough=False) is None


def test_a_second_mark_of_another_ring_leaves_the_first_readable(
    mark: SpreadMark, marked: Marked, payload_of: Callable[[str], Payload], copies: SimpleNamespace
) -> None:
    stranger = SpreadMark(keys=[OTHER])
    both = stranger.embed(marked("cloud"), payload_of(SECOND))
    for frame in (both, copies.recode(both, "JPEG", 70), copies.crop(both, 50, 90)):
        for reader, mark_id in ((mark, ID), (stranger, SECOND)):
            found = reader.detect(frame, thorough=False)
            assert found is not None
            assert found.mark_id == mark_id


def test_watermarks_open_by_name() -> None:
    assert DEFAULT_WATERMARK in list_watermarks()
    for name in list_watermarks():
        opened = open_watermark(name, keys=[KEY])
        assert opened.alg.startswith(f"org.facewarrant.{name}.")
        assert opened.detect(np.zeros((256, 256, 3), np.uint8), thorough=False) is None


@pytest.mark.parametrize("name", ["none", "", "Spread"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(UnknownWatermark) as caught:
        open_watermark(name, keys=[KEY])
    assert DEFAULT_WATERMARK in caught.value.mend
