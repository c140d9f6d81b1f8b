"""The door for videos: what every frame must show, and which frame it was that did not."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from generator.casting import FrameRefused
from generator.clip_frames import ClipFrame, watch
from generator.clip_measure import measure_clip
from generator.clip_swap import swap_clip
from generator.errors import (
    FaceError,
    GatesMissing,
    NoFace,
    OptedOut,
    OtherPerson,
    RegistryUnavailable,
)
from generator.faces import Face
from generator.gates import Gates
from generator.swap import swap
from generator.swapper import OutOfRange, Rendering, SwapTask, UnnamedFace, require_task
from generator.templates import pack_template
from policies.warrant import WarrantInvalid
from policies.warrants import ActiveWarrant
from provenance.clip_draft import ClipDraft
from provenance.errors import MediaError

ANNA, BERT, CARL, DORA = (1.0,), (0.0, 1.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0, 1.0)


class Spy:
    """A swapper that turns the upper left quarter black, and notes which faces it was given."""

    name, version, models = "spy", "1", {"spy-net": "0" * 64}

    def __init__(self) -> None:
        self.tasks: list[SwapTask] = []
        self.outside = False

    def render(self, task: SwapTask) -> Rendering:
        self.tasks.append(require_task(task))
        frame = task.target.frame.copy()
        mask = np.zeros(frame.shape[:2], np.float32)
        mask[:24, :32] = 1
        frame[:24, :32] = 0
        if self.outside:
            frame[-1, -1] += 1
        return Rendering(frame, mask)


@pytest.fixture
def spy() -> Spy:
    return Spy()


@pytest.fixture
def gates(told_gates: Callable[..., Gates]) -> Gates:
    return told_gates()


@pytest.fixture
def people(office: Any, reel: Any, face: Callable[..., Face]) -> list[tuple[str, str]]:
    """Anna's face is put onto Bert, who walks to the right; Carl stands beside."""
    reel.in_source = [face(*ANNA)]
    for number in range(6):
        reel.show(face(*CARL, left=40), face(*BERT, left=number), at=number)
    roles = ("source_identity", "target_body", "bystander")
    vectors = (face(*who).id_vector for who in (ANNA, BERT, CARL))
    records = [
        office.enrol(face=pack_template(v), media=["image", "video"], max_uses=100) for v in vectors
    ]
    return list(zip(records, roles, strict=True))


@pytest.fixture
def permit(office: Any, reel: Any, gates: Gates, people: Any) -> Callable[..., ActiveWarrant]:
    """A warrant on a measurement of the reel as it is shown now; `changes` to the request."""

    def make(**changes: object) -> ActiveWarrant:
        fields = {
            "source_sha256": reel.source.sha256,
            "target_sha256": reel.clip.sha256,
            "medium": "video",
        } | changes
        request = office.request(people, **fields)
        measured = measure_clip(
            request,
            reel.source,
            reel.clip,
            book=office.book,
            analyser=reel,
            gates=gates,
            swapper_models=Spy.models,
        ).model_copy(update={"target_sha256": fields["target_sha256"]})
        return office.desk.start(office.desk.admit(request, measured))

    return make


@pytest.fixture
def start(reel: Any, permit: Any, gates: Gates, spy: Spy) -> Callable[..., ClipDraft]:
    """`start(...)`: the draft under a warrant for the reel; what is given is used instead."""

    def make(**given: Any) -> ClipDraft:
        parts = {"analyser": reel, "gates": gates, "swapper": spy} | given
        warrant = parts.pop("warrant") if "warrant" in parts else permit()
        return swap_clip(reel.source, parts.pop("target", reel.clip), warrant=warrant, **parts)

    return make


def refused_frame(draft: ClipDraft) -> tuple[int, FrameRefused]:
    """How many frames were made before one was refused, and the refusal."""
    frames, made = draft.render(0, 6), list[object]()
    with pytest.raises(FrameRefused) as caught:
        made.extend(frames)
    return len(made), caught.value


