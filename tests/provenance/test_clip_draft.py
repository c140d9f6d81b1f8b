"""Drafts of videos: bound to their warrant and inputs, unchangeable, unable to leave."""

from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace
from typing import Any

import pytest

from policies.warrant import WarrantInvalid
from policies.warrants import ActiveWarrant
from provenance.clip import Clip
from provenance.clip_draft import ClipDraft, require_clip_draft
from provenance.draft import Maker
from provenance.errors import MediaError


def test_a_draft_keeps_what_it_is_made_from(cinema: Any) -> None:
    warrant = cinema.warrant()
    draft = cinema.draft(warrant=warrant, faces=((1, 2, 3, 4),))
    assert (draft.warrant, draft.target, draft.faces) == (warrant, cinema.clip, ((1, 2, 3, 4),))
    assert draft.render == cinema.render
    assert draft.maker.swapper == "geo"
    assert require_clip_draft(draft) is draft


def test_no_frame_is_made_before_it_is_asked_for(cinema: Any) -> None:
    def render(_start: int, _stop: int) -> Any:
        pytest.fail("nobody asked for a frame")

    cinema.draft(render=render)


def test_a_warrant_for_a_picture_makes_no_video(cinema: Any) -> None:
    with pytest.raises(WarrantInvalid, match="for one image, not for this video") as caught:
        cinema.draft(warrant=cinema.warrant(medium="image"))
    assert caught.value.code == "WARRANT-OTHER-MEDIUM"


@pytest.mark.parametrize("warrant", [None, object()])
def test_without_an_active_warrant_there_is_no_draft(cinema: Any, warrant: Any) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        cinema.draft(warrant=warrant)
    assert caught.value.code == "WARRANT-REQUIRED"


def test_a_shell_of_a_warrant_makes_no_draft(cinema: Any) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        cinema.draft(warrant=object.__new__(ActiveWarrant))
    assert caught.value.code == "WARRANT-REQUIRED"


def test_a_warrant_that_has_ended_makes_no_draft(cinema: Any) -> None:
    warrant = cinema.warrant()
    cinema.studio.office.desk.abort(warrant.document, "over")
    with pytest.raises(WarrantInvalid) as caught:
        cinema.draft(warrant=warrant)
    assert caught.value.code == "WARRANT-SPENT"


@pytest.mark.parametrize("which", ["source", "target"])
def test_a_warrant_for_other_inputs_makes_no_draft(cinema: Any, which: str) -> None:
    studio = cinema.studio
    inputs = {"source": studio.picture("persona1_0"), "target": cinema.clip}
    inputs[which] = studio.picture("persona3_0")
    other = studio.warrant_under(
        inputs["source"], inputs["target"], {"media": ["video"]}, medium="video"
    )
    with pytest.raises(WarrantInvalid, match=f"another {which}") as caught:
        cinema.draft(warrant=other)
    assert caught.value.code == "WARRANT-OTHER-INPUT"


@pytest.mark.parametrize("which", ["source", "target"])
def test_stand_in_for_an_input_is_refused(cinema: Any, which: str) -> None:
    real = {"source": cinema.studio.picture("persona1_0"), "target": cinema.clip}
    # It says the digest that the warrant names, and would show something else.
    liar = SimpleNamespace(sha256=real[which].sha256, mime="video/mp4")
    with pytest.raises(MediaError) as caught:
        cinema.draft(**{which: liar})
    assert caught.value.code == "MEDIA"


def test_shell_of_a_clip_is_refused(cinema: Any) -> None:
    with pytest.raises(MediaError, match="only a Clip"):
        cinema.draft(target=object.__new__(Clip))


@pytest.mark.parametrize("models", [{"evil": "0" * 64}, {"idnet": "0" * 64}])
def test_model_the_warrant_does_not_name_makes_no_draft(
    cinema: Any, models: dict[str, str]
) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        cinema.draft(maker=Maker("geo", "1", models))
    assert caught.value.code == "WARRANT-OTHER-MODEL"


@pytest.mark.parametrize("name", ClipDraft.__slots__)
def test_draft_cannot_be_changed(cinema: Any, name: str) -> None:
    draft = cinema.draft()
    for attempt in (lambda: setattr(draft, name, None), lambda: delattr(draft, name)):
        with pytest.raises(WarrantInvalid) as caught:
            attempt()
        assert caught.value.code == "WARRANT-REQUIRED"


@pytest.mark.parametrize("leave", [pickle.dumps, copy.copy, copy.deepcopy])
def test_draft_cannot_be_copied_or_stored(cinema: Any, leave: Any) -> None:
    with pytest.raises(WarrantInvalid, match="cannot be stored") as caught:
        leave(cinema.draft())
    assert caught.value.code == "WARRANT-REQUIRED"


def test_draft_has_no_bytes_and_prints_nothing_of_its_inputs(cinema: Any) -> None:
    draft = cinema.draft()
    assert repr(draft) == f"<ClipDraft under warrant {draft.warrant.document.warrant_id}>"
    with pytest.raises(TypeError):
        bytes(draft)  # type: ignore[call-overload]
    assert not hasattr(draft, "data")
    assert not hasattr(draft, "__dict__")


@pytest.mark.parametrize("value", [None, object(), SimpleNamespace(render=1), ClipDraft])
def test_only_a_whole_draft_counts_as_one(value: object) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        require_clip_draft(value)
    assert caught.value.code == "WARRANT-REQUIRED"


def test_draft_without_fields_of_a_subclass_or_of_a_picture_counts_as_none(cinema: Any) -> None:
    class Longer(ClipDraft):
        __slots__ = ()

    draft = cinema.draft()
    fields = {name: getattr(draft, name) for name in ClipDraft.__slots__}
    longer = Longer(fields.pop("render"), **fields)
    for value in (object.__new__(ClipDraft), longer, cinema.studio.draft()):
        with pytest.raises(WarrantInvalid, match="only a draft can be released") as caught:
            require_clip_draft(value)
        assert caught.value.code == "WARRANT-REQUIRED"
