"""Watermark id, fingerprint and content lead to manifests; content only where pixels agree."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any, Self

import cv2
import pytest

import provenance.bindings
from policies.errors import Malformed
from provenance.bindings import COMPARE_SECONDS, Binding, Bindings, Match, read_binding
from provenance.budget import CompareTooLong
from provenance.clip_recovery import RecoveredClip, compare_clip, recover_clip
from provenance.errors import MediaError, TooLarge
from provenance.exchange import Coded
from provenance.fingerprints import ALG
from provenance.media import DEFAULT_LIMITS, decode, encode
from provenance.pixels import Pixels, load
from provenance.recovery import MAX_COMPARED

MARK = "org.facewarrant.spread.2"


@pytest.fixture
def bindings(gallery: Any) -> Bindings:
    studio = gallery[0]
    return Bindings(studio.registry, studio.store, studio.watermark)


@pytest.fixture
def released(gallery: Any) -> Any:
    return gallery[1]["image/png"]


@pytest.fixture
def row(gallery: Any, released: Any) -> Any:
    return gallery[0].registry.by_mark(released.mark_id)


def stripped(data: bytes, side: int = 0) -> bytes:
    """The pixels alone; with `side` so small that no mark can be read."""
    frame = decode(data).frame
    if side:
        frame = cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA)
    return encode(frame, "image/jpeg")


def test_values_are_base64(row: Any) -> None:
    text = base64.b64encode(b"\x00\xff").decode()
    assert read_binding(MARK, text) == Binding(MARK, b"\x00\xff")
    for wrong in ("\xe9", "AB", "A===", "AA==\n"):
        with pytest.raises(Malformed) as caught:
            read_binding(MARK, wrong)
        assert caught.value.code == "MALFORMED"


def test_ids_and_fingerprints_are_looked_up(bindings: Bindings, row: Any) -> None:
    mark = Binding(MARK, bytes.fromhex(row.mark_id))
    assert bindings.by_binding(mark, limit=10) == (Match(row.manifest_id),)
    looks = Binding(ALG, bytes.fromhex(row.fingerprint))
    assert bindings.by_binding(looks, limit=10) == (Match(row.manifest_id, 100),)
    assert bindings.by_binding(Binding(MARK, b"\x00"), limit=10) == ()
    assert bindings.by_binding(Binding(ALG, bytes(32)), limit=10) == ()


@pytest.mark.parametrize("wrong", [Binding(ALG, bytes(31)), Binding("com.else.1", b"")])
def test_other_values_and_algorithms_are_refused(bindings: Bindings, wrong: Binding) -> None:
    with pytest.raises(Malformed):
        bindings.by_binding(wrong, limit=10)
    with pytest.raises(Malformed):
        bindings.by_content(b"", limit=10, hint=wrong)


@pytest.mark.parametrize("alg", ["", MARK, ALG])
def test_a_copy_is_found_by_its_content(
    bindings: Bindings, released: Any, row: Any, alg: str
) -> None:
    found = bindings.by_content(stripped(released.data), limit=10, alg=alg)
    assert [match.manifest_id for match in found] == [row.manifest_id]
    assert found[0].score is not None
    assert found[0].score >= 95


def test_without_a_readable_mark_the_fingerprint_finds_it(
    bindings: Bindings, released: Any, row: Any
) -> None:
    copy = stripped(released.data, 112)
    assert bindings.by_content(copy, limit=10, alg=MARK) == ()
    assert [m.manifest_id for m in bindings.by_content(copy, limit=10)] == [row.manifest_id]
    assert bindings.by_content(copy, limit=0) == ()


def test_a_hint_counts_only_where_the_picture_agrees(
    bindings: Bindings, released: Any, row: Any, demo_picture: Any
) -> None:
    mark, looks = bytes.fromhex(row.mark_id), bytes.fromhex(row.fingerprint)
    copy = stripped(released.data, 112)
    for hint in (Binding(MARK, mark), Binding(ALG, looks)):
        found = bindings.by_content(copy, limit=10, alg=MARK, hint=hint)
        assert [m.manifest_id for m in found] == [row.manifest_id]
        assert bindings.by_content(demo_picture("persona1_0"), limit=10, hint=hint) == ()
    for nothing in (Binding(MARK, b"\x01"), Binding(ALG, bytes(32))):
        assert bindings.by_content(copy, limit=10, alg=MARK, hint=nothing) == ()


def test_what_is_no_picture_is_refused(bindings: Bindings, released: Any) -> None:
    with pytest.raises(MediaError):
        bindings.by_content(b"no picture", limit=10)
    small = dataclasses.replace(bindings, limits=dataclasses.replace(DEFAULT_LIMITS, pixels=1000))
    with pytest.raises(TooLarge):
        small.by_content(released.data, limit=10)
    with pytest.raises(Malformed):
        bindings.by_content(released.data, limit=10, alg="com.else.1")


def test_what_is_sent_is_decoded_by_the_loader_that_was_given(
    bindings: Bindings, released: Any, row: Any
) -> None:
    """Kept outputs are our own and are decoded here; a stranger's picture goes elsewhere."""
    seen: list[Coded] = []

    def spy(coded: Coded) -> Pixels:
        seen.append(coded)
        return load(coded)

    copy = stripped(released.data)
    found = dataclasses.replace(bindings, load=spy).by_content(copy, limit=1)
    assert [match.manifest_id for match in found] == [row.manifest_id]
    assert [coded.mime for coded in seen] == ["image/jpeg"]