def test_every_frame_is_made_at_its_time(start: Any, reel: Any, spy: Spy) -> None:
    draft = start()
    assert spy.tasks == [], "nothing is made before it is asked for"
    made = list(draft.render(0, 6))
    assert tuple(pts for pts, _ in made) == reel.clip.times
    for shot, (_, frame) in zip(watch(reel.clip), made, strict=True):
        assert (frame[:24, :32] == 0).all()
        assert np.array_equal(frame[24:], shot.frame[24:])
    assert [task.target_face.box[0] for task in spy.tasks] == [n + 2.4 for n in range(6)]
    assert [task.target.number for task in spy.tasks] == list(range(6))
    assert (draft.source, draft.target) == (reel.source, reel.clip)
    assert (draft.maker.swapper, draft.maker.version) == ("spy", "1+steady1")
    assert draft.maker.models == {**reel.models, **Spy.models}
    assert draft.faces == ((2, 3, 28, 26), (42, 3, 63, 26))


def test_a_part_is_made_by_itself(start: Any, reel: Any, spy: Spy) -> None:
    made = list(start().render(2, 4))
    assert [pts for pts, _ in made] == list(reel.clip.times[2:4])
    assert [task.target.number for task in spy.tasks] == [2, 3]


def test_frames_without_the_swapped_person_stay_as_they_are(
    start: Any, reel: Any, spy: Spy, face: Any
) -> None:
    reel.show(face(*CARL, left=40), at=1)
    reel.show(at=4)
    made = [frame for _, frame in start().render(0, 6)]
    for number, shot in enumerate(watch(reel.clip)):
        assert np.array_equal(made[number], shot.frame) == (number in (1, 4))
    assert len(spy.tasks) == 4


@pytest.mark.parametrize("nothing", [None, True, "yes", {"warrant_id": "1"}])
def test_without_a_warrant_nothing_is_even_looked_at(
    start: Any, reel: Any, nothing: object
) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        start(warrant=nothing)
    assert caught.value.code == "WARRANT-REQUIRED"
    assert reel.looked == []


@pytest.mark.parametrize("gates", [None, True, object.__new__(Gates)])
def test_without_gates_a_good_warrant_opens_nothing(start: Any, permit: Any, gates: Any) -> None:
    with pytest.raises(GatesMissing):
        start(warrant=permit(), gates=gates)


def test_a_warrant_for_a_picture_makes_no_video(start: Any, permit: Any, spy: Spy) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        start(warrant=permit(medium="image"))
    assert caught.value.code == "WARRANT-OTHER-MEDIUM"


def test_a_warrant_for_a_video_changes_no_picture(
    permit: Any, reel: Any, gates: Gates, spy: Spy
) -> None:
    """Also where the file it names is the picture's."""
    warrant = permit(target_sha256=reel.source.sha256)
    with pytest.raises(WarrantInvalid) as caught:
        swap(reel.source, reel.source, warrant=warrant, analyser=reel, gates=gates, swapper=spy)
    assert caught.value.code == "WARRANT-OTHER-MEDIUM"
    assert spy.tasks == []


def test_a_warrant_for_another_clip_is_refused(start: Any, permit: Any) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        start(warrant=permit(target_sha256="1" * 64))
    assert caught.value.code == "WARRANT-OTHER-INPUT"


@pytest.mark.parametrize(
    "target", [None, "clip.mp4", SimpleNamespace(sha256="0" * 64)], ids=["none", "path", "double"]
)
def test_only_a_clip_is_swapped(start: Any, permit: Any, target: Any) -> None:
    with pytest.raises(MediaError):
        start(warrant=permit(), target=target)


def test_a_model_that_the_warrant_does_not_name_is_refused(start: Any, spy: Spy) -> None:
    for models in ({"spy-net": "1" * 64}, {"other-net": "0" * 64}):
        spy.models = models
        with pytest.raises(WarrantInvalid) as caught:
            start()
        assert caught.value.code == "WARRANT-OTHER-MODEL"


def test_a_source_without_its_person_is_refused_at_once(
    start: Any, permit: Any, reel: Any, face: Any
) -> None:
    warrant = permit()
    reel.in_source = [face(*DORA)]
    with pytest.raises(OtherPerson):
        start(warrant=warrant)
    reel.in_source = []
    with pytest.raises(NoFace):
        start(warrant=warrant)


