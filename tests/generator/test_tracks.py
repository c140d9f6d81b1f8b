"""Tracks of synthetic faces: crossing, leaving, coming back, flickering, at any times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from generator.errors import ShapeError
from generator.faces import Face, FaceBox, IdThresholds
from generator.topology import load_topology
from generator.tracks import (
    BEST_FRAMES,
    MAX_GAP_SECONDS,
    Sighting,
    Track,
    Tracker,
    distance,
    sighting_of,
)

THRESHOLDS = IdThresholds(match=0.4, mismatch=0.6)
ANNA, BERT, CARL = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def box(left: float, top: float = 0.0, side: float = 20.0) -> FaceBox:
    return left, top, left + side, top + side


def seen(
    frame: int,
    who: Sequence[float],
    where: FaceBox,
    *,
    face: int = 0,
    at: float | None = None,
    quality: float = 1.0,
) -> Sighting:
    time = frame / 10 if at is None else at
    return Sighting(frame, face, time, where, np.array(who, np.float32), quality)


def follow(*frames: Sequence[Sighting]) -> list[Track]:
    tracker = Tracker(THRESHOLDS)
    for sightings in frames:
        tracker.add(sightings)
    return tracker.tracks


def frames_of(track: Track) -> list[int]:
    return [one.frame for one in track.sightings]


def test_a_clip_without_a_face_has_no_track() -> None:
    assert follow() == []
    assert follow((), (), ()) == []


def test_faces_that_cross_keep_their_tracks() -> None:
    """Anna walks to the right and Bert to the left; in the middle their boxes are the same."""
    places = range(0, 44, 4)
    frames = [
        (seen(n, ANNA, box(x)), seen(n, BERT, box(40 - x), face=1)) for n, x in enumerate(places)
    ]
    assert frames[5][0].box == frames[5][1].box
    anna, bert = follow(*frames)
    assert len(frames_of(anna)) == len(frames_of(bert)) == len(frames)
    assert anna.vector == pytest.approx(np.array(ANNA))
    assert bert.vector == pytest.approx(np.array(BERT))
    assert (anna.last.box, bert.last.box) == (box(40), box(0))


def test_the_order_of_faces_in_a_frame_says_nothing() -> None:
    """Detectors list the largest first, so the index of a face changes when one comes nearer."""
    one = follow(*[(seen(n, ANNA, box(0)), seen(n, BERT, box(12), face=1)) for n in range(4)])
    other = follow(
        (seen(0, ANNA, box(0)), seen(0, BERT, box(12), face=1)),
        *[(seen(n, BERT, box(12)), seen(n, ANNA, box(0), face=1)) for n in range(1, 4)],
    )
    assert [t.vector.tolist() for t in one] == [t.vector.tolist() for t in other]
    assert [one.face for one in other[0].sightings] == [0, 1, 1, 1]


def test_somebody_else_in_the_same_place_for_one_frame_takes_nothing_over() -> None:
    """The track goes on after it; what flickered in between is a track of its own."""
    frames = [(seen(n, CARL if n == 2 else BERT, box(n)),) for n in range(5)]
    bert, carl = follow(*frames)
    assert frames_of(bert) == [0, 1, 3, 4]
    assert frames_of(carl) == [2]
    assert bert.vector == pytest.approx(np.array(BERT)), "nothing of the other is in it"


def test_only_similar_goes_on_and_a_mismatch_does_not() -> None:
    for away, tracks in ((0.59, 1), (0.61, 2)):
        found = follow((seen(0, BERT, box(0)),), (seen(1, (away, 1.0, 0.0), box(0)),))
        assert len(found) == tracks


def test_a_face_that_drifts_into_somebody_else_is_cut_off() -> None:
    """Each step is small; the track's own mean stays where it began."""
    steps = [(seen(n, (0.15 * n, 1.0 - 0.15 * n, 0.0), box(0)),) for n in range(8)]
    tracks = follow(*steps)
    assert len(tracks) > 1
    for track in tracks:
        apart = [distance(one.vector, track.vector) for one in track.sightings]
        assert max(apart) <= THRESHOLDS.mismatch


def test_a_face_elsewhere_begins_a_track_of_its_own() -> None:
    assert len(follow((seen(0, BERT, box(0)),), (seen(1, BERT, box(10)),))) == 1
    assert len(follow((seen(0, BERT, box(0)),), (seen(1, BERT, box(12)),))) == 2


@pytest.mark.parametrize(("gap", "tracks"), [(MAX_GAP_SECONDS, 1), (MAX_GAP_SECONDS + 0.01, 2)])
def test_who_leaves_and_comes_back_is_one_track_only_at_once(gap: float, tracks: int) -> None:
    first, second = seen(0, BERT, box(0), at=1.0), seen(9, BERT, box(0), at=1.0 + gap)
    assert len(follow((first,), (), (second,))) == tracks
    busy = seen(5, ANNA, box(50), at=1.0 + gap / 2)
    assert len(follow((first,), (busy,), (second,))) == tracks + 1


