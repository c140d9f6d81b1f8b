"""Drafts: bound to their warrant and inputs, unchangeable, unable to leave by themselves."""

from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from policies.warrant import WarrantInvalid
from provenance.draft import Draft, Maker, require_draft
from provenance.errors import MediaError, ShapeError


def test_draft_keeps_its_own_read_only_pixels(studio: Any) -> None:
    target = studio.picture("persona2_0")
    frame = target.frame.copy()
    draft = studio.draft(frame=frame, target=target, faces=((1, 2, 3, 4),))
    frame[:] = 0
    assert np.array_equal(draft.frame, target.frame)
    assert draft.faces == ((1, 2, 3, 4),)
    assert draft.maker == Maker("geo", "1", draft.maker.models)
    with pytest.raises(ValueError, match="read-only"):
        draft.frame[0, 0] = 1


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((512, 511, 3), np.uint8),
        np.zeros((512, 512), np.uint8),
        np.zeros((512, 512, 4), np.uint8),
        np.zeros((512, 512, 3), np.float32),
        np.zeros((0, 512, 3), np.uint8),
        b"pixels",
        None,
    ],
    ids=["narrow", "grey", "alpha", "float", "empty", "bytes", "none"],
)
def test_frame_of_another_form_is_refused(studio: Any, frame: object) -> None:
    with pytest.raises(ShapeError) as caught:
        studio.draft(frame=frame)
    assert caught.value.code == "SHAPE"


def test_a_warrant_for_a_video_makes_no_picture(studio: Any) -> None:
    pictures = studio.picture("persona1_0"), studio.picture("persona2_0")
    warrant = studio.warrant_under(*pictures, {"media": ["video"]}, medium="video")
    with pytest.raises(WarrantInvalid, match="for one video, not for this image") as caught:
        studio.draft(warrant=warrant)
    assert caught.value.code == "WARRANT-OTHER-MEDIUM"


@pytest.mark.parametrize("which", ["source", "target"])
def test_stand_in_for_a_picture_is_refused(studio: Any, which: str) -> None:
    source, target = studio.picture("persona1_0"), studio.picture("persona2_0")
    warrant = studio.warrant(source, target)
    real = {"source": source, "target": target}
    # It says the digest that the warrant names, and would show something else.
    liar = SimpleNamespace(
        sha256=real[which].sha256, frame=np.zeros((512, 512, 3), np.uint8), mime="image/webp"
    )
    with pytest.raises(MediaError) as caught:
        studio.draft(warrant=warrant, **(real | {which: liar}))
    assert caught.value.code == "MEDIA"


@pytest.mark.parametrize("name", Draft.__slots__)
def test_draft_cannot_be_changed(studio: Any, name: str) -> None:
    draft = studio.draft()
    for attempt in (lambda: setattr(draft, name, None), lambda: delattr(draft, name)):
        with pytest.raises(WarrantInvalid) as caught:
            attempt()
        assert caught.value.code == "WARRANT-REQUIRED"


@pytest.mark.parametrize("leave", [pickle.dumps, copy.copy, copy.deepcopy])
def test_draft_cannot_be_copied_or_stored(studio: Any, leave: Any) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        leave(studio.draft())
    assert caught.value.code == "WARRANT-REQUIRED"


def test_draft_has_no_bytes_and_prints_no_pixels(studio: Any) -> None:
    draft = studio.draft()
    assert repr(draft) == f"<Draft under warrant {draft.warrant.document.warrant_id}>"
    with pytest.raises(TypeError):
        bytes(draft)
    assert not hasattr(draft, "data")
    assert not hasattr(draft, "__dict__")


@pytest.mark.parametrize("value", [None, object(), SimpleNamespace(frame=1), Draft])
def test_only_a_whole_draft_counts_as_one(value: object) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        require_draft(value)
    assert caught.value.code == "WARRANT-REQUIRED"


def test_draft_without_fields_or_of_a_subclass_counts_as_none(studio: Any) -> None:
    class Louder(Draft):
        __slots__ = ()

    draft = studio.draft()
    louder = Louder(
        draft.frame,
        warrant=draft.warrant,
        source=draft.source,
        target=draft.target,
        faces=(),
        maker=draft.maker,
    )
    for value in (object.__new__(Draft), louder):
        with pytest.raises(WarrantInvalid) as caught:
            require_draft(value)
        assert caught.value.code == "WARRANT-REQUIRED"
    assert require_draft(draft) is draft


def test_model_the_warrant_does_not_name_makes_no_draft(studio: Any) -> None:
    for models in ({"evil": "0" * 64}, {"idnet": "0" * 64}):
        with pytest.raises(WarrantInvalid) as caught:
            studio.draft(maker=Maker("geo", "1", models))
        assert caught.value.code == "WARRANT-OTHER-MODEL"