CHANGED: dict[str, tuple[list[tuple[tuple[float, ...], float]], int]] = {
    "a stranger beside": ([(BERT, 3), (DORA, 20)], 0),
    "a stranger alone": ([(DORA, 3)], 0),
    "only similar": ([((0.0, 1.0, 0.5), 3)], 0),
    "the bystander only similar": ([(BERT, 3), ((0.0, 0.5, 1.0), 40)], 0),
    "the swapped person twice": ([(BERT, 3), (BERT, 30)], 0),
    "the source's person": ([(BERT, 3), (ANNA, 30)], 0),
    "a covered face": ([(BERT, 3)], 1),
    "nothing but a covered face": ([], 1),
}


@pytest.mark.parametrize("what", CHANGED)
def test_a_frame_that_shows_anybody_else_is_refused_by_its_number(
    start: Any, reel: Any, spy: Spy, face: Any, what: str
) -> None:
    """The warrant was issued on another look at these frames, so nothing but identity counts."""
    draft = start()
    shown, covered = CHANGED[what]
    reel.show(*(face(*who, left=left) for who, left in shown), at=3)
    reel.covered[3] = [(40.0, 20.0, 60.0, 40.0)] * covered
    made, refusal = refused_frame(draft)
    assert made == len(spy.tasks) == 0, "the whole clip is looked at before a frame is made"
    assert refusal.code == "UNNAMED-FACE"
    assert refusal.message.startswith("frame 3, in second 0: ")
    assert "cut this part out" in refusal.mend
    assert isinstance(refusal.__cause__, UnnamedFace)


def test_a_face_outside_of_all_measured_places_is_refused(
    start: Any, reel: Any, spy: Spy, face: Any
) -> None:
    draft = start()
    reel.show(face(*BERT, left=12), at=3)
    made, refusal = refused_frame(draft)
    assert (made, refusal.code) == (3, "UNNAMED-FACE")
    assert len(spy.tasks) == 3


@pytest.mark.parametrize("who", [ANNA, BERT])
def test_who_opts_out_meanwhile_is_in_no_further_frame(
    start: Any, reel: Any, spy: Spy, face: Any, optouts: Any, who: tuple[float, ...]
) -> None:
    frames = start().render(0, 6)
    next(frames)
    template = pack_template(face(*who).id_vector)
    optouts.add(template, model_sha256=reel.models["idnet"], pid="ps_" + "b" * 26)
    with pytest.raises(FrameRefused) as caught:
        next(frames)
    assert caught.value.code == "OPTED-OUT"
    assert isinstance(caught.value.__cause__, OptedOut)
    assert len(spy.tasks) == 1


def test_a_bystander_who_opts_out_is_in_no_frame_even_alone(
    start: Any, reel: Any, spy: Spy, face: Any, optouts: Any
) -> None:
    draft = start()
    reel.show(face(*CARL, left=40), at=2)
    template = pack_template(face(*CARL).id_vector)
    optouts.add(template, model_sha256=reel.models["idnet"], pid="ps_" + "b" * 26)
    with pytest.raises(FrameRefused) as caught:
        list(draft.render(2, 3))
    assert caught.value.code == "OPTED-OUT"
    assert spy.tasks == []


def test_a_source_who_opted_out_is_refused_at_once(
    start: Any, permit: Any, reel: Any, face: Any, optouts: Any
) -> None:
    warrant = permit()
    template = pack_template(face(*ANNA).id_vector)
    optouts.add(template, model_sha256=reel.models["idnet"], pid="ps_" + "b" * 26)
    with pytest.raises(OptedOut):
        start(warrant=warrant)
    optouts.add(template, model_sha256="0" * 64, pid="ps_" + "c" * 26)
    with pytest.raises(RegistryUnavailable):
        start(warrant=warrant)


@pytest.mark.parametrize("word", ["review", "found", "unavailable"])
def test_a_frame_that_came_out_nude_is_refused(
    start: Any, permit: Any, reel: Any, told_gates: Any, word: str
) -> None:
    def look(frame: Any) -> str:
        swapped = (frame[0, 0] == 0).all() and not (frame[-1, -1] == 0).all()
        shade = (float(frame[30:].mean()) - 20) / 30
        return word if swapped and round(shade) == 2 else "clear"

    made, refusal = refused_frame(start(warrant=permit(), gates=told_gates(nudity=look)))
    assert (made, refusal.code) == (2, "OUTPUT-NUDITY")


