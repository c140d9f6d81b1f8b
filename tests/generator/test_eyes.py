"""ERRS on drawn eyes: what the target's corneas mirror is put back, nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator import fit
from generator.errors import ShapeError
from generator.eyes import MAX_SHIFT, EyeReflections, Light, light_of
from generator.faces import open_analyser
from generator.laying import Layers, lay_out
from generator.ledger_pair import LedgerPair
from generator.topology import LEFT_EYE, RIGHT_EYE, draw_outlines, load_topology
from provenance.data_ledger import DataLedger, rendered_row

Image = npt.NDArray[np.float32]
Spots = tuple[Sequence[tuple[float, float]], Sequence[tuple[float, float]]]

ERRS = EyeReflections()
UNIT, SHAPE = 130.0, (420, 330)
RADIUS = 12.0
FINE = 4
SPOT = ((0.3, -0.25),), ((0.3, -0.25),)
NOWHERE: Spots = ((), ())
BROWN, BLUE = (40.0, 60.0, 90.0), (140.0, 90.0, 50.0)
WHITE = (240.0, 240.0, 240.0)


@dataclass(frozen=True)
class Look:
    """A drawn pair of eyes: catchlights in iris radii from the iris centre, and colours (BGR)."""

    spots: Spots = SPOT
    size: float = 0.16
    iris: tuple[float, float, float] = BROWN
    light: tuple[float, float, float] = WHITE


def make_mesh(shift: tuple[float, float] = (0, 0), scale: float = 1.0, turn: float = 0.0):
    """Return the neutral face in the window, its eyes moved, scaled and turned (degrees)."""
    mesh = load_topology().neutral * UNIT + [165.0, 130.0, 0.0]
    angle = np.radians(turn)
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for ring in (RIGHT_EYE, LEFT_EYE):
        points = mesh[list(ring), :2]
        middle = points.mean(0)
        mesh[list(ring), :2] = (points - middle) @ matrix.T + middle + shift
    return mesh


def make_irises(mesh, radius: float = RADIUS):
    """Return irises (2, 5, 2) in the middle of both eyes."""
    rim = radius * np.array([[0, 0], [1, 0], [0, -1], [-1, 0], [0, 1]])
    return np.stack([mesh[list(ring), :2].mean(0) + rim for ring in (RIGHT_EYE, LEFT_EYE)])


def draw(mesh, look: Look = Look(), radius: float = RADIUS, turn: float = 0.0) -> Image:
    """Return a face window with two eyes, BGR float32; `turn`: of the eyes, degrees."""
    out = np.full((*SHAPE, 3), (150.0, 170.0, 200.0), np.float32)
    angle = np.radians(turn)
    spin = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for side, ring in enumerate((RIGHT_EYE, LEFT_EYE)):
        points = mesh[list(ring), :2]
        x0, y0 = np.maximum(points.min(0).astype(int) - 2, 0)
        part = out[y0 : y0 + 40, x0 : x0 + 80]
        height, width = (side * FINE for side in part.shape[:2])
        big = np.full((height, width, 3), out[0, 0], np.float32)
        y, x = (np.indices((height, width)) + 0.5) / FINE - 0.5
        lids, local = np.zeros((height, width), np.uint8), points - [x0, y0]
        cv2.fillPoly(lids, [np.round((local + 0.5) * FINE - 0.5).astype(np.int32)], 1)
        centre, opening = local.mean(0), lids > 0
        away = np.hypot(x - centre[0], y - centre[1]) / radius
        big[opening] = (205.0, 208.0, 210.0)
        big[opening & (away < 1)] = look.iris
        big[opening & (away < 0.4)] = (15.0, 15.0, 18.0)
        for spot in look.spots[side]:
            a, b = centre + radius * spin @ np.array(spot)
            near = np.hypot(x - a, y - b) < look.size * radius
            big[opening & near & (away < 1)] = look.light
        part[:] = cv2.resize(big, part.shape[1::-1], interpolation=cv2.INTER_AREA)
    return out


def make_layers(target: Image, own=None, mesh=None, **fields: object) -> Layers:
    own = make_mesh() if own is None else own
    made = Layers(
        target=target,
        pulled=target,
        warped=target,
        composite=target,
        mask=np.ones(target.shape[:2], np.float32),
        cover=np.zeros(target.shape[:2], np.float32),
        mesh=own if mesh is None else mesh,
        own_mesh=own,
        iris=make_irises(own),
        unit=UNIT,
        origin=(0, 0),
    )
    return replace(made, **fields)


def seen_spot(picture: Image, mesh, side: int, radius: float = RADIUS, level: float = 40.0):
    """Return the centre of what is white inside an iris, in its radii, its peak, or None."""
    ring = mesh[list((RIGHT_EYE, LEFT_EYE)[side]), :2]
    lids = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(lids, [np.round(ring).astype(np.int32)], 1)
    y, x = np.indices(lids.shape)
    centre = ring.mean(0)
    inside = (lids > 0) & (np.hypot(x - centre[0], y - centre[1]) < 0.85 * radius)
    inside &= cv2.erode(lids, np.ones((3, 3), np.uint8)) > 0
    light = np.where(inside, np.maximum(picture.min(2) - 80.0, 0.0), 0.0)
    if light.max() < level:
        return None
    light[light < light.max() / 2] = 0.0
    place = np.array([(light * x).sum(), (light * y).sum()]) / light.sum()
    return (place - centre) / radius, float(light.max())


def assert_spots(picture: Image, mesh, wanted: Spots, within: float = 0.15, **size: float) -> None:
    for side in (0, 1):
        seen = seen_spot(picture, mesh, side, **size)
        if not wanted[side]:
            assert seen is None
            continue
        assert seen is not None
        assert np.linalg.norm(seen[0] - np.mean(wanted[side], 0)) < within


def test_it_speaks_the_vocabulary_of_a_finishing_step() -> None:
    assert (ERRS.name, ERRS.version, dict(ERRS.models)) == ("errs", "1", {})


@pytest.mark.parametrize("look", [Look(), Look(NOWHERE), Look(iris=BLUE), Look(size=0.1)])
def test_eyes_that_are_right_already_are_returned_as_they_are(look: Look) -> None:
    mesh = make_mesh((4, -3), 1.05)
    picture = draw(mesh, look, 1.05 * RADIUS)
    layers = make_layers(draw(make_mesh(), look), mesh=mesh)
    assert ERRS.apply(picture, layers) is picture


def test_none_is_invented() -> None:
    picture = draw(make_mesh(), Look(NOWHERE, iris=BLUE))
    assert ERRS.apply(picture, make_layers(draw(make_mesh(), Look(NOWHERE)))) is picture


def test_one_that_the_target_does_not_have_is_taken_away() -> None:
    picture = draw(make_mesh())
    out = ERRS.apply(picture, make_layers(draw(make_mesh(), Look(NOWHERE))))
    assert_spots(out, make_mesh(), NOWHERE)
    assert out is not picture


@pytest.mark.parametrize("iris", [BROWN, BLUE])
def test_an_erased_one_comes_back(iris: tuple[float, float, float]) -> None:
    layers = make_layers(draw(make_mesh()))
    out = ERRS.apply(draw(make_mesh(), Look(NOWHERE, iris=iris)), layers)
    assert_spots(out, make_mesh(), SPOT, within=0.05)
    seen = seen_spot(out, make_mesh(), 0)
    assert seen is not None
    assert seen[1] > 0.85 * (WHITE[0] - 80)


@pytest.mark.parametrize(
    ("shift", "scale", "turn"), [((9, -6), 1.0, 0.0), ((-5, 4), 1.15, 0.0), ((0, 3), 0.9, 12.0)]
)
def test_it_goes_where_the_eye_went(shift, scale: float, turn: float) -> None:
    mesh = make_mesh(shift, scale, turn)
    picture = draw(mesh, Look(NOWHERE), scale * RADIUS)
    out = ERRS.apply(picture, make_layers(draw(make_mesh()), mesh=mesh))
    expected = draw(mesh, Look(), scale * RADIUS, turn)
    for side in (0, 1):
        got, want = (seen_spot(each, mesh, side, scale * RADIUS) for each in (out, expected))
        assert got is not None
        assert want is not None
        assert np.linalg.norm(got[0] - want[0]) < 0.08


def test_a_moved_one_is_put_back_and_leaves_nothing_behind() -> None:
    wrong = draw(make_mesh(), Look((((-0.35, 0.1),), ((-0.35, 0.1),))))
    out = ERRS.apply(wrong, make_layers(draw(make_mesh())))
    assert_spots(out, make_mesh(), SPOT, within=0.1)


@pytest.mark.parametrize("sigma", [1.5, 3.0])
def test_a_blurred_one_is_sharp_again(sigma: float) -> None:
    target = draw(make_mesh())
    blurred = cv2.GaussianBlur(target, (0, 0), sigma)
    out = ERRS.apply(blurred, make_layers(target))
    for side in (0, 1):
        want, got = (seen_spot(each, make_mesh(), side) for each in (target, out))
        assert want is not None
        assert got is not None
        assert got[1] > 0.8 * want[1]
        assert np.linalg.norm(got[0] - want[0]) < 0.15


def test_one_that_took_the_colour_of_the_iris_is_white_again() -> None:
    tinted = draw(make_mesh(), Look(iris=BLUE, light=(250.0, 160.0, 40.0)))
    out = ERRS.apply(tinted, make_layers(draw(make_mesh())))
    assert_spots(out, make_mesh(), SPOT)


def test_each_eye_is_judged_for_itself() -> None:
    one = SPOT[0], ()
    picture = draw(make_mesh(), Look(NOWHERE))
    out = ERRS.apply(picture, make_layers(draw(make_mesh(), Look(one))))
    assert_spots(out, make_mesh(), one)
    half = SHAPE[1] // 2
    assert np.array_equal(out[:, half:], picture[:, half:])


def test_both_lamps_are_kept() -> None:
    two = ((-0.35, -0.25), (0.35, -0.25))
    look = Look((two, two), size=0.12)
    out = ERRS.apply(draw(make_mesh(), Look(NOWHERE)), make_layers(draw(make_mesh(), look)))
    want = draw(make_mesh(), look)
    bright = want.min(2) > 200
    bright &= draw(make_mesh(), Look(NOWHERE)).min(2) < 100
    assert bright.sum() > 10
    assert (out.min(2)[bright] > 150).all()


eyes = st.tuples(st.floats(0.0, 0.55), st.floats(-np.pi, 0.0)).map(
    lambda polar: (polar[0] * float(np.cos(polar[1])), 0.6 * polar[0] * float(np.sin(polar[1])))
)


@settings(max_examples=12, deadline=None)
@given(
    place=eyes,
    size=st.floats(0.12, 0.25),
    shift=st.tuples(st.floats(-8, 8), st.floats(-8, 8)),
    scale=st.floats(0.9, 1.15),
    iris=st.sampled_from([BROWN, BLUE, (60.0, 80.0, 70.0)]),
)
def test_any_erased_catchlight_comes_back_in_its_place(place, size, shift, scale, iris) -> None:
    look, mesh = Look(((place,), (place,)), size=size), make_mesh(shift, scale)
    picture = draw(mesh, Look(NOWHERE, iris=iris), scale * RADIUS)
    before, layers = picture.copy(), make_layers(draw(make_mesh(), look), mesh=mesh)
    out = ERRS.apply(picture, layers)
    assert np.array_equal(picture, before)
    assert np.array_equal(out, EyeReflections().apply(picture, layers))
    assert out.dtype == np.float32
    assert np.isfinite(out).all()
    assert (out.min(), out.max()) >= (0, 0)
    assert out.max() <= 255
    expected = draw(mesh, replace(look, iris=iris), scale * RADIUS)
    y, x = np.indices(SHAPE)
    far = np.ones(SHAPE, np.bool_)
    for side in (0, 1):
        got, want = (seen_spot(each, mesh, side, scale * RADIUS, 20.0) for each in (out, expected))
        assert got is not None
        assert want is not None
        assert np.linalg.norm(got[0] - want[0]) < 0.15
        centre = mesh[list((RIGHT_EYE, LEFT_EYE)[side]), :2].mean(0)
        far &= np.hypot(x - centre[0], y - centre[1]) > scale * RADIUS + 2
    assert np.array_equal(out[far], picture[far])


@pytest.mark.parametrize(
    "spots",
    [
        (((0.0, 0.58),), ((0.0, 0.58),)),  # the tear film on the lower lid
        (((0.93, 0.0),), ((-0.93, 0.0),)),  # the white of the eye
    ],
    ids=["tear-film", "white"],
)
def test_what_shines_beside_the_cornea_is_none(spots: Spots) -> None:
    picture = draw(make_mesh(), Look(NOWHERE))
    assert ERRS.apply(picture, make_layers(draw(make_mesh(), Look(spots)))) is picture


def test_a_light_patch_of_a_blue_iris_is_none() -> None:
    picture = draw(make_mesh(), Look(NOWHERE))
    layers = make_layers(draw(make_mesh(), Look(iris=BLUE, light=(220.0, 150.0, 95.0))))
    assert light_of(layers) is None
    assert ERRS.apply(picture, layers) is picture


def test_covered_eyes_are_left_alone() -> None:
    picture, covered = draw(make_mesh(), Look(NOWHERE)), np.ones(SHAPE, np.float32)
    assert ERRS.apply(picture, make_layers(draw(make_mesh()), cover=covered)) is picture
    half = np.zeros(SHAPE, np.float32)
    half[:, : SHAPE[1] // 2] = 1
    out = ERRS.apply(picture, make_layers(draw(make_mesh()), cover=half))
    assert_spots(out, make_mesh(), ((), SPOT[1]))


@pytest.mark.parametrize("which", ["own_mesh", "mesh"])
def test_shut_eyes_are_left_alone(which: str) -> None:
    shut = make_mesh()
    for ring in (RIGHT_EYE, LEFT_EYE):
        middle = shut[list(ring), 1].mean()
        shut[list(ring), 1] = middle + 0.15 * (shut[list(ring), 1] - middle)
    assert fit.measure_opening(shut, fit.RIGHT_LIDS) < 0.1
    picture = draw(make_mesh(), Look(NOWHERE))
    assert ERRS.apply(picture, replace(make_layers(draw(make_mesh())), **{which: shut})) is picture


@pytest.mark.parametrize("radius", [0.0, 2.0])
def test_irises_too_small_are_left_alone(radius: float) -> None:
    irises = make_irises(make_mesh(), radius)
    picture = draw(make_mesh(), Look(NOWHERE))
    assert ERRS.apply(picture, make_layers(draw(make_mesh()), iris=irises)) is picture


def test_a_window_that_cuts_an_eye_still_gets_the_other() -> None:
    own = make_mesh()
    cut = round(float(own[list(RIGHT_EYE), 0].mean())) + 6
    moved = own - [cut, 0.0, 0.0]
    target, picture = (draw(own, look)[:, cut:] for look in (Look(), Look(NOWHERE)))
    layers = make_layers(target, own=moved)
    out = ERRS.apply(picture, layers)
    assert np.isfinite(out).all()
    assert_spots(out, moved, ((), SPOT[1]))
    # Far outside the window, on every side.
    for by in ((-900.0, 0.0, 0.0), (900.0, 0.0, 0.0), (0.0, 900.0, 0.0), (0.0, -900.0, 0.0)):
        assert ERRS.apply(picture, make_layers(target, own=moved + by)) is picture


@pytest.mark.parametrize("level", [0.0, 128.0, 255.0])
def test_pictures_without_anything_in_them_are_no_trouble(level: float) -> None:
    flat = np.full((*SHAPE, 3), level, np.float32)
    assert ERRS.apply(flat, make_layers(flat)) is flat
    out = ERRS.apply(flat, make_layers(draw(make_mesh())))
    assert np.isfinite(out).all()
    assert out.min() >= 0
    assert out.max() <= 255
    assert ERRS.apply(draw(make_mesh(), Look(NOWHERE)), make_layers(flat)) is not None


def test_noise_gives_neither_numbers_out_of_range_nor_two_results() -> None:
    draws = np.random.default_rng(6)
    noise = draws.uniform(0, 255, (*SHAPE, 3)).astype(np.float32)
    layers = make_layers(noise)
    out = ERRS.apply(draw(make_mesh()), layers)
    assert np.isfinite(out).all()
    assert np.array_equal(out, ERRS.apply(draw(make_mesh()), layers))


@pytest.mark.parametrize("shape", [(10, 10, 3), SHAPE, (*SHAPE, 4)])
def test_a_picture_of_another_size_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError):
        ERRS.apply(np.zeros(shape, np.float32), make_layers(draw(make_mesh())))


def test_the_light_is_read_from_both_eyes() -> None:
    light = light_of(make_layers(draw(make_mesh())))
    assert light is not None
    assert np.allclose(np.linalg.norm(light.vectors, axis=1), 1)
    assert np.allclose(light.vectors[0], light.vectors[1], atol=0.02)
    x, y, z = light.vectors[0]
    assert (x > 0.2, y < 0, z > 0.5) == (True, True, True)
    assert ((light.confidence > 0.5) & (light.confidence <= 1)).all()


def test_an_eye_without_one_borrows_the_others_light_without_confidence() -> None:
    light = light_of(make_layers(draw(make_mesh(), Look(((), SPOT[1])))))
    assert light is not None
    assert np.array_equal(light.vectors[0], light.vectors[1])
    assert light.confidence[0] == 0 < light.confidence[1]
    assert light_of(make_layers(draw(make_mesh(), Look(NOWHERE)))) is None


def turned(light: Light, degrees: float) -> Light:
    """Return the light turned to the left of the image."""
    a = np.radians(degrees)
    matrix = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
    return replace(light, vectors=light.vectors @ matrix.T)


@pytest.fixture
def lit() -> tuple[Image, Layers, Light]:
    layers = make_layers(draw(make_mesh()))
    light = light_of(layers)
    assert light is not None
    return draw(make_mesh(), Look(NOWHERE)), layers, light


def test_the_light_that_was_seen_moves_nothing(lit) -> None:
    picture, layers, light = lit
    assert np.allclose(ERRS.apply(picture, layers, light), ERRS.apply(picture, layers), atol=0.01)


def test_a_smoothed_light_moves_the_catchlights_its_way(lit) -> None:
    picture, layers, light = lit
    out = ERRS.apply(picture, layers, turned(light, 8.0))
    for side in (0, 1):
        seen = seen_spot(out, make_mesh(), side)
        assert seen is not None
        # Half the angle on the normal, times the radius of the cornea.
        assert seen[0][0] == pytest.approx(0.3 - 1.32 * np.radians(4.0), abs=0.03)


def test_a_light_far_from_what_was_seen_or_without_confidence_is_not_believed(lit) -> None:
    picture, layers, light = lit
    plain = ERRS.apply(picture, layers)
    assert 1.32 * 2 * np.sin(np.radians(20)) > MAX_SHIFT
    for other in (turned(light, 60.0), replace(turned(light, 8.0), confidence=np.zeros(2))):
        assert np.array_equal(ERRS.apply(picture, layers, other), plain)


def test_eyes_that_contradict_each_other_are_only_copied(lit) -> None:
    picture, _, light = lit
    layers = make_layers(draw(make_mesh(), Look((((0.4, -0.2),), ((-0.4, -0.2),)))))
    plain = ERRS.apply(picture, layers)
    assert np.array_equal(ERRS.apply(picture, layers, turned(light, 8.0)), plain)


def test_a_light_invents_none(lit) -> None:
    picture, _, light = lit
    assert ERRS.apply(picture, make_layers(picture), light) is picture


def test_a_rendered_persons_catchlights_come_back(demo_picture: Callable[[str], bytes]) -> None:
    names = "persona1_0", "persona5_0"
    rows = [
        rendered_row(demo_picture(name), name, set_name="demo", person="none") for name in names
    ]
    ledger, now, analyser = DataLedger(rows), datetime(2026, 1, 1, tzinfo=UTC), open_analyser()
    source, target = (
        ledger.admit(demo_picture(name), name, purpose="evaluation", now=now) for name in names
    )
    first, second = (analyser.analyse(each.frame)[0] for each in (source, target))
    layers = lay_out(LedgerPair(source, target, first, second), 0.5)
    blurred = cv2.GaussianBlur(layers.composite, (0, 0), 3.0)
    out, away = ERRS.apply(blurred, layers), []
    for side in (0, 1):
        own, new = (draw_outlines(mesh).eyes[side] for mesh in (layers.own_mesh, layers.mesh))
        centre = layers.iris[side, 0]
        radius = float(np.linalg.norm(layers.iris[side, 1:] - centre, axis=1).mean())
        places = []
        for picture, ring in ((layers.target, own), (out, new)):
            y, x = np.indices(picture.shape[:2])
            middle = centre + (ring.mean(0) - own.mean(0))
            near = np.hypot(x - middle[0], y - middle[1]) < 0.7 * radius
            light = np.where(near, np.maximum(picture.min(2) - 130, 0), 0)
            places.append(np.array([(light * x).sum(), (light * y).sum()]) / light.sum() - middle)
        away.append(float(np.linalg.norm(places[0] - places[1])) / radius)
    assert max(away) < 0.15
