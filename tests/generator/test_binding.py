"""Whom a face stands for: what its frame says, what its track says, and where the two differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from generator.binding import MATCHED_SHARE, Bound, Follower
from generator.clip_frames import watch
from generator.faces import Face
from policies.request import Person

BERT, CARL = (0.0, 1.0), (0.0, 0.5)  # named, and only .5 apart: match to .4, mismatch from .6
SHOWN = 6

Look = tuple[tuple[float, ...], float]


@pytest.fixture
def people() -> list[Person]:
    ids = [f"00000000-0000-7000-8000-00000000000{n}" for n in (1, 2)]
    return [
        Person(record_id=ids[0], role="target_body"),
        Person(record_id=ids[1], role="bystander"),
    ]


@pytest.fixture
def bind(
    reel: Any, face: Callable[..., Face], people: list[Person], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Bound]:
    """`bind([(vector, left), ...], ...)`: the faces of each frame; `cut=`: where shots begin."""

    def make(
        *looks: Sequence[Look],
        cut: Sequence[int] = (0,),
        named: Sequence[Person] = tuple(people),
        templates: Any = None,
    ) -> Bound:
        numbers = iter(range(len(looks)))
        finder = SimpleNamespace(is_cut=lambda _: next(numbers) in cut)
        monkeypatch.setattr("generator.binding.CutFinder", lambda: finder)
        if templates is None:
            vectors = (face(*who).id_vector for who in (BERT, CARL))
            templates = {p.record_id: v for p, v in zip(people, vectors, strict=True)}
        follower = Follower(named, templates, reel, time_base=(1, 800))
        for shot, look in zip(watch(reel.clip), looks, strict=False):
            follower.add(shot, [face(*who, left=left) for who, left in look])
        return follower.settle()

    return make


def roles(bound: Bound) -> dict[tuple[int, int], str | None]:
    return {
        key: standing.person and standing.person.role for key, standing in bound.standings.items()
    }


def test_every_face_of_every_frame_stands_for_somebody(bind: Any) -> None:
    bound = bind(*[[(BERT, n), ((0.0, 0.45), 40)] for n in range(SHOWN)])
    assert roles(bound) == {
        **{(n, 0): "target_body" for n in range(SHOWN)},
        **{(n, 1): "bystander" for n in range(SHOWN)},
    }
    assert [standing.reason for standing in bound.standings.values()] == [""] * 2 * SHOWN
    assert [len(track.sightings) for track in bound.tracks] == [SHOWN, SHOWN]
    assert [bound.standings[n, 1].track for n in range(SHOWN)] == [1] * SHOWN


def test_an_empty_clip_binds_nobody(bind: Any) -> None:
    for looks in ([], [[]] * SHOWN):
        bound = bind(*looks)
        assert (list(bound.tracks), dict(bound.standings)) == ([], {})


def test_a_similar_frame_nearer_to_another_named_person_is_not_pardoned(bind: Any) -> None:
    """Carl has a face of her own in it, so Bert gets the other: .43 from him, .23 from her."""
    for blurred, stands in (((0.0, 0.62, 0.2), False), ((0.0, 1.1, 0.41), True)):
        looks = [[((0.0, 1.0, 0.2), 0), (CARL, 40)] for _ in range(SHOWN)]
        looks[2] = [(blurred, 0), (CARL, 40)]
        bound = bind(*looks)
        assert len(bound.tracks) == 2
        assert (bound.standings[2, 0].person is not None) == stands
        assert roles(bound)[1, 0] == "target_body"
        assert roles(bound)[2, 1] == "bystander"


def test_a_face_that_its_frame_gives_to_another_stands_for_nobody(bind: Any, people: Any) -> None:
    """Two faces in a frame: the nearest pair goes first, the other face gets whoever is left."""
    looks = [[((0.0, 0.9), 0), ((0.0, 0.5), 40)] for _ in range(SHOWN)]
    looks[3] = [((0.0, 0.9), 0), ((0.0, 0.95), 40)]
    bound = bind(*looks)
    assert len(bound.tracks) == 2
    assert roles(bound)[3, 0] is None
    assert roles(bound)[3, 1] is None
    assert roles(bound)[2, 1] == "bystander"


def test_a_track_only_similar_as_a_whole_is_nobodys(bind: Any) -> None:
    bound = bind(*[[((0.0, 1.0, 0.0, 0.45), 0)] for _ in range(SHOWN)])
    assert set(roles(bound).values()) == {None}
    assert "followed from frame 0 to frame 5 is only similar" in bound.standings[4, 0].reason


@pytest.mark.parametrize(("blurred", "stands"), [(1, True), (2, False), (3, False)])
def test_most_frames_of_a_track_have_to_match_by_themselves(
    bind: Any, blurred: int, stands: bool
) -> None:
    """Of six frames one may be similar: 5/6 is above three quarters, 4/6 is not."""
    assert MATCHED_SHARE == 0.75
    looks = [[((0.0, 1.0, 0.0, 0.3), 0)] for _ in range(SHOWN)]
    for n in range(blurred):
        looks[n + 1] = [((0.0, 1.0, 0.0, 0.42), 0)]
    bound = bind(*looks)
    assert len(bound.tracks) == 1
    assert set(roles(bound).values()) == {"target_body" if stands else None}


def test_a_mismatch_inside_of_a_track_is_never_pardoned(bind: Any) -> None:
    looks = [[((0.0, 1.0, 0.0, 0.3), 0)] for _ in range(SHOWN)]
    looks[4] = [((0.0, 1.0, 0.0, 0.61), 0)]
    bound = bind(*looks)
    assert len(bound.tracks) == 1, "it goes on with the track: .31 from it"
    assert [roles(bound)[n, 0] for n in (3, 4, 5)] == ["target_body", None, "target_body"]
    assert bound.standings[4, 0].reason == "a face matches nobody whom the warrant shows"


def test_a_similar_frame_that_is_unlike_its_track_is_not_pardoned(bind: Any) -> None:
    looks = [[((0.0, 1.0, 0.0, 0.2), 0)] for _ in range(SHOWN)]
    looks[4] = [((0.0, 1.0, 0.4, -0.2), 0)]
    bound = bind(*looks)
    assert len(bound.tracks) == 1
    assert bound.standings[4, 0].reason.startswith("a face is only similar")


def test_the_same_person_at_two_places_at_one_time_is_refused(bind: Any) -> None:
    """Also where the two are never in one frame: first here, then there, then here again."""
    here, there = [(BERT, 0)], [(BERT, 35)]
    bound = bind(here, there, here, there, here, here)
    assert [roles(bound)[n, 0] for n in range(SHOWN)] == [
        "target_body", None, "target_body", None, "target_body", "target_body"
    ]  # fmt: skip
    assert "shown twice at one time" in bound.standings[1, 0].reason


def test_one_after_the_other_is_not_at_one_time(bind: Any) -> None:
    here, there = [(BERT, 0)], [(BERT, 35)]
    assert set(roles(bind(here, here, here, there, there, there)).values()) == {"target_body"}


def test_a_cut_begins_tracks_that_are_judged_by_themselves(bind: Any) -> None:
    """The same frames in one shot are pardoned; behind a cut a similar face stands alone."""
    lit, blurred = [((0.0, 1.0, 0.0, 0.3), 0)], [((0.0, 1.0, 0.0, 0.42), 0)]
    looks = [lit, lit, lit, lit, lit, blurred]
    assert roles(bind(*looks))[5, 0] == "target_body"
    bound = bind(*looks, cut=(0, 5))
    assert roles(bound)[5, 0] is None
    assert roles(bound)[4, 0] == "target_body"


def test_templates_that_are_missing_or_of_another_net_match_nobody(
    bind: Any, people: Any, face: Any
) -> None:
    looks = [[(BERT, 0)] for _ in range(3)]
    long = np.zeros(16, np.float32)
    long[1] = 1
    for template in (None, long):
        bound = bind(*looks, templates={p.record_id: template for p in people})
        assert set(roles(bound).values()) == {None}
    kept = {people[0].record_id: face(*BERT).id_vector, people[1].record_id: None}
    assert set(roles(bind(*looks, templates=kept)).values()) == {"target_body"}


def test_where_nobody_is_named_nobody_stands(bind: Any) -> None:
    assert set(roles(bind([(BERT, 0)], named=())).values()) == {None}


def test_two_who_are_equally_near_bind_no_track(bind: Any, people: Any, face: Any) -> None:
    same = {p.record_id: face(*BERT).id_vector for p in people}
    assert set(roles(bind(*[[(BERT, 0)]] * 3, templates=same)).values()) == {None}


def test_claims_are_those_of_the_frame_by_itself(
    reel: Any, people: Any, face: Callable[..., Face]
) -> None:
    templates = {
        p.record_id: face(*who).id_vector for p, who in zip(people, (BERT, CARL), strict=True)
    }
    follower = Follower(people, templates, reel, time_base=(1, 800))
    [shot] = watch(reel.clip, start=2, stop=3)
    first, second = follower.add(shot, [face(*CARL), replace(face(*BERT, left=40), score=0.5)])
    assert (first.person, first.face, first.found.answer) == (people[0], 1, "match")
    assert (second.person, second.face) == (people[1], 0)
    assert follower.seconds(shot.pts) == 0.25
