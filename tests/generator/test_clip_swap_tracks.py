"""The door for videos: what a whole track must show, and that a part looks like the whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generator.casting import FrameRefused
from generator.clip_measure import measure_clip
from generator.clip_swap import LOOKED_AHEAD, swap_clip
from generator.faces import Face
from generator.gates import Gates
from generator.swapper import OutOfRange, Rendering, SwapTask, UnnamedFace, require_task
from generator.templates import pack_template
from generator.topology import load_topology
from policies.decide import Refused
from policies.facts import Measured
from policies.warrants import ActiveWarrant
from provenance.clip import Clip, Form, open_clip
from provenance.clip_draft import ClipDraft
from provenance.clip_exchange import Colour
from provenance.video_write import encode_segment

ANNA, BERT, CARL, DORA = (1.0,), (0.0, 1.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0, 1.0)
# As he looks in this light, .25 from his template: a match (to .4); the others only similar.
LIT = (0.0, 1.0, 0.0, 0.0, 0.25)
BLURRED = (0.0, 1.0, 0.0, 0.0, 0.42, 0.1)
UNLIKE = (0.0, 1.0, 0.0, 0.0, -0.2, 0.38)
FRAMES, STEP = 16, 80  # units of 1/800 s: ten frames a second


@pytest.fixture(scope="session")
def calm_clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Clip]:
    """`calm_clip(times)`: one shot; four grey fields at the foot count the frames in binary."""

    def make(times: Sequence[int]) -> Clip:
        folder = tmp_path_factory.mktemp("calm")
        y, x = np.mgrid[:48, :64]
        ground = 110 + 60 * np.sin(x / 7) * np.cos(y / 5)
        shots = []
        for n in range(len(times)):
            shot = ground.copy()
            for bit in range(4):
                shot[40:, 12 * bit : 12 * bit + 12] = 90 + 60 * (n >> bit & 1)
            shots.append(np.repeat(shot[..., None], 3, axis=2).astype(np.uint8))
        form = Form(64, 48, (1, 800), Colour("tv", 1, 1, 1), 0, (), len(times), 1, 0, STEP)
        path = folder / "given.mp4"
        path.write_bytes(encode_segment(zip(times, shots, strict=True), form))
        return open_clip(path, workspace=folder)

    return make


def number(frame: Any) -> int | None:
    """Which frame of such a clip it is; None for the source."""
    if frame.shape != (48, 64, 3):
        return None
    fields = [float(frame[42:46, 12 * bit + 3 : 12 * bit + 9].mean()) for bit in range(4)]
    return sum(1 << bit for bit, shade in enumerate(fields) if shade > 120)


@pytest.fixture
def steady(reel: Any, calm_clip: Callable[..., Clip]) -> Any:
    """The reel over a clip of one shot; `reel.show` works on its frames."""
    reel.clip, reel.number = calm_clip([STEP * n for n in range(FRAMES)]), number
    return reel


@pytest.fixture
def head(face: Callable[..., Face]) -> Callable[..., Face]:
    """`head(0, 1, left=5)`: a face with that identity vector and a mesh of its own."""

    def make(*values: float, left: float = 0.0, shake: int | None = None) -> Face:
        mesh = load_topology().neutral * 10 + [left + 12, 14, 0]
        if shake is not None:
            mesh = mesh + np.random.default_rng(shake).normal(0, 0.5, mesh.shape)
        iris = np.full((2, 5, 2), left + 12, np.float32)
        return replace(
            face(*values, left=left), mesh=mesh.astype(np.float32), iris=iris, pose=(0.0, 0.0, 0.0)
        )

    return make


class Painter:
    """A swapper that writes the mesh it is given into the upper left corner."""

    name, version, models = "painter", "1", {}

    def __init__(self) -> None:
        self.tasks: list[SwapTask] = []
        self.beyond: set[int] = set()

    def render(self, task: SwapTask) -> Rendering:
        self.tasks.append(require_task(task))
        assert not isinstance(task.target, type(task.source))
        if task.target.number in self.beyond:
            raise OutOfRange("the covered share of the target's face", measured=0.61, limit=0.4)
        frame = task.target.frame.copy()
        mask = np.zeros(frame.shape[:2], np.float32)
        mask[:4, :8] = 1
        digits = np.frombuffer(task.target_face.mesh.tobytes(), np.uint8)[: 4 * 8 * 3]
        frame[:4, :8] = digits.reshape(4, 8, 3)
        return Rendering(frame, mask)


@pytest.fixture
def painter() -> Painter:
    return Painter()


@pytest.fixture
def gates(told_gates: Callable[..., Gates]) -> Gates:
    return told_gates()


@pytest.fixture
def people(office: Any, steady: Any, head: Callable[..., Face]) -> list[tuple[str, str]]:
    """Anna's face is put onto Bert, who walks to the right; Carl stands beside."""
    steady.in_source = [head(*ANNA)]
    for n in range(FRAMES):
        steady.show(head(*CARL, left=40), head(*LIT, left=n, shake=n), at=n)
    roles = ("source_identity", "target_body", "bystander")
    records = [
        office.enrol(face=pack_template(head(*who).id_vector), media=["video"], max_uses=100)
        for who in (ANNA, BERT, CARL)
    ]
    return list(zip(records, roles, strict=True))


