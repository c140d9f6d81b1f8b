"""geo on rendered people: deterministic, within its mask, towards the source, honest on range."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from generator import laying
from generator.faces import Face, FaceAnalyser, open_analyser
from generator.geometric import GeometricSwapper
from generator.irises import tint_irises
from generator.laying import MAX_SOURCE_YAW_DEG, MAX_YAW_GAP_DEG, require_range
from generator.swapper import OutOfRange, Rendering, SwapTask
from generator.topology import draw_outlines
from generator.view import MIN_FACE_SIDE_PX, unit_of, view_face
from policies.warrants import WarrantInvalid
from provenance.media import Picture, decode, encode

Render = Callable[..., Rendering]


@pytest.fixture(scope="module")
def analyser() -> FaceAnalyser:
    return open_analyser()


@pytest.fixture
def picture(demo_picture: Callable[[str], bytes]) -> Callable[[str], Picture]:
    return lambda name: decode(demo_picture(name))


@pytest.fixture
def face_of(analyser: FaceAnalyser) -> Callable[[Picture], Face]:
    return lambda picture: analyser.analyse(picture.frame)[0]


@pytest.fixture
def task(active_warrant, face_of) -> Callable[[Picture, Picture], SwapTask]:
    def make(source: Picture, target: Picture) -> SwapTask:
        faces = face_of(source), face_of(target)
        boxes = {
            role: tuple(round(v) for v in face.box)
            for role, face in zip(("source_identity", "target_body"), faces, strict=True)
        }
        warrant = active_warrant(source.sha256, target.sha256, boxes=boxes)
        return SwapTask(
            warrant, source=source, target=target, source_face=faces[0], target_face=faces[1]
        )

    return make


@pytest.fixture
def render(task, picture) -> Render:
    def make(source: str, target: str, **options: float) -> Rendering:
        return GeometricSwapper(**options).render(task(picture(source), picture(target)))

    return make


def as_picture(frame: np.ndarray) -> Picture:
    return decode(encode(np.ascontiguousarray(frame), "image/png"))


def test_result_is_the_target_outside_its_mask(render, picture) -> None:
    out, target = render("persona3_0", "persona4_1"), picture("persona4_1").frame
    assert out.frame.dtype == np.uint8
    assert out.frame.shape == target.shape
    assert out.mask.shape == target.shape[:2]
    assert out.mask.min() == 0
    assert 0.99 < out.mask.max() <= 1
    assert np.array_equal(out.frame[out.mask == 0], target[out.mask == 0])
    inside = out.mask > 0.9
    assert np.abs(out.frame[inside].astype(int) - target[inside]).mean() > 4


def test_mask_stays_within_the_face_and_frame(render, picture, face_of) -> None:
    out, face = render("persona1_0", "persona4_0"), face_of(picture("persona4_0"))
    y, x = np.nonzero(out.mask)
    # Points beside the oval are moved too, and may pass it by a twentieth of the eye distance.
    slack = 0.05 * unit_of(face.mesh)
    assert x.min() >= face.mesh[:, 0].min() - slack
    assert x.max() <= face.mesh[:, 0].max() + slack
    assert y.min() >= face.mesh[:, 1].min() - slack
    assert y.max() <= face.mesh[:, 1].max() + slack
    assert not out.mask[[0, -1]].any()
    assert not out.mask[:, [0, -1]].any()


def test_same_inputs_give_the_same_pixels(task, picture) -> None:
    job = task(picture("persona1_0"), picture("persona3_1"))
    first, second = (GeometricSwapper().render(job) for _ in range(2))
    assert np.array_equal(first.frame, second.frame)
    assert np.array_equal(first.mask, second.mask)


def test_inputs_are_not_written_to(task, picture) -> None:
    source, target = picture("persona1_0"), picture("persona2_0")
    before = source.frame.copy(), target.frame.copy()
    job = task(source, target)
    mesh = job.target_face.mesh.copy()
    GeometricSwapper().render(job)
    assert np.array_equal(before[0], source.frame)
    assert np.array_equal(before[1], target.frame)
    assert np.array_equal(mesh, job.target_face.mesh)


@pytest.mark.parametrize("name", ["persona1_0", "persona3_1", "persona4_2"])
def test_swap_onto_oneself_changes_almost_nothing(render, picture, name: str) -> None:
    out, own = render(name, name), picture(name).frame
    change = np.abs(out.frame.astype(int) - own)[out.mask > 0.5]
    # Measured on five pictures: .23 to .75 levels on average, resampling and colour rounding.
    assert change.mean() < 1.2


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("persona1_0", "persona2_0"),
        ("persona2_0", "persona1_0"),
        ("persona3_0", "persona4_0"),
        ("persona4_0", "persona2_0"),
        ("persona5_0", "persona1_0"),
        ("persona6_0", "persona5_0"),
    ],
)
def test_identity_moves_towards_the_source(
    render, picture, analyser, face_of, source: str, target: str
) -> None:
    out = analyser.analyse(render(source, target).frame)[0].id_vector
    theirs, own = (face_of(picture(name)).id_vector for name in (source, target))
    start = float(np.linalg.norm(own - theirs))
    assert np.linalg.norm(out - theirs) < start - 0.05
    assert np.linalg.norm(out - own) > 0.25


def test_more_shape_moves_more_pixels(render) -> None:
    none, all_ = (render("persona2_0", "persona3_0", shape_blend=s).frame for s in (0.0, 1.0))
    assert np.abs(none.astype(int) - all_).mean() > 0.1


def test_version_names_the_shape_blend() -> None:
    assert GeometricSwapper(shape_blend=0.25).version != GeometricSwapper().version
    assert "0.25" in GeometricSwapper(shape_blend=0.25).version


@pytest.mark.parametrize("amount", [-0.1, 1.01, float("nan")])
def test_shape_blend_outside_its_range_is_refused(amount: float) -> None:
    with pytest.raises(OutOfRange):
        GeometricSwapper(shape_blend=amount)


def test_eyes_and_open_mouth_stay_the_targets(render, picture, face_of) -> None:
    target = picture("persona4_2")
    lines = draw_outlines(face_of(target).mesh)
    out = render("persona3_2", "persona4_2", shape_blend=0.0)
    x, y = lines.mouth.mean(0).astype(int)
    patch = np.s_[y - 2 : y + 3, x - 6 : x + 7]
    assert np.abs(out.frame[patch].astype(int) - target.frame[patch]).max() <= 3
    white = lines.eyes[0][[0, 1, 15]].mean(0) * 0.7 + lines.eyes[0].mean(0) * 0.3
    x, y = white.astype(int)
    assert np.abs(out.frame[y, x].astype(int) - target.frame[y, x]).max() <= 12


def test_hair_in_front_of_the_target_stays(render, picture) -> None:
    out, target = render("persona1_0", "persona7_0"), picture("persona7_0").frame
    fringe = np.s_[150:200, 160:230]
    assert np.array_equal(out.frame[fringe], target[fringe])
    assert out.mask[330, 250] > 0.9, "the bare cheek below is swapped"


def test_render_asks_for_the_warrant_again(task, picture, office) -> None:
    job = task(picture("persona1_0"), picture("persona2_0"))
    office.clock.now += 10_000
    with pytest.raises(WarrantInvalid):
        GeometricSwapper().render(job)


@pytest.mark.parametrize(
    ("source_yaw", "target_yaw", "measured", "limit"),
    [
        (-35.0, 30.0, 65.0, MAX_YAW_GAP_DEG),
        (45.0, 20.0, 45.0, MAX_SOURCE_YAW_DEG),
        (-45.0, -20.0, 45.0, MAX_SOURCE_YAW_DEG),
        (20.0, 75.0, 75.0, laying.MAX_TARGET_YAW_DEG),
    ],
)
def test_turned_heads_are_refused_with_their_numbers(
    picture, face_of, source_yaw: float, target_yaw: float, measured: float, limit: float
) -> None:
    face = face_of(picture("persona1_0"))
    source, target = (replace(face, pose=(yaw, 0.0, 0.0)) for yaw in (source_yaw, target_yaw))
    with pytest.raises(OutOfRange) as caught:
        require_range(source, target)
    assert caught.value.code == "SWAP-OUT-OF-RANGE"
    assert caught.value.measured == pytest.approx(measured)
    assert caught.value.limit == limit


@pytest.mark.parametrize("whose", ["source", "target"])
def test_small_faces_are_refused(picture, face_of, whose: str) -> None:
    face = face_of(picture("persona1_0"))
    small = replace(face, box=(10.0, 10.0, 73.0, 90.0))
    pair = (small, face) if whose == "source" else (face, small)
    with pytest.raises(OutOfRange) as caught:
        require_range(*pair)
    assert whose in caught.value.message
    assert (caught.value.measured, caught.value.limit) == (63.0, MIN_FACE_SIDE_PX)


def test_shut_source_eyes_are_refused_and_shut_target_eyes_are_not(picture, face_of) -> None:
    face = face_of(picture("persona1_0"))
    mesh = face.mesh.copy()
    mesh[159] = mesh[145] + [0, 2, 0]
    shut = replace(face, mesh=mesh.astype(np.float32))
    with pytest.raises(OutOfRange) as caught:
        require_range(shut, face)
    assert "lid" in caught.value.message
    require_range(face, shut)


@pytest.mark.parametrize("source", ["persona7_0", "persona8_0"])
def test_source_with_an_eye_under_hair_is_refused(render, source: str) -> None:
    with pytest.raises(OutOfRange) as caught:
        render(source, "persona2_0")
    assert "eye" in caught.value.message or "lid" in caught.value.message


def test_target_covered_too_much_is_refused(render) -> None:
    with pytest.raises(OutOfRange) as caught:
        render("persona1_0", "persona8_0")
    assert "covered" in caught.value.message
    assert caught.value.measured > caught.value.limit


def test_source_that_shows_too_little_is_refused(task, picture, monkeypatch) -> None:
    monkeypatch.setattr(laying, "MIN_LENT_SHARE", 0.999)
    with pytest.raises(OutOfRange) as caught:
        GeometricSwapper().render(task(picture("persona2_1"), picture("persona1_2")))
    assert "source shows" in caught.value.message


@pytest.mark.parametrize("cut", [np.s_[90:430, 110:440], np.s_[140:, :], np.s_[:, 140:]])
def test_faces_at_the_border_do_not_crash_and_stay_in_the_frame(
    task, picture, cut: tuple[slice, slice]
) -> None:
    source = picture("persona1_0")
    target = as_picture(picture("persona2_0").frame[cut])
    for pair in ((source, target), (target, source)):
        job = task(*pair)
        out = GeometricSwapper().render(job)
        assert out.frame.shape == job.target.frame.shape
        kept = out.mask == 0
        assert np.array_equal(out.frame[kept], job.target.frame[kept])


def test_face_outside_the_frame_is_refused(picture, face_of) -> None:
    target = picture("persona2_0")
    face = face_of(target)
    gone = replace(face, mesh=face.mesh + np.float32([600, 0, 0]))
    with pytest.raises(OutOfRange) as caught:
        view_face(target.frame, gone, 1.0)
    assert "inside the picture" in caught.value.message


def test_large_source_is_shrunk_before_it_is_warped(picture, face_of) -> None:
    source = picture("persona1_0")
    view = view_face(source.frame, face_of(source), 0.4)
    whole = view_face(source.frame, face_of(source), 1.0)
    assert view.shape[1] == pytest.approx(0.4 * whole.shape[1], abs=1)
    assert view.unit == pytest.approx(0.4 * whole.unit, rel=0.02)
    assert np.abs(view.mesh[:, :2] * 2.5 - whole.mesh[:, :2]).max() < 2.5


def test_sizes_need_not_agree(task, picture) -> None:
    small = picture("persona3_0").frame[::2, ::2]
    large = np.repeat(np.repeat(picture("persona4_0").frame, 2, 0), 2, 1)
    for pair in ((as_picture(small), as_picture(large)), (as_picture(large), as_picture(small))):
        out = GeometricSwapper().render(task(*pair))
        assert 0.99 < out.mask.max() <= 1


def test_irises_too_small_or_shut_are_not_tinted(picture, face_of) -> None:
    target, source = (
        view_face(p.frame, face_of(p), 1.0) for p in (picture("persona2_0"), picture("persona4_0"))
    )
    tinted = tint_irises(target, source)
    assert not np.array_equal(tinted, target.lab)
    pinned = replace(source, iris=np.repeat(source.iris[:, :1], 5, axis=1))
    assert np.array_equal(tint_irises(target, pinned), target.lab)
    mesh = target.mesh.copy()
    mesh[[159, 386]] = mesh[[145, 374]]
    shut = replace(target, mesh=mesh)
    assert np.array_equal(tint_irises(shut, source), target.lab)