def test_without_a_watermark_key_only_fingerprints_are_known(
    bindings: Bindings, released: Any, row: Any
) -> None:
    bare = dataclasses.replace(bindings, watermark=None)
    assert (bare.watermarks, bare.fingerprints) == ((), (ALG,))
    assert bindings.watermarks == (MARK,)
    assert bare.by_content(stripped(released.data), limit=1)[0].manifest_id == row.manifest_id
    with pytest.raises(Malformed) as caught:
        bare.by_binding(Binding(MARK, b""), limit=1)
    assert ALG in caught.value.mend


def test_manifests_are_handed_out_whole(gallery: Any, bindings: Bindings, row: Any) -> None:
    store = gallery[0].store.get(row.manifest_sha256)
    assert bindings.manifest(row.manifest_id) == store
    assert bindings.manifest("urn:c2pa:none") is None


# ------------------------------------------------------------------------------ what a search costs


@pytest.fixture
def video(premiere: Any) -> tuple[Bindings, bytes]:
    """A lookup beside a released video, and the video."""
    cinema, file, _ = premiere
    return Bindings(cinema.studio.registry, cinema.studio.store), file.read_bytes()


class Exhibited:
    """A file that carries as many marks as a test says."""

    def __init__(self, count: int) -> None:
        self.ids = tuple(f"{n:012x}" for n in range(count))
        self.sight = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("marks", [2, 7, 8, 60])
def test_marked_hinted_and_near_releases_are_few_together(
    bindings: Bindings,
    row: Any,
    monkeypatch: pytest.MonkeyPatch,
    marks: int,
) -> None:
    """What is hinted is marked too, and is compared once."""
    asked: list[Any] = []
    limits: list[int] = []

    class Register:
        def by_mark(self, mark_id: str) -> Any:
            return dataclasses.replace(row, mark_id=mark_id)

    def count(one: Any, _sight: Any, **_: Any) -> Any:
        asked.append(one)
        return RecoveredClip(one, (), 1)

    def near(_sight: Any, *, limit: int, **_: Any) -> tuple[()]:
        limits.append(limit)
        return ()

    made = dataclasses.replace(bindings, registry=Register())
    shown = Exhibited(marks)
    monkeypatch.setattr(provenance.bindings, "open_exhibit", lambda *_, **__: shown)
    monkeypatch.setattr(provenance.bindings, "compare_clip", count)
    monkeypatch.setattr(provenance.bindings, "recover_clip", near)
    monkeypatch.setattr(RecoveredClip, "levels", 0.0)
    hint = Binding(MARK, bytes(6))
    assert made.by_content(b"", limit=10, hint=hint) == ()
    assert len(asked) == len({one.mark_id for one in asked}) == min(marks, MAX_COMPARED)
    assert limits == ([MAX_COMPARED - marks] if marks < MAX_COMPARED else [])


def test_a_search_that_takes_too_long_is_refused(video: tuple[Bindings, bytes]) -> None:
    bindings, data = video
    assert bindings.seconds == COMPARE_SECONDS == 60
    assert bindings.by_content(data, limit=1)
    ticks = iter(range(1_000))
    slow = dataclasses.replace(bindings, seconds=3.0, stopwatch=lambda: float(next(ticks)))
    with pytest.raises(CompareTooLong):
        slow.by_content(data, limit=1)


def test_the_seconds_are_those_of_all_candidates_together(
    video: tuple[Bindings, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    bindings, data = video
    budgets: list[Any] = []

    def alike(*given: Any, budget: Any, **others: Any) -> Any:
        budgets.append(budget)
        return recover_clip(*given, budget=budget, **others)

    def compared(*given: Any, budget: Any, **others: Any) -> Any:
        budgets.append(budget)
        return compare_clip(*given, budget=budget, **others)

    monkeypatch.setattr(provenance.bindings, "recover_clip", alike)
    monkeypatch.setattr(provenance.bindings, "compare_clip", compared)
    row = bindings.by_content(data, limit=1)[0]
    budgets.clear()
    kept = bindings.registry.by_manifest(row.manifest_id)
    assert kept is not None
    hint = Binding(ALG, bytes.fromhex(kept.fingerprint))
    bindings.by_content(data, limit=1, hint=hint)
    assert len(budgets) == 2
    assert budgets[0] is budgets[1]