@pytest.fixture
def measured(office: Any, steady: Any, gates: Gates, people: Any) -> Callable[[], Measured]:
    def make() -> Measured:
        return measure_clip(
            asked(office, steady, people),
            steady.source,
            steady.clip,
            book=office.book,
            analyser=steady,
            gates=gates,
        )

    return make


def asked(office: Any, steady: Any, people: Any) -> Any:
    digests = {"source_sha256": steady.source.sha256, "target_sha256": steady.clip.sha256}
    return office.request(people, medium="video", **digests)


@pytest.fixture
def permit(office: Any, steady: Any, measured: Any, people: Any) -> Callable[[], ActiveWarrant]:
    """A warrant on a measurement of the clip as it is shown now."""
    return lambda: office.desk.start(office.desk.admit(asked(office, steady, people), measured()))


@pytest.fixture
def start(steady: Any, permit: Any, gates: Gates, painter: Painter) -> Callable[..., ClipDraft]:
    """A draft under a warrant for the clip."""

    def make(warrant: ActiveWarrant | None = None) -> ClipDraft:
        return swap_clip(
            steady.source,
            steady.clip,
            warrant=warrant or permit(),
            analyser=steady,
            swapper=painter,
            gates=gates,
        )

    return make


def made_of(draft: ClipDraft, *spans: tuple[int, int]) -> dict[int, Any]:
    """The frames of these pieces by their times."""
    return {pts: frame for span in spans for pts, frame in draft.render(*span)}


def refusal_of(draft: ClipDraft) -> FrameRefused:
    with pytest.raises(FrameRefused) as caught:
        list(draft.render(0, FRAMES))
    return caught.value


def test_the_frames_count_themselves(steady: Any) -> None:
    from generator.clip_frames import watch  # noqa: PLC0415

    assert [number(shot.frame) for shot in watch(steady.clip)] == list(range(FRAMES))


def test_every_piece_in_any_order_looks_like_the_whole(start: Any, permit: Any) -> None:
    """A killed job goes on in a new process: whatever it finds made, the rest is the same."""
    warrant = permit()
    whole = made_of(start(warrant), (0, FRAMES))
    assert len(whole) == FRAMES
    pieces = [(12, 16), (0, 3), (3, 12)]
    together = made_of(start(warrant), *pieces)
    apart = {at: frame for piece in pieces for at, frame in made_of(start(warrant), piece).items()}
    for other in (together, apart):
        assert sorted(other) == sorted(whole)
        assert all(np.array_equal(other[at], frame) for at, frame in whole.items())


def test_the_landmarks_are_held_steady(start: Any, painter: Painter, head: Any) -> None:
    list(start().render(0, FRAMES))
    given = np.stack([head(*LIT, left=n, shake=n).mesh for n in range(FRAMES)])
    held = np.stack([task.target_face.mesh for task in painter.tasks])
    assert np.allclose(held[0], given[0], atol=1e-3)

    def jitter(points: Any) -> float:
        return float(np.linalg.norm(np.diff(points, 2, axis=0), axis=-1).mean())

    assert jitter(held) < 0.8 * jitter(given)
    assert [task.target_face.box for task in painter.tasks] == [
        head(*BERT, left=n).box for n in range(FRAMES)
    ], "where a face may lie is measured, not smoothed"


def test_a_clip_is_looked_at_once_however_many_pieces(start: Any, steady: Any) -> None:
    draft = start()
    before = len(steady.looked)
    made_of(draft, (0, 3), (3, 9), (9, 16))
    assert steady.looked[before:] == list(range(FRAMES))


def test_one_blurred_frame_is_pardoned_by_its_track(
    start: Any, steady: Any, head: Any, painter: Painter, measured: Any
) -> None:
    steady.show(head(*BLURRED, left=5), head(*CARL, left=40), at=5)
    [bert] = [p for p in measured().people if p.role == "target_body"]
    assert (bert.match, bert.distance_milli) == ("match", 432)
    assert (measured().target_faces, measured().target_faces_resolved) == (2, 2)
    list(start().render(0, FRAMES))
    assert len(painter.tasks) == FRAMES