def test_it_is_seconds_that_count_and_not_frames() -> None:
    """Variable frame rate: forty frames in a tenth of a second, then two in four."""
    dense = [(seen(n, BERT, box(0), at=n * 0.0025),) for n in range(40)]
    sparse = [(seen(40 + n, BERT, box(0), at=2.0 + 2 * n),) for n in range(2)]
    assert [len(frames_of(track)) for track in follow(*dense, *sparse)] == [40, 1, 1]


def test_a_cut_ends_every_track() -> None:
    tracker = Tracker(THRESHOLDS)
    tracker.add((seen(0, BERT, box(0)),))
    tracker.cut()
    tracker.add((seen(1, BERT, box(0)),))
    assert [frames_of(track) for track in tracker.tracks] == [[0], [1]]


def test_of_two_alike_each_track_takes_one() -> None:
    """Twins side by side: nobody is lost, and no track takes two faces of a frame."""
    frames = [(seen(n, BERT, box(0)), seen(n, BERT, box(8), face=1)) for n in range(4)]
    first, second = follow(*frames)
    assert len(frames_of(first)) == len(frames_of(second)) == 4
    assert first.span == second.span == (0, 3)


def test_the_identity_of_a_track_is_the_mean_of_its_best_frames() -> None:
    bad = [seen(n, (0.5, 1.0, 0.0), box(0), quality=0.1) for n in range(20)]
    good = [seen(20 + n, (0.0, 1.0, 0.1), box(0), quality=0.9) for n in range(BEST_FRAMES)]
    track = Track([*bad, *good])
    assert track.vector == pytest.approx(np.array([0.0, 1.0, 0.1]))
    assert track.vector.dtype == np.float32
    few = Track([bad[0], good[0]])
    assert few.vector == pytest.approx(np.array([0.25, 1.0, 0.05]))
    assert len(track.sightings) == 30
    assert (track.span, track.last) == ((0, 29), good[-1])


def test_of_equally_good_frames_the_first_ones_count() -> None:
    sightings = [seen(n, (float(n), 1.0), box(0)) for n in range(BEST_FRAMES + 5)]
    assert Track(sightings).vector == pytest.approx(np.array([(BEST_FRAMES - 1) / 2, 1.0]))


def test_the_same_faces_give_the_same_tracks() -> None:
    rng = np.random.default_rng(11)
    frames = []
    for n in range(30):
        places = rng.permutation(4)
        frames.append(
            [
                seen(n, np.eye(4)[p] + rng.normal(0, 0.05, 4), box(30.0 * p + n), face=f)
                for f, p in enumerate(places)
            ]
        )
    one, other = follow(*frames), follow(*frames)
    assert len(one) == 4
    for a, b in zip(one, other, strict=True):
        assert [(s.frame, s.face) for s in a.sightings] == [(s.frame, s.face) for s in b.sightings]
        assert np.array_equal(a.vector, b.vector)


def test_vectors_that_do_not_compare_are_endlessly_apart() -> None:
    three = np.zeros(3, np.float32)
    assert distance(three, np.zeros(4, np.float32)) == float("inf")
    assert distance(three, np.full(3, np.nan, np.float32)) == float("inf")
    assert distance(three, np.array([3, 4, 0], np.float32)) == pytest.approx(5)
    odd = Sighting(1, 0, 0.1, box(0), np.ones(5, np.float32), 1.0)
    assert len(follow((seen(0, BERT, box(0)),), (odd,))) == 2


# ---------------------------------------------------------------------------- how well it is seen


@pytest.fixture
def shown(face: Callable[..., Face]) -> Callable[..., Face]:
    """A face with a mesh of that width (pixels) in the middle of a picture of 256."""

    def make(width: float = 120.0, yaw: float = 0.0, pitch: float = 0.0) -> Face:
        neutral = load_topology().neutral
        size = width / float(np.ptp(neutral[:, 0]))
        mesh = (neutral * size + [128, 128, 0]).astype(np.float32)
        return replace(face(1.0), mesh=mesh, pose=(yaw, pitch, 0.0))

    return make


def picture() -> Any:
    return np.random.default_rng(5).integers(0, 255, (256, 256, 3)).astype(np.uint8)


def quality(frame: Any, face: Face) -> float:
    return sighting_of(frame, face, number=0, index=0, at=0.0).quality


def test_frontal_large_and_sharp_is_better(shown: Callable[..., Face]) -> None:
    import cv2  # noqa: PLC0415

    sharp = picture()
    best = quality(sharp, shown())
    assert best > 0
    assert quality(sharp, shown(yaw=40)) < best
    assert quality(sharp, shown(pitch=-40)) < best
    assert quality(sharp, shown(yaw=120)) == 0, "the back of a head"
    assert quality(cv2.GaussianBlur(sharp, (0, 0), 3).astype(np.uint8), shown()) < best
    flat = np.full((256, 256, 3), 90, np.uint8)
    assert quality(flat, shown()) < best


def test_a_sighting_is_where_and_when(shown: Callable[..., Face]) -> None:
    face = shown()
    made = sighting_of(picture(), face, number=7, index=2, at=1.5)
    assert (made.frame, made.face, made.at, made.box) == (7, 2, 1.5, face.box)
    assert made.vector is face.id_vector
    with pytest.raises(ShapeError):
        sighting_of(np.zeros((8, 8, 3), np.uint8), face, number=0, index=0, at=0.0)