def test_a_swapper_that_breaks_its_word_is_refused(start: Any, spy: Spy) -> None:
    spy.outside = True
    made, refusal = refused_frame(start())
    assert (made, refusal.code) == (0, "SWAP-REFUSED")


def test_a_face_beyond_the_swappers_range_names_its_frame(start: Any, spy: Spy) -> None:
    def render(task: SwapTask) -> Rendering:
        if task.target.number == 4:
            raise OutOfRange("the target's yaw (degrees)", measured=71, limit=60)
        return Spy.render(spy, task)

    spy.render = render  # type: ignore[method-assign]
    made, refusal = refused_frame(start())
    assert (made, refusal.code) == (4, "SWAP-OUT-OF-RANGE")
    assert refusal.message.startswith(
        "frame 4, in second 0: the target's yaw (degrees) is 71, the limit is 60; so in 1 of the 1 "
    )
    assert refusal.mend == "cut this part out of the video"


def test_who_withdraws_meanwhile_is_in_no_further_frame(
    start: Any, permit: Any, office: Any, people: Any, spy: Spy
) -> None:
    frames = start().render(0, 6)
    next(frames)
    office.withdraw(people[1][0])
    with pytest.raises(WarrantInvalid) as caught:
        next(frames)
    assert caught.value.code == "CONSENT-CHANGED"
    assert len(spy.tasks) == 1


def test_a_refused_frame_is_one_of_ours() -> None:
    plain = FrameRefused("what", mend="how")
    assert isinstance(plain, FaceError)
    assert (plain.code, plain.mend) == ("FRAME-REFUSED", "how")


# ------------------------------------------------------------------------------ tasks of frames


@pytest.fixture
def make_task(reel: Any, permit: Any, face: Any) -> Callable[..., SwapTask]:
    """A task for the third frame, in which Bert's face is at 2; what is given is used instead."""

    def make(**given: Any) -> SwapTask:
        [shot] = watch(reel.clip, start=2, stop=3)
        parts = {
            "source": reel.source,
            "target": shot,
            "source_face": face(*ANNA),
            "target_face": face(*BERT, left=2),
        } | given
        return SwapTask(parts.pop("warrant", None) or permit(), **parts)

    return make


def test_a_task_for_a_frame_is_one(make_task: Any) -> None:
    task = make_task()
    assert require_task(task) is task
    with pytest.raises(FaceError):
        pickle.dumps(task)


def test_a_frame_by_hand_makes_no_task(make_task: Any, reel: Any) -> None:
    class Double(ClipFrame):
        pass

    double = SimpleNamespace(sha256=reel.clip.sha256, frame=np.zeros((48, 64, 3), np.uint8))
    for target in (double, object.__new__(ClipFrame), object.__new__(Double), reel.clip):
        with pytest.raises(MediaError):
            make_task(target=target)


def test_a_frame_of_another_clip_or_under_a_pictures_warrant_makes_no_task(
    make_task: Any, permit: Any
) -> None:
    for changes, code in (
        ({"target_sha256": "1" * 64}, "WARRANT-OTHER-INPUT"),
        ({"medium": "image"}, "WARRANT-OTHER-MEDIUM"),
    ):
        with pytest.raises(WarrantInvalid) as caught:
            make_task(warrant=permit(**changes))
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("left", "top", "fits"),
    [
        (0, 0, True),
        (5, 0, True),
        (-0.9, 0, True),
        (5.9, 0.9, True),
        (-2, 0, False),
        (7, 0, False),
        (2, -2, False),
        (2, 2, False),
    ],
)
def test_the_face_lies_within_all_measured_places(
    make_task: Any, face: Any, left: float, top: float, fits: bool
) -> None:
    if fits:
        assert make_task(target_face=face(*BERT, left=left, top=top))
        return
    with pytest.raises(UnnamedFace):
        make_task(target_face=face(*BERT, left=left, top=top))


def test_the_source_has_to_be_in_its_own_place(make_task: Any, face: Any) -> None:
    with pytest.raises(UnnamedFace):
        make_task(source_face=face(*ANNA, left=20))
