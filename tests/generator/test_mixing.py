"""stylemix on rendered people: permitted or nothing, within its mask, steps off or on, boosted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator import mixing
from generator.canonical import frame_square
from generator.laying import Layers
from generator.mixing import (
    StyleMixSwapper,
    join_phases,
    network_side,
    open_stylemix,
    repaint,
    split_phases,
)
from generator.runtime import Network, open_network
from generator.swapper import OutOfRange, SwapTask
from generator.weights import TensorContract
from policies.digest import sha256_hex
from policies.warrant import WarrantInvalid
from policies.warrants import ActiveWarrant

Image = np.ndarray
PAIR = "persona1_0", "persona2_0"


@pytest.fixture(scope="module")
def network(tiny_models: Path) -> Network:
    return open_network("stylemix", folder=tiny_models)


@pytest.fixture
def task(people: Any, active_warrant: Callable[..., ActiveWarrant]) -> SwapTask:
    source, target = (people.picture(name) for name in PAIR)
    faces = [people.face(name) for name in PAIR]
    roles = ("source_identity", "target_body")
    boxes = {r: tuple(round(v) for v in f.box) for r, f in zip(roles, faces, strict=True)}
    warrant = active_warrant(source.sha256, target.sha256, boxes=boxes)
    return SwapTask(
        warrant, source=source, target=target, source_face=faces[0], target_face=faces[1]
    )


class Told:
    """A network of 128 px that answers what a test says, and keeps what it was given."""

    def __init__(self, **answers: Callable[[dict[str, Image]], Image] | float) -> None:
        self.answers = {"paint": 0.0, "flow": 0.0, "reach": 1.0, **answers}
        self.given: dict[str, Image] = {}
        shape = TensorContract(shape=(1, 128, 128), meaning="mask")
        self.card = SimpleNamespace(name="stylemix", tensors={"mask": shape})
        self.models = {"told": sha256_hex(b"told")}

    def run(self, **arrays: Image) -> dict[str, Image]:
        self.given = arrays
        made = {}
        for name, channels in (("paint", 3), ("flow", 2), ("reach", 1)):
            answer = self.answers[name]
            if callable(answer):
                made[name] = np.asarray(answer(arrays), np.float32)
            else:
                shape = (len(arrays["mask"]), channels, 128, 128)
                made[name] = np.full(shape, answer, np.float32)
        return made


def faces_of(people: Any) -> tuple[Any, Any]:
    return people.face(PAIR[0]), people.face(PAIR[1])


# ------------------------------------------------------------------------------ phases


@settings(max_examples=40, deadline=None)
@given(
    boost=st.sampled_from([1, 2, 4]),
    rows=st.integers(1, 6),
    columns=st.integers(1, 6),
    channels=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_phases_join_to_what_was_split(
    boost: int, rows: int, columns: int, channels: int, seed: int
) -> None:
    square = np.random.default_rng(seed).normal(size=(rows * boost, columns * boost, channels))
    square = square.astype(np.float32)
    phases = split_phases(square, boost)
    assert phases.shape == (boost**2, channels, rows, columns)
    assert phases.flags.c_contiguous
    assert np.array_equal(join_phases(phases, boost), square)
    assert np.array_equal(phases[0, :, 0, 0], square[0, 0])
    assert np.array_equal(phases[-1, :, 0, 0], square[boost - 1, boost - 1])


# ------------------------------------------------------------------------------ what is repainted


@pytest.mark.parametrize("boost", [1, 2])
def test_a_network_that_changes_nothing_gives_the_composite(
    layers: Layers, people: Any, boost: Any
) -> None:
    picture, reach, mesh = repaint(Told(), layers, faces_of(people), boost)  # type: ignore[arg-type]
    assert np.array_equal(picture, layers.composite)
    assert np.array_equal(mesh, layers.mesh)
    assert (picture.dtype, reach.dtype) == (np.float32, np.float32)
    assert reach.shape == layers.mask.shape


def test_where_it_does_not_reach_nothing_is_changed(layers: Layers, people: Any) -> None:
    """Neither by paint nor by flow, also where its reach fades out below what can be seen."""
    fading = np.linspace(0, 0.05, 128, dtype=np.float32)
    told = Told(
        paint=0.5,
        flow=3.0,
        reach=lambda arrays: np.broadcast_to(fading, (len(arrays["mask"]), 1, 128, 128)),
    )
    picture, reach, _ = repaint(told, layers, faces_of(people))  # type: ignore[arg-type]
    still = reach == 0
    assert 0.1 < still.mean() < 0.9
    assert np.array_equal(picture[still], layers.composite[still])
    assert np.abs(picture - layers.composite)[~still].min(axis=-1).mean() > 1


def test_the_network_is_shown_what_it_was_trained_on(layers: Layers, people: Any) -> None:
    told = Told()
    repaint(told, layers, faces_of(people))  # type: ignore[arg-type]
    square = frame_square(layers.own_mesh, layers.mask.shape)
    shown = told.given["pictures"][0].reshape(4, 3, 128, 128).transpose(0, 2, 3, 1)
    stack = (layers.target, layers.pulled, layers.warped, layers.composite)
    for seen, picture in zip(shown, stack, strict=True):
        np.testing.assert_allclose((seen + 1) * 127.5, square.cut(picture), atol=1e-3)
    np.testing.assert_allclose(told.given["mask"][0, 0], square.cut(layers.mask), atol=1e-6)
    for name, face in zip(("id_source", "id_target"), faces_of(people), strict=True):
        assert np.array_equal(told.given[name], face.id_vector[None])
    assert {value.dtype for value in told.given.values()} == {np.dtype(np.float32)}


def test_a_boosted_network_sees_every_pixel_of_a_larger_square(layers: Layers, people: Any) -> None:
    told = Told()
    repaint(told, layers, faces_of(people), 2)  # type: ignore[arg-type]
    square = frame_square(layers.own_mesh, layers.mask.shape, 256)
    whole = join_phases(told.given["pictures"], 2)[..., 9:]
    np.testing.assert_allclose((whole + 1) * 127.5, square.cut(layers.composite), atol=1e-3)
    assert told.given["id_source"].shape == (4, 128)


def test_flow_moves_the_full_picture(layers: Layers, people: Any) -> None:
    """The flow is the same way in the face for every boost; paint and mask have no part in it."""
    square = frame_square(layers.own_mesh, layers.mask.shape)
    flow = np.zeros((128, 128, 2), np.float32)
    flow[...] = 2.0, -1.0
    moved = square.move(layers.composite, flow)

    def answer(arrays: dict[str, Image]) -> Image:
        return np.broadcast_to(flow.transpose(2, 0, 1), (len(arrays["mask"]), 2, 128, 128))

    inner = square.put_back(np.pad(np.ones((96, 96), np.float32), 16)) == 1
    for boost in (1, 2):
        picture, *_ = repaint(Told(flow=answer), layers, faces_of(people), boost)  # type: ignore[arg-type]
        # OpenCV looks pictures up in steps of 1/32 px.
        assert np.abs(picture - moved)[inner].mean() < 0.1
    assert np.abs(moved - layers.composite)[inner].mean() > 0.5


def smooth_paint(arrays: dict[str, Image]) -> Image:
    """A broad change that follows the picture: what a network does that sees the phases alike."""
    k = np.hanning(128).astype(np.float32)
    return 0.2 * np.outer(k, k) * np.ones((len(arrays["mask"]), 3, 1, 1), np.float32)


def test_boosts_agree_about_a_smooth_change(layers: Layers, people: Any) -> None:
    plain, boosted = (
        repaint(Told(paint=smooth_paint), layers, faces_of(people), boost)[0]  # type: ignore[arg-type]
        for boost in (1, 2)
    )
    assert np.abs(plain - layers.composite).max() > 10
    assert np.abs(plain - boosted).max() < 1.5


def nyquist(square: Image) -> float:
    """Energy of the finest checkerboard and stripes in the middle of a square."""
    spectrum = np.abs(np.fft.fft2(square[64:192, 64:192].mean(-1)))
    return float(spectrum[64, 64] + spectrum[64, 0] + spectrum[0, 64])


def test_phases_that_disagree_draw_no_checkerboard(
    layers: Layers, people: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Image] = []

    def keep(square: Any, change: Image) -> Image:
        seen.append(change)
        return np.zeros((*square.size[::-1], *change.shape[2:]), np.float32)

    def disagree(arrays: dict[str, Image]) -> Image:
        signs = np.array([1, -1, -1, 1], np.float32)[: len(arrays["mask"])]
        return 0.2 * signs[:, None, None, None] * np.ones((1, 3, 128, 128), np.float32)

    monkeypatch.setattr("generator.canonical.Square.put_back", keep)
    repaint(Told(paint=disagree), layers, faces_of(people), 2)  # type: ignore[arg-type]
    (painted,) = [one for one in seen if one.shape[-1] == 3 and one.ndim == 3]
    raw = join_phases(disagree({"mask": np.zeros((4, 1, 128, 128), np.float32)}), 2) * 127.5
    assert nyquist(raw) > 1e5
    assert nyquist(painted) < 1e-4 * nyquist(raw)


# ------------------------------------------------------------------------------ the swapper


class Step:
    """A finishing step that adds a level where the mask is, or does nothing."""

    def __init__(self, name: str, level: float) -> None:
        self.name, self.version, self.level = name, "3", level
        self.models = {name: sha256_hex(name.encode())}

    def apply(self, picture: Image, layers: Layers) -> Image:
        return np.clip(picture + self.level * (layers.mask[..., None] > 0), 0, 255)


def test_version_and_models_name_everything_that_changes_pixels(network: Network) -> None:
    steps = Step("one", 0), Step("two", 0)
    plain, boosted = StyleMixSwapper(network), StyleMixSwapper(network, boost=2)
    finished = StyleMixSwapper(network, finishes=steps)
    assert len({plain.version, boosted.version, finished.version}) == 3
    assert "boost2" in boosted.version
    assert "+one-3+two-3" in finished.version
    assert plain.models == network.models
    assert set(finished.models) == {"stylemix", "one", "two"}
    assert finished.models["stylemix"] == network.card.sha256
    assert network_side(network) == 128


def test_result_is_the_target_outside_its_mask(
    network: Network, task: SwapTask, people: Any
) -> None:
    swapper = StyleMixSwapper(network)
    first, second = (swapper.render(task) for _ in range(2))
    target = people.picture(PAIR[1]).frame
    assert np.array_equal(first.frame, second.frame), "the same task gives the same pixels"
    assert np.array_equal(first.mask, second.mask)
    assert first.frame.dtype == np.uint8
    assert first.mask.shape == target.shape[:2]
    assert 0 < (first.mask == 0).mean() < 1
    assert first.mask.max() <= 1
    assert np.array_equal(first.frame[first.mask == 0], target[first.mask == 0])
    assert np.abs(first.frame[first.mask > 0.9].astype(int) - target[first.mask > 0.9]).mean() > 3


def test_the_window_is_the_target_where_the_mask_is_nothing(network: Network, people: Any) -> None:
    """A pair of the data ledger is enough for measuring, and nothing of it can be released."""
    picture, mask, layers = StyleMixSwapper(network).mix(people.pair(*PAIR))
    assert np.array_equal(picture[mask == 0], layers.target[mask == 0])
    assert not np.array_equal(picture, layers.composite)
    assert (mask >= layers.mask).all()
    with pytest.raises(WarrantInvalid):
        StyleMixSwapper(network).render(people.pair(*PAIR))


def test_a_step_that_does_nothing_leaves_every_bit(network: Network, task: SwapTask) -> None:
    plain = StyleMixSwapper(network).render(task)
    idle = StyleMixSwapper(network, finishes=[Step("idle", 0)]).render(task)
    busy = StyleMixSwapper(network, finishes=[Step("busy", 9)]).render(task)
    assert np.array_equal(plain.frame, idle.frame)
    assert np.array_equal(plain.mask, idle.mask)
    assert not np.array_equal(plain.frame, busy.frame)
    assert np.array_equal(plain.frame[busy.mask == 0], busy.frame[busy.mask == 0])


def test_steps_are_told_where_the_flow_took_the_face(people: Any) -> None:
    """Else a catchlight is put back where the eye was before the network moved it."""
    seen: list[Layers] = []

    class Look(Step):
        def apply(self, picture: Image, layers: Layers) -> Image:
            seen.append(layers)
            return picture

    shift = np.full((1, 2, 128, 128), 0.0, np.float32)
    shift[:, 1] = -3.0  # what is shown lies three square pixels lower than it did
    told = Told(flow=lambda _: shift)
    swapper = StyleMixSwapper(told, finishes=[Look("look", 0)])  # type: ignore[arg-type]
    _, _, layers = swapper.mix(people.pair(*PAIR))
    square = frame_square(layers.own_mesh, layers.mask.shape)
    away = square.place(seen[0].mesh) - square.place(layers.mesh)
    np.testing.assert_allclose(away, np.broadcast_to([0.0, 3.0], away.shape), atol=1e-3)
    assert np.array_equal(seen[0].own_mesh, layers.own_mesh)


def test_render_asks_for_the_warrant_again(network: Network, task: SwapTask, office: Any) -> None:
    office.clock.now += 10_000
    for door in ("render", "mix"):
        with pytest.raises(WarrantInvalid):
            getattr(StyleMixSwapper(network), door)(task)


@pytest.mark.parametrize("door", ["render", "mix"])
def test_what_is_no_task_is_refused_before_the_network_runs(door: str, people: Any) -> None:
    told = Told()
    swapper = StyleMixSwapper(told)  # type: ignore[arg-type]
    fields = {
        "source": people.picture(PAIR[0]),
        "target": people.picture(PAIR[1]),
        "source_face": people.face(PAIR[0]),
        "target_face": people.face(PAIR[1]),
    }
    shell = object.__new__(SwapTask)
    for nothing in (
        None,
        SimpleNamespace(**fields),
        SimpleNamespace(**fields, warrant=None),
        shell,
    ):
        with pytest.raises(WarrantInvalid) as caught:
            getattr(swapper, door)(nothing)
        assert caught.value.code == "WARRANT-REQUIRED"
    assert told.given == {}


@pytest.mark.parametrize(
    ("wanted", "steps"),
    [({}, ""), ({"detail": True}, "+mdrn-"), ({"eyes": True}, "+errs-")],
    ids=["plain", "detail", "eyes"],
)
def test_it_opens_with_the_steps_that_are_wanted(
    network: Network, monkeypatch: pytest.MonkeyPatch, wanted: dict[str, bool], steps: str
) -> None:
    asked: list[tuple[object, ...]] = []

    def note(name: str, *, device: str, threads: int) -> Network:
        asked.append((name, device, threads))
        return network

    monkeypatch.setattr(mixing, "open_network", note)
    detail = Step("mdrn", 0)
    monkeypatch.setattr(mixing, "open_detail", lambda **_: detail)
    swapper = open_stylemix(boost=2, threads=3, **wanted)
    assert asked == [("stylemix", "cpu", 3)]
    assert swapper.version.startswith("2+boost2" + steps)
    assert swapper.name == "stylemix"


def test_faces_out_of_range_are_refused_as_by_geo(network: Network, people: Any) -> None:
    pair = people.pair(*PAIR)
    turned = replace(pair, source_face=replace(pair.source_face, pose=(70.0, 0.0, 0.0)))
    with pytest.raises(OutOfRange):
        StyleMixSwapper(network).mix(turned)