def test_a_bystanders_blurred_frame_is_pardoned_too(start: Any, steady: Any, head: Any) -> None:
    blurred = (0.0, 0.0, 1.0, 0.0, 0.35, 0.2)
    lit = (0.0, 0.0, 1.0, 0.0, 0.2)
    for n in range(FRAMES):
        steady.show(head(*BERT, left=n), head(*(blurred if n == 5 else lit), left=40), at=n)
    assert len(list(start().render(0, FRAMES))) == FRAMES


# What is shown instead of Bert, by frame: refused in the swap, and already when it is measured.
CHANGED: dict[str, dict[int, list[tuple[tuple[float, ...], float]]]] = {
    "somebody else for one frame": {7: [(DORA, 7)]},
    "the bystander twice, once in his place": {7: [(CARL, 7)]},
    "the source's person in his place": {7: [(ANNA, 7)]},
    "a mismatch by a hair": {7: [((0.0, 1.0, 0.0, 0.0, 0.6, 0.05), 7)]},
    "only similar, and unlike the other frames": {7: [(UNLIKE, 7)]},
    "only similar, elsewhere": {7: [(BLURRED, 30)]},
    "only similar too often": {n: [(BLURRED, n)] for n in range(2, 7)},
    "only similar throughout": {n: [(BLURRED, n)] for n in range(FRAMES)},
    "himself twice": {7: [(BERT, 7), (BERT, 30)]},
}


@pytest.mark.parametrize("what", CHANGED)
def test_a_track_pardons_nothing_else(
    start: Any, permit: Any, steady: Any, head: Any, painter: Painter, what: str
) -> None:
    """The swap refuses by itself what an earlier measurement did not see, before any frame."""
    warrant = permit()
    for n, shown in CHANGED[what].items():
        steady.show(*(head(*who, left=left) for who, left in shown), head(*CARL, left=40), at=n)
    refused = refusal_of(start(warrant))
    assert refused.code == "UNNAMED-FACE"
    assert isinstance(refused.__cause__, UnnamedFace)
    assert painter.tasks == []
    with pytest.raises(Refused):
        permit()


def test_the_bystander_who_steps_into_his_place_is_not_swapped(
    start: Any, permit: Any, steady: Any, head: Any, painter: Painter
) -> None:
    """Carl is named: he may be anywhere, and stays as he is."""
    warrant = permit()
    for n in range(7, FRAMES):
        steady.show(head(*CARL, left=n), at=n)
    made_of(start(warrant), (0, FRAMES))
    assert [task.target.number for task in painter.tasks] == list(range(7))


def test_a_refusal_names_the_frame_and_its_second(
    start: Any, permit: Any, steady: Any, head: Any
) -> None:
    warrant = permit()
    steady.show(head(*DORA, left=12), head(*CARL, left=40), at=12)
    refused = refusal_of(start(warrant))
    assert refused.message == (
        "frame 12, in second 1: a face matches nobody whom the warrant shows"
    )
    assert "cut this part out" in refused.mend


def test_a_track_that_is_only_similar_says_from_where_to_where(
    start: Any, permit: Any, steady: Any, head: Any
) -> None:
    warrant = permit()
    for n in range(FRAMES):
        faces = [head(*BLURRED, left=n)] if 4 <= n < 9 else []
        steady.show(*faces, head(*CARL, left=40), at=n)
    refused = refusal_of(start(warrant))
    assert refused.message.startswith(
        "frame 4, in second 0: a face that is followed from frame 4 to frame 8 is only similar"
    )


def test_who_leaves_and_comes_back_is_bound_anew(
    start: Any, permit: Any, steady: Any, head: Any, painter: Painter
) -> None:
    """Before and after he is matched; a single blurred frame far from both is nobody's."""
    warrant = permit()
    for n in (3, 4, 5, 6, 7, 8, 9):
        steady.show(head(*CARL, left=40), at=n)
    made = made_of(start(warrant), (0, FRAMES))
    assert len(made) == FRAMES
    assert [task.target.number for task in painter.tasks] == [0, 1, 2, *range(10, FRAMES)]
    steady.show(head(*BLURRED, left=2), head(*CARL, left=40), at=9)
    for n in range(10, FRAMES):
        steady.show(head(*CARL, left=40), at=n)
    assert "only similar" in refusal_of(start(warrant)).message


def test_a_pardoned_frame_is_not_pardoned_by_the_opt_outs(
    start: Any, permit: Any, steady: Any, head: Any, optouts: Any
) -> None:
    """The frame's own vector is asked: its track may be far enough from who opted out."""
    steady.show(head(*BLURRED, left=5), head(*CARL, left=40), at=5)
    warrant = permit()
    near = np.array([0, 1, 0, 0, 0.9, 0.1, 0, 0], np.float32)
    away = [float(np.linalg.norm(near - head(*who).id_vector)) for who in (LIT, BLURRED)]
    assert away[0] > steady.thresholds.mismatch > away[1]
    optouts.add(pack_template(near), model_sha256=steady.models["idnet"], pid="ps_" + "b" * 26)
    refused = refusal_of(start(warrant))
    assert refused.code == "OPTED-OUT"
    assert refused.message.startswith("frame 5, ")


