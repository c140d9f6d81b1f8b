"""Gates that say what a test tells them, over an opt-out book that is real; a reel to look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from generator.faces import Face, FaceBox, IdThresholds
from generator.gates import Gates, open_gates
from policies.digest import sha256_hex
from policies.optout import OptOutBook
from provenance.clip import Clip, Form, open_clip
from provenance.clip_exchange import Colour
from provenance.media import Picture, decode, encode
from provenance.video_write import encode_segment

REEL_FRAMES = 6
MODEL_SHA256 = sha256_hex(b"identity model")  # as in tests/conftest.py


@pytest.fixture
def optouts(office: Any) -> OptOutBook:
    return OptOutBook(office.database, office.log, office.subject_keys, office.clock)


@pytest.fixture
def told_gates(monkeypatch: pytest.MonkeyPatch, optouts: OptOutBook) -> Callable[..., Gates]:
    """`told_gates(age=..., nudity=...)`: the product's own Gates over nets that are told.

    Either is a word, an error to raise, or a function of what is looked at that gives one.
    """

    def net(answer: object) -> SimpleNamespace:
        def measure(*seen: object) -> SimpleNamespace:
            said = answer(*seen) if callable(answer) else answer
            if isinstance(said, Exception):
                raise said
            return SimpleNamespace(state=said)

        return SimpleNamespace(measure=measure)

    def make(*, age: object = "clear", nudity: object = "clear") -> Gates:
        # Bound now: gates made later in the test must not change what these say.
        age_net, nudity_net = net(age), net(nudity)
        monkeypatch.setattr("generator.age.open_age_gate", lambda threads: age_net)
        monkeypatch.setattr("generator.nudity.open_nudity_gate", lambda threads: nudity_net)
        gates = open_gates(optouts)
        # Opened here for the same reason.
        gates._age.get()
        gates._nudity.get()
        return gates

    return make


@dataclass
class Reel:
    """A clip of six grey frames, and an analyser that finds in each what a test puts there.

    The frames' shades tell which is which; any other picture is the source.
    """

    clip: Clip
    source: Picture
    in_source: list[Face] = field(default_factory=list)
    shown: dict[int, list[Face]] = field(default_factory=dict)
    covered: dict[int, list[FaceBox]] = field(default_factory=dict)
    looked: list[int | None] = field(default_factory=list)

    id_model = "idnet"
    thresholds = IdThresholds(match=0.4, mismatch=0.6)
    models = {"idnet": MODEL_SHA256, "detector": sha256_hex(b"detector")}  # noqa: RUF012

    def number(self, frame: npt.NDArray[np.uint8]) -> int | None:
        """Which frame of the clip it is; None for the source."""
        return round((float(frame.mean()) - 20) / 30) if frame.shape == (48, 64, 3) else None

    def analyse(self, frame: npt.NDArray[np.uint8]) -> list[Face]:
        number = self.number(frame)
        self.looked.append(number)
        return list(self.in_source if number is None else self.shown.get(number, ()))

    def locate(self, frame: npt.NDArray[np.uint8]) -> list[FaceBox]:
        number = self.number(frame)
        faces = self.in_source if number is None else self.shown.get(number, ())
        hidden = () if number is None else self.covered.get(number, ())
        return [*(face.box for face in faces), *hidden]

    def show(self, *faces: Face, at: int | None = None) -> None:
        """Put faces into every frame, or into that one."""
        for number in range(REEL_FRAMES) if at is None else (at,):
            self.shown[number] = list(faces)


@pytest.fixture(scope="session")
def grey_clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Six frames of 64 x 48, each of a shade of its own, in three quarters of a second."""
    folder = tmp_path_factory.mktemp("reel")
    form = Form(64, 48, (1, 800), Colour("tv", 1, 1, 1), 0, (), REEL_FRAMES, 1, 0, 100)
    shades = [np.full((48, 64, 3), 20 + 30 * n, np.uint8) for n in range(REEL_FRAMES)]
    path = folder / "given.mp4"
    path.write_bytes(encode_segment([(100 * n, frame) for n, frame in enumerate(shades)], form))
    return open_clip(path, workspace=folder)


@pytest.fixture
def reel(grey_clip: Clip) -> Reel:
    return Reel(grey_clip, decode(encode(np.full((32, 32, 3), 10, np.uint8), "image/png")))


def vector(*values: float) -> npt.NDArray[np.float32]:
    made = np.zeros(8, np.float32)
    made[: len(values)] = values
    return made


@pytest.fixture
def face() -> Callable[..., Face]:
    """`face(1, 0, left=5)`: a face with that identity vector, filled up with zeros to eight."""

    def make(*values: float, left: float = 0.0, top: float = 0.0) -> Face:
        return Face(
            box=(left + 2.4, top + 3.4, left + 22.6, top + 25.6),
            score=0.9,
            mesh=np.zeros((468, 3), np.float32),
            iris=np.zeros((2, 5, 2), np.float32),
            pose=(0.0, 0.0, 0.0),
            id_vector=vector(*values),
        )

    return make
