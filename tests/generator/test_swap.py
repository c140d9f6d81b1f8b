"""The door: every refusal before a pixel is made, nothing changed but the named face and strangers.

The gates are the product's own over nets that say what a test tells them; the shipped nets look
once, at a whole swap with a stranger in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from generator.anonymise import blur_faces, head_region
from generator.errors import (
    GatesMissing,
    ManyFaces,
    MeasurementFailed,
    NoFace,
    OptedOut,
    OtherPerson,
    OutputRefused,
    RegistryUnavailable,
    ShapeError,
    SwapRefused,
)
from generator.faces import Face, FaceAnalyser, FaceBox, open_analyser
from generator.gates import Gates, open_gates
from generator.measure import measure
from generator.swap import pick_face, require_apart, swap
from generator.swapper import Rendering, SwapTask, UnnamedFace, open_swapper
from generator.templates import pack_template
from policies.optout import OptOutBook
from policies.warrant import WarrantInvalid
from policies.warrants import ActiveWarrant
from provenance.draft import Draft
from provenance.media import Box, Picture, decode, encode


class Remembering:
    """The default stack, which looks at the same pixels once: most tests share their pictures."""

    def __init__(self) -> None:
        stack = open_analyser()
        self.models, self.id_model = stack.models, stack.id_model
        self.thresholds = stack.thresholds
        self._stack = stack
        self._seen: dict[tuple[object, ...], list[object]] = {}

    def analyse(self, frame: np.ndarray) -> list[Face]:
        return self._once(self._stack.analyse, frame)

    def locate(self, frame: np.ndarray) -> list[FaceBox]:
        return self._once(self._stack.locate, frame)

    def _once(self, look: Callable[..., list], frame: np.ndarray) -> list:
        key = (look.__name__, frame.shape, frame.tobytes())
        if key not in self._seen:
            self._seen[key] = look(frame)
        return list(self._seen[key])


@pytest.fixture(scope="module")
def analyser() -> FaceAnalyser:
    return Remembering()


@pytest.fixture
def gates(told_gates: Callable[..., Gates]) -> Gates:
    """Gates to which everybody is an adult and nothing is nude."""
    return told_gates()


@pytest.fixture
def picture(demo_picture: Callable[[str], bytes]) -> Callable[[str], Picture]:
    return lambda name: decode(demo_picture(name))


def box_of(analyser: FaceAnalyser, picture: Picture, number: int = 0) -> tuple[int, ...]:
    return tuple(round(v) for v in analyser.analyse(picture.frame)[number].box)


@pytest.fixture
def enrol(office, analyser: FaceAnalyser) -> Callable[..., str]:
    """Consent of whoever is face `number` of a picture."""

    def make(picture: Picture, number: int = 0) -> str:
        face = analyser.analyse(picture.frame)[number]
        identity = analyser.models[analyser.id_model]
        return office.enrol(face=pack_template(face.id_vector), model_sha256=identity)

    return make


@pytest.fixture
def permit(office, enrol, gates: Gates, analyser: FaceAnalyser) -> Callable[..., ActiveWarrant]:
    """A warrant for the people shown, whose boxes are where the analyser finds the faces.

    `people`: consents by role, where another person's is to be named.
    """

    def make(
        source: Picture, target: Picture, people: dict[str, str] | None = None, **boxes: Box
    ) -> ActiveWarrant:
        shown = {"source_identity": source, "target_body": target}
        consents = {role: enrol(picture) for role, picture in shown.items()} | (people or {})
        request = office.request(
            [(record_id, role) for role, record_id in consents.items()],
            source_sha256=source.sha256,
            target_sha256=target.sha256,
        )
        places = {role: box_of(analyser, picture) for role, picture in shown.items()} | boxes
        facts = {
            "models": {**analyser.models, **gates.models, **Spy.models},
            "identity_model_sha256": analyser.models[analyser.id_model],
        }
        measured = office.measured(request, boxes=places, **facts)
        return office.desk.start(office.desk.admit(request, measured))

    return make


class Spy:
    """A swapper that only records whether it was reached."""

    name, version, models = "spy", "1", {"spy-net": "0" * 64}

    def __init__(self) -> None:
        self.tasks: list[SwapTask] = []

    def render(self, task: SwapTask) -> Rendering:
        self.tasks.append(task)
        frame = task.target.frame.copy()
        return Rendering(frame, np.zeros(frame.shape[:2], np.float32))


@pytest.fixture
def spy() -> Spy:
    return Spy()


def test_swap_gives_a_draft_that_says_how_it_was_made(
    picture, permit, analyser, gates, spy
) -> None:
    source, target = picture("persona1_0"), picture("persona2_1")
    draft = swap(
        source, target, warrant=permit(source, target), analyser=analyser, gates=gates, swapper=spy
    )
    assert isinstance(draft, Draft)
    assert (draft.source, draft.target) == (source, target)
    assert (draft.maker.swapper, draft.maker.version) == ("spy", "1")
    assert dict(draft.maker.models) == {**analyser.models, "spy-net": "0" * 64}
    assert len(draft.faces) == 1
    (x0, y0, x1, y1) = draft.faces[0]
    assert 0 < x1 - x0 < 512
    assert 0 < y1 - y0 < 512
    assert len(spy.tasks) == 1


def test_real_swap_leaves_everything_outside_the_mask(picture, permit, analyser, gates) -> None:
    source, target = picture("persona1_0"), picture("persona2_0")
    renderings: list[Rendering] = []
    geo = open_swapper("geo")

    class Keep:
        name, version, models = geo.name, geo.version, geo.models

        def render(self, task: SwapTask) -> Rendering:
            renderings.append(geo.render(task))
            return renderings[-1]

    draft = swap(
        source,
        target,
        warrant=permit(source, target),
        analyser=analyser,
        gates=gates,
        swapper=Keep(),
    )
    outside = renderings[0].mask == 0
    assert 0.5 < outside.mean() < 0.95
    assert np.array_equal(draft.frame[outside], target.frame[outside])
    assert not np.array_equal(draft.frame, target.frame)


@pytest.mark.parametrize("nothing", [None, True, "yes", {"warrant_id": "1"}])
def test_without_a_warrant_nothing_is_even_looked_at(gates, picture, spy, nothing: object) -> None:
    class Untouchable:
        def analyse(self, frame: object) -> list[Face]:
            raise RuntimeError("looked at a picture without a warrant")

    source, target = picture("persona1_0"), picture("persona2_0")
    with pytest.raises(WarrantInvalid) as caught:
        swap(source, target, warrant=nothing, analyser=Untouchable(), gates=gates, swapper=spy)
    assert caught.value.code == "WARRANT-REQUIRED"
    assert spy.tasks == []


def test_warrant_for_other_pictures_is_refused(picture, permit, analyser, gates, spy) -> None:
    source, target, other = (picture(f"persona{n}_0") for n in (1, 2, 3))
    warrant = permit(source, target)
    for pair in ((other, target), (source, other), (target, source)):
        with pytest.raises(WarrantInvalid) as caught:
            swap(*pair, warrant=warrant, analyser=analyser, gates=gates, swapper=spy)
        assert caught.value.code == "WARRANT-OTHER-INPUT"
    assert spy.tasks == []


def test_same_pixels_in_another_file_are_another_picture(
    picture, permit, analyser, gates, spy
) -> None:
    source, target = picture("persona1_0"), picture("persona2_0")
    again = decode(encode(target.frame, "image/png"))
    assert np.array_equal(again.frame, target.frame)
    with pytest.raises(WarrantInvalid) as caught:
        swap(
            source,
            again,
            warrant=permit(source, target),
            analyser=analyser,
            gates=gates,
            swapper=spy,
        )
    assert caught.value.code == "WARRANT-OTHER-INPUT"


def test_expired_warrant_is_refused(picture, permit, analyser, gates, spy, office) -> None:
    source, target = picture("persona1_0"), picture("persona2_0")
    warrant = permit(source, target)
    office.clock.now += 10_000
    with pytest.raises(WarrantInvalid):
        swap(source, target, warrant=warrant, analyser=analyser, gates=gates, swapper=spy)
    assert spy.tasks == []


@pytest.mark.parametrize("role", ["source_identity", "target_body"])
def test_face_not_where_the_warrant_puts_it_is_refused(
    picture, permit, analyser, gates, spy, role: str
) -> None:
    source, target = picture("persona1_0"), picture("persona2_0")
    warrant = permit(source, target, **{role: (0, 0, 60, 60)})
    with pytest.raises(NoFace) as caught:
        swap(source, target, warrant=warrant, analyser=analyser, gates=gates, swapper=spy)
    assert caught.value.code == "NO-FACE"
    assert spy.tasks == []


def test_face_nobody_consented_for_is_refused(picture, permit, analyser, gates, spy) -> None:
    source = picture("persona1_0")
    couple = np.concatenate([picture("persona2_0").frame, picture("persona3_0").frame], axis=1)
    target = decode(encode(couple, "image/png"))
    assert len(analyser.analyse(target.frame)) == 2
    with pytest.raises(UnnamedFace) as caught:
        swap(
            source,
            target,
            warrant=permit(source, target),
            analyser=analyser,
            gates=gates,
            swapper=spy,
        )
    assert caught.value.code == "UNNAMED-FACE"
    assert spy.tasks == []


def test_named_bystander_is_let_stand_unchanged(picture, analyser, gates, office, enrol) -> None:
    source = picture("persona1_0")
    couple = np.concatenate([picture("persona2_0").frame, picture("persona3_0").frame], axis=1)
    target = decode(encode(couple, "image/png"))
    boxes = [box_of(analyser, target, number) for number in (0, 1)]
    left = min(boxes, key=lambda box: box[0])
    right = max(boxes, key=lambda box: box[0])
    roles = ("source_identity", "target_body", "bystander")
    numbers = [boxes.index(left), boxes.index(right)]
    shown = [(source, 0), *((target, number) for number in numbers)]
    request = office.request(
        [(enrol(*face), role) for face, role in zip(shown, roles, strict=True)],
        source_sha256=source.sha256,
        target_sha256=target.sha256,
    )
    places = dict(zip(roles, (box_of(analyser, source), left, right), strict=True))
    identity = analyser.models[analyser.id_model]
    measured = office.measured(
        request,
        boxes=places,
        models={**analyser.models, **gates.models},
        identity_model_sha256=identity,
    )
    warrant = office.desk.start(office.desk.admit(request, measured))
    geo = open_swapper("geo")
    draft = swap(source, target, warrant=warrant, analyser=analyser, gates=gates, swapper=geo)
    changed = (draft.frame != target.frame).any(2)
    assert changed[:, :512].any()
    assert not changed[:, 512:].any()
    assert len(draft.faces) == 2


def test_one_box_does_not_name_two_faces(picture, permit, analyser, gates, spy) -> None:
    source, target = picture("persona1_0"), picture("persona2_0")

    class Doubling:
        models, id_model, thresholds = analyser.models, analyser.id_model, analyser.thresholds

        def locate(self, frame: np.ndarray) -> list[FaceBox]:
            return [face.box for face in self.analyse(frame)]

        def analyse(self, frame: np.ndarray) -> list[Face]:
            (face,) = analyser.analyse(frame)
            twin = replace(face, box=tuple(v + 4.0 for v in face.box))
            return [face, twin] if frame is target.frame else [face]

    with pytest.raises(ManyFaces) as caught:
        swap(
            source,
            target,
            warrant=permit(source, target),
            analyser=Doubling(),
            gates=gates,
            swapper=spy,
        )
    assert caught.value.code == "MANY-FACES"


def test_model_the_warrant_does_not_name_is_refused(picture, permit, analyser, gates, spy) -> None:
    source, target = picture("persona1_0"), picture("persona2_0")
    for models in ({"spy-net": "1" * 64}, {"other-net": "0" * 64}):
        spy.models = models
        with pytest.raises(WarrantInvalid) as caught:
            swap(
                source,
                target,
                warrant=permit(source, target),
                analyser=analyser,
                gates=gates,
                swapper=spy,
            )
        assert caught.value.code == "WARRANT-OTHER-MODEL"
        assert not spy.tasks


@pytest.mark.parametrize("role", ["source_identity", "target_body"])
def test_measurement_that_was_made_up_swaps_nobody(
    picture, permit, enrol, analyser, gates, spy, role: str
) -> None:
    """A warrant issued on a forged 'match' names a consent whose person is not shown."""
    source, target = picture("persona1_0"), picture("persona2_0")
    warrant = permit(source, target, people={role: enrol(picture("persona4_0"))})
    with pytest.raises(OtherPerson) as caught:
        swap(source, target, warrant=warrant, analyser=analyser, gates=gates, swapper=spy)
    assert caught.value.code == "OTHER-PERSON"
    assert not spy.tasks


def test_consent_without_its_template_swaps_nobody(
    picture, permit, office, analyser, gates, spy
) -> None:
    source, target = picture("persona1_0"), picture("persona2_0")
    warrant = permit(source, target)

    record = warrant.document.people[0].record_id
    with office.database.transaction() as connection:
        connection.exec_driver_sql("delete from template where record_id = ?", (record,))
    with pytest.raises(OtherPerson):
        swap(source, target, warrant=warrant, analyser=analyser, gates=gates, swapper=spy)
    assert not spy.tasks


@pytest.mark.parametrize("fault", ["pixels", "size"])
def test_swapper_that_breaks_its_word_is_refused(
    picture, permit, analyser, gates, fault: str
) -> None:
    class Liar(Spy):
        def render(self, task: SwapTask) -> Rendering:
            frame, mask = 255 - task.target.frame, np.zeros(task.target.frame.shape[:2], np.float32)
            return Rendering(frame if fault == "pixels" else frame[:-2], mask)

    source, target = picture("persona1_0"), picture("persona2_0")
    with pytest.raises(SwapRefused) as caught:
        swap(
            source,
            target,
            warrant=permit(source, target),
            analyser=analyser,
            gates=gates,
            swapper=Liar(),
        )
    assert caught.value.code == "SWAP-REFUSED"


def test_role_without_exactly_one_person_is_refused(picture, permit, analyser) -> None:
    source, target = picture("persona1_0"), picture("persona2_0")
    with pytest.raises(NoFace):
        pick_face(analyser.analyse(source.frame), permit(source, target), "bystander")


def test_picture_without_a_face_is_refused(picture, active_warrant, analyser, gates, spy) -> None:
    source = picture("persona1_0")
    grey = decode(encode(np.full((300, 300, 3), 128, np.uint8), "image/png"))
    boxes = {"source_identity": box_of(analyser, source), "target_body": (10, 10, 200, 200)}
    models = {**analyser.models, **gates.models, **Spy.models}
    warrant = active_warrant(source.sha256, grey.sha256, boxes=boxes, models=models)
    with pytest.raises(NoFace):
        swap(source, grey, warrant=warrant, analyser=analyser, gates=gates, swapper=spy)


# ---------------------------------------------------------------------------------------- gates


@pytest.mark.parametrize("nothing", [None, True, "gates"])
def test_without_gates_nothing_is_even_looked_at(
    picture, permit, analyser, spy, nothing: object
) -> None:
    source, target = picture("persona1_0"), picture("persona2_0")
    warrant = permit(source, target)
    with pytest.raises(GatesMissing) as caught:
        swap(source, target, warrant=warrant, analyser=None, gates=nothing, swapper=spy)
    assert caught.value.code == "GATES-REQUIRED"
    assert spy.tasks == []


def test_gates_that_always_agree_are_no_gates(picture, permit, analyser, spy) -> None:
    class Agreeable:
        models = MappingProxyType({})

        def look_nudity(self, frame: np.ndarray) -> str:
            return "clear"

        def ask_registry(self, vector: np.ndarray, *, analyser: FaceAnalyser) -> str:
            return "clear"

    source, target = picture("persona1_0"), picture("persona2_0")
    warrant = permit(source, target)
    with pytest.raises(GatesMissing):
        swap(source, target, warrant=warrant, analyser=analyser, gates=Agreeable(), swapper=spy)


def test_gates_the_warrant_does_not_name_are_refused(
    picture, active_warrant, analyser, gates, spy
) -> None:
    source, target = picture("persona1_0"), picture("persona2_0")
    boxes = {
        "source_identity": box_of(analyser, source),
        "target_body": box_of(analyser, target),
    }
    models = {**analyser.models, **Spy.models}
    warrant = active_warrant(source.sha256, target.sha256, boxes=boxes, models=models)
    with pytest.raises(WarrantInvalid) as caught:
        swap(source, target, warrant=warrant, analyser=analyser, gates=gates, swapper=spy)
    assert caught.value.code == "WARRANT-OTHER-MODEL"


@pytest.mark.parametrize(
    "answer", ["review", "found", MeasurementFailed("no answer"), RuntimeError()], ids=repr
)
def test_nudity_in_the_output_alone_releases_nothing(
    picture, permit, analyser, told_gates, spy, answer: object
) -> None:
    """T6: both inputs are clear, what was made of them is not."""
    source, target = picture("persona1_0"), picture("persona2_0")
    inputs = (source.frame, target.frame)
    gates = told_gates(
        nudity=lambda frame: "clear" if any(frame is known for known in inputs) else answer
    )
    assert gates.look_nudity(target.frame) == "clear"
    with pytest.raises(OutputRefused) as caught:
        swap(
            source,
            target,
            warrant=permit(source, target),
            analyser=analyser,
            gates=gates,
            swapper=spy,
        )
    assert caught.value.code == "OUTPUT-NUDITY"
    assert len(spy.tasks) == 1


def opt_out(optouts: OptOutBook, analyser: FaceAnalyser, picture: Picture, **changes: str) -> str:
    [face] = analyser.analyse(picture.frame)
    named = {
        "model_sha256": analyser.models[analyser.id_model],
        "pid": "ps_" + "z" * 26,
    } | changes
    return optouts.add(pack_template(face.id_vector), **named)


@pytest.mark.parametrize("who", ["persona1_0", "persona2_0", "persona2_1"])
def test_an_opt_out_after_the_decision_stops_the_swap(
    picture, permit, analyser, gates, spy, optouts, who: str
) -> None:
    source, target = picture("persona1_0"), picture("persona2_0")
    warrant = permit(source, target)
    entry_id = opt_out(optouts, analyser, picture(who))
    with pytest.raises(OptedOut) as caught:
        swap(source, target, warrant=warrant, analyser=analyser, gates=gates, swapper=spy)
    assert caught.value.code == "OPTED-OUT"
    assert spy.tasks == []
    # T26: who it is, how near and whether surely is nobody's business.
    assert entry_id not in caught.value.diagnostics()
    assert not any(character.isdigit() for character in caught.value.diagnostics())


def test_a_list_that_cannot_be_asked_stops_the_swap(
    picture, permit, analyser, gates, spy, optouts
) -> None:
    source, target = picture("persona1_0"), picture("persona2_0")
    warrant = permit(source, target)
    opt_out(optouts, analyser, picture("persona6_0"), model_sha256="0" * 64)
    with pytest.raises(RegistryUnavailable) as caught:
        swap(source, target, warrant=warrant, analyser=analyser, gates=gates, swapper=spy)
    assert caught.value.code == "REGISTRY-UNAVAILABLE"
    assert spy.tasks == []


# ------------------------------------------------------------------------------------- blurring


@pytest.fixture
def couple(picture: Callable[[str], Picture]) -> Picture:
    """Two people in one picture, the left one is persona 2."""
    frames = [picture(name).frame for name in ("persona2_0", "persona3_0")]
    return decode(encode(np.concatenate(frames, axis=1), "image/png"))


def places(analyser: FaceAnalyser, picture: Picture) -> list[Box]:
    """Boxes of the faces, from left to right."""
    return sorted(box_of(analyser, picture, n) for n in range(len(analyser.analyse(picture.frame))))


@pytest.fixture
def permit_blurring(office, enrol, gates: Gates, analyser: FaceAnalyser, picture):
    """`permit_blurring(source, target, left, *blurred)`: the left face is named, others blurred."""

    def make(source: Picture, target: Picture, left: Box, *blurred: Box) -> ActiveWarrant:
        people = [
            (enrol(source), "source_identity"),
            (enrol(picture("persona2_0")), "target_body"),
        ]
        request = office.request(
            people, source_sha256=source.sha256, target_sha256=target.sha256, bystanders="blur"
        )
        measured = office.measured(
            request,
            boxes={"source_identity": box_of(analyser, source), "target_body": left},
            target_faces=1 + len(blurred),
            blurred=blurred,
            models={**analyser.models, **gates.models, **Spy.models},
            identity_model_sha256=analyser.models[analyser.id_model],
        )
        return office.desk.start(office.desk.admit(request, measured))

    return make


def test_a_stranger_is_blurred_and_nothing_else_is_touched(
    picture, couple, permit_blurring, analyser, gates, spy
) -> None:
    """T7: two faces, one consent. The spy changes nothing, so every change is the blurring."""
    source = picture("persona1_0")
    left, right = places(analyser, couple)
    warrant = permit_blurring(source, couple, left, right)
    draft = swap(source, couple, warrant=warrant, analyser=analyser, gates=gates, swapper=spy)
    assert np.array_equal(draft.frame, blur_faces(couple.frame, [right]))
    x0, y0, x1, y1 = head_region(right, couple.frame.shape)
    changed = (draft.frame != couple.frame).any(2)
    assert changed[y0:y1, x0:x1].mean() > 0.9
    changed[y0:y1, x0:x1] = False
    assert not changed.any()
    [seen] = analyser.analyse(draft.frame)
    assert seen.box[2] < 512
    assert len(draft.faces) == 2


def test_a_stranger_the_warrant_does_not_blur_refuses_the_swap(
    picture, couple, permit_blurring, analyser, gates, spy
) -> None:
    source = picture("persona1_0")
    left, right = places(analyser, couple)
    for blurred in ((), ((600, 0, 660, 60),), (tuple(v + 200 for v in right),)):
        warrant = permit_blurring(source, couple, left, *blurred)
        with pytest.raises(UnnamedFace):
            swap(source, couple, warrant=warrant, analyser=analyser, gates=gates, swapper=spy)
    assert spy.tasks == []


def test_one_blurred_box_does_not_answer_for_two_faces(
    picture, couple, permit_blurring, analyser, gates, spy
) -> None:
    source = picture("persona1_0")
    left, right = places(analyser, couple)

    class Doubling:
        models, id_model, thresholds = analyser.models, analyser.id_model, analyser.thresholds
        analyse = staticmethod(analyser.analyse)

        def locate(self, frame: np.ndarray) -> list[FaceBox]:
            return [*analyser.locate(frame), right]

    warrant = permit_blurring(source, couple, left, right)
    with pytest.raises(UnnamedFace):
        swap(source, couple, warrant=warrant, analyser=Doubling(), gates=gates, swapper=spy)


def test_a_face_that_is_only_located_is_a_face(picture, permit, analyser, gates, spy) -> None:
    """Too covered to be measured, and still somebody whom nobody asked."""
    source, target = picture("persona1_0"), picture("persona2_0")

    class Sharp:
        models, id_model, thresholds = analyser.models, analyser.id_model, analyser.thresholds
        analyse = staticmethod(analyser.analyse)

        def locate(self, frame: np.ndarray) -> list[FaceBox]:
            return [*analyser.locate(frame), (0.0, 0.0, 40.0, 40.0)]

    with pytest.raises(UnnamedFace):
        swap(
            source,
            target,
            warrant=permit(source, target),
            analyser=Sharp(),
            gates=gates,
            swapper=spy,
        )


def test_a_blurred_box_over_a_named_face_is_refused(
    picture, couple, permit_blurring, analyser, gates, spy
) -> None:
    source = picture("persona1_0")
    left, right = places(analyser, couple)
    over = (left[2] - 4, left[1], right[2], right[3])
    warrant = permit_blurring(source, couple, left, right, over)
    with pytest.raises(SwapRefused) as caught:
        swap(source, couple, warrant=warrant, analyser=analyser, gates=gates, swapper=spy)
    assert caught.value.code == "SWAP-REFUSED"
    assert spy.tasks == []
    require_apart(permit_blurring(source, couple, left, right))


def test_a_blurred_box_outside_the_picture_is_refused(
    picture, permit, permit_blurring, analyser, gates, spy
) -> None:
    source, target = picture("persona1_0"), picture("persona2_0")
    [only] = places(analyser, target)
    warrant = permit_blurring(source, target, only, (5000, 0, 5100, 100))
    with pytest.raises(ShapeError):
        swap(source, target, warrant=warrant, analyser=analyser, gates=gates, swapper=spy)


def test_measured_decided_and_swapped_with_a_stranger_blurred(
    picture, couple, office, enrol, analyser, optouts
) -> None:
    """The whole way with the shipped gates: measure, decide, swap; the stranger is gone."""
    source, gates, geo = picture("persona1_0"), open_gates(optouts), open_swapper("geo")
    people = [(enrol(source), "source_identity"), (enrol(picture("persona2_0")), "target_body")]
    request = office.request(
        people, source_sha256=source.sha256, target_sha256=couple.sha256, bystanders="blur"
    )
    measured = measure(request, source, couple, book=office.book, analyser=analyser, gates=gates)
    warrant = office.desk.start(office.desk.admit(request, measured))
    draft = swap(source, couple, warrant=warrant, analyser=analyser, gates=gates, swapper=geo)
    [seen] = analyser.analyse(draft.frame)
    assert seen.box[2] < 512
    assert gates.look_nudity(draft.frame) == "clear"
    changed = (draft.frame != couple.frame).any(2)
    assert changed[:, :512].any()
    x0, y0, x1, y1 = head_region(measured.blurred[0], couple.frame.shape)
    changed[y0:y1, x0:x1] = False
    assert not changed[:, 512:].any()