def test_a_covered_face_says_how_long_it_is_so(start: Any, painter: Painter) -> None:
    painter.beyond = {4, 5, 6, 9}
    refused = refusal_of(start())
    assert refused.code == "SWAP-OUT-OF-RANGE"
    assert refused.message == (
        "frame 4, in second 0: the covered share of the target's face is 0.61, the limit is 0.4; "
        "so in 4 of the 12 frames of this face looked at from here on (last: frame 9); it is "
        "followed through 16"
    )
    assert refused.mend == "cut this part out of the video"


def test_only_so_many_frames_are_tried_ahead(
    start: Any, painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LOOKED_AHEAD == 48
    monkeypatch.setattr("generator.clip_swap.LOOKED_AHEAD", 3)
    painter.beyond = {2, 4, 9}
    assert "so in 2 of the 4 frames" in refusal_of(start()).message
    assert max(task.target.number for task in painter.tasks) == 5


def test_the_last_frame_has_none_after_it(start: Any, painter: Painter) -> None:
    painter.beyond = {FRAMES - 1}
    told = refusal_of(start()).message
    assert "so in 1 of the 1 frames of this face looked at from here on (last: frame 15)" in told


def test_looking_ahead_stops_at_what_else_is_refused(
    start: Any, painter: Painter, head: Any, optouts: Any, steady: Any
) -> None:
    painter.beyond = {2, 3, 4}
    render = painter.render

    def opt_out_at_three(task: SwapTask) -> Rendering:
        assert not isinstance(task.target, type(task.source))
        if task.target.number == 3:
            template = pack_template(head(*BERT).id_vector)
            optouts.add(template, model_sha256=steady.models["idnet"], pid="ps_" + "b" * 26)
        return render(task)

    painter.render = opt_out_at_three  # type: ignore[method-assign]
    refused = refusal_of(start())
    assert refused.code == "SWAP-OUT-OF-RANGE"
    assert "so in 2 of the" in refused.message


def test_other_pixels_than_were_looked_at_are_refused(
    start: Any, painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who swaps the copy between the first pass and the making gets nothing made."""
    draft = start()
    frames = draft.render(0, FRAMES)
    next(frames)
    monkeypatch.setattr("generator.casting.digest_of", lambda frame: "0" * 64)
    with pytest.raises(FrameRefused, match=r"frame 1, .*not the one that was looked at") as caught:
        next(frames)
    assert caught.value.code == "SWAP-REFUSED"
    assert len(painter.tasks) == 1


def test_frames_at_any_times(
    start: Any, steady: Any, calm_clip: Callable[..., Clip], painter: Painter, head: Any
) -> None:
    """Variable frame rate: the same places, filtered by when they were."""
    list(start().render(0, FRAMES))
    even = [task.target_face.mesh for task in painter.tasks]
    painter.tasks.clear()
    times = [n * 8 for n in range(8)] + [800 + 300 * n for n in range(8)]
    steady.clip = calm_clip(times)
    whole = made_of(start(), (0, FRAMES))
    assert list(whole) == times
    uneven = [task.target_face.mesh for task in painter.tasks]
    assert not np.array_equal(even[5], uneven[5])
    given = [head(*LIT, left=n, shake=n).mesh for n in range(FRAMES)]
    assert np.abs(uneven[4] - given[4]).mean() > np.abs(even[4] - given[4]).mean()
    parts = made_of(start(), (9, 16), (0, 9))
    assert all(np.array_equal(parts[at], frame) for at, frame in whole.items())


def test_a_clip_of_one_frame_and_one_without_a_face(
    start: Any, steady: Any, calm_clip: Callable[..., Clip], painter: Painter, permit: Any
) -> None:
    warrant = permit()
    steady.show()
    for n in range(FRAMES):
        steady.show(at=n)
    draft = start(warrant)
    assert len(list(draft.render(0, FRAMES))) == FRAMES
    assert painter.tasks == []
    assert list(draft.render(3, 3)) == []


def test_nothing_of_an_empty_file_is_a_clip(tmp_path: Path) -> None:
    from provenance.video import VideoError  # noqa: PLC0415

    empty = tmp_path / "empty.mp4"
    empty.write_bytes(b"")
    with pytest.raises(VideoError):
        open_clip(empty, workspace=tmp_path)
