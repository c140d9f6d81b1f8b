"""Told gates over a real opt-out book, a reel to look at, rendered people, a network for tests."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from generator.canonical import frame_square
from generator.faces import Face, FaceAnalyser, FaceBox, IdThresholds, open_analyser
from generator.gates import Gates, open_gates
from generator.laying import Layers, lay_out
from generator.ledger_pair import LedgerPair
from generator.topology import load_topology
from policies.digest import sha256_hex
from policies.optout import OptOutBook
from provenance.clip import Clip, Form, open_clip
from provenance.clip_exchange import Colour
from provenance.data_ledger import AdmittedPicture, DataLedger, LedgerRow, Purpose, rendered_row
from provenance.media import Picture, decode, encode
from provenance.video_write import encode_segment

if TYPE_CHECKING:
    from generator.presets import Preset
    from generator.samples import SampleSet
    from generator.stylemix import StyleMixNet

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


# Training and the learned swapper. torch takes seconds to load, so it is imported where it is used.


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Torch's threads wait for one another longer than a small network takes."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


DEMO = Path(__file__).parents[2] / "docs" / "demo"
WHEN = datetime(2026, 11, 21, tzinfo=UTC)


@dataclass
class People:
    """Rendered people at half size, as a ledger admits them; each face is looked for once."""

    _contents: dict[str, bytes] = field(default_factory=dict)
    _faces: dict[str, Face] = field(default_factory=dict)

    @cached_property
    def analyser(self) -> FaceAnalyser:
        return open_analyser()

    def content(self, name: str) -> bytes:
        if name not in self._contents:
            frame = decode((DEMO / f"{name}.webp").read_bytes()).frame
            small = cv2.resize(frame, (256, 256), interpolation=cv2.INTER_AREA)
            self._contents[name] = encode(np.asarray(small, np.uint8), "image/webp")
        return self._contents[name]

    def picture(self, name: str) -> Picture:
        return decode(self.content(name))

    def face(self, name: str) -> Face:
        if name not in self._faces:
            (self._faces[name],) = self.analyser.analyse(self.picture(name).frame)
        return self._faces[name]

    def admit(self, name: str, purpose: Purpose = "evaluation") -> AdmittedPicture:
        content = self.content(name)
        row = rendered_row(content, f"{name}.webp", set_name="demo", person="persona:demo")
        return DataLedger([row]).admit(content, name, purpose=purpose, now=WHEN)

    def pair(self, source: str, target: str) -> LedgerPair:
        faces = self.face(source), self.face(target)
        return LedgerPair(self.admit(source), self.admit(target), *faces)


@pytest.fixture(scope="session")
def people() -> People:
    return People()


@pytest.fixture(scope="session")
def layers(people: People) -> Layers:
    """Persona 1 laid out on persona 2, with all of the source's shape."""
    return lay_out(people.pair("persona1_0", "persona2_0"), 1.0)


SCENES = {
    # Two people in the part to train on, two to validate on, one of them and a test person.
    "s0": (1, 2, "persona1_0", "persona2_1"),
    "s1": (2, 1, "persona2_0", "persona1_1"),
    "s2": (8, 18, "persona3_0", "persona4_1"),
    "s3": (18, 8, "persona4_0", "persona3_1"),
    "s4": (9, 1, "persona5_0", "persona6_0"),
}


@pytest.fixture(scope="session")
def personas(people: People, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like `personas`: an index, and two pictures of each scene. Not to be written to."""
    folder = tmp_path_factory.mktemp("made") / "personas"
    (folder / "images").mkdir(parents=True)
    lines = []
    for scene, (target, source, *names) in SCENES.items():
        told = {"scene": scene, "target_persona": target, "source_persona": source, "yaw": 0.1}
        lines.append(json.dumps(told | {"light": "any"}))
        for part, name in zip(("target", "swap"), names, strict=True):
            (folder / "images" / f"{scene}_{part}.webp").write_bytes(people.content(name))
    (folder / "index.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def persona_rows(personas: Path) -> tuple[LedgerRow, ...]:
    """The rows of that folder's pictures in a data ledger."""
    return tuple(
        rendered_row(path.read_bytes(), path.name, set_name="personas", person="persona:1")
        for path in sorted((personas / "images").iterdir())
    )


@pytest.fixture(scope="session")
def tiny_preset() -> Preset:
    """A run of six steps of a network of a few thousand weights."""
    from generator.presets import Preset  # noqa: PLC0415
    from generator.stylemix import StyleMixShape  # noqa: PLC0415

    shape = StyleMixShape(
        widths=(8, 8, 8), mid_blocks=1, inject_at=(16, 32), code_dim=8, tag_dim=4, patch=2
    )
    return Preset(
        shape=shape,
        device="cpu",
        batch=2,
        steps=6,
        judged=1,
        variants=1,
        report_every=2,
        ema_decay=0.5,
    )


@pytest.fixture(scope="session")
def tiny_net(tiny_preset: Preset) -> StyleMixNet:
    """That network away from its start, so that its heads change something. Not to be trained."""
    import torch  # noqa: PLC0415

    from generator.stylemix import StyleMixNet  # noqa: PLC0415

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(5)
        net = StyleMixNet(tiny_preset.shape)
        for value in net.parameters():
            value.add_(0.05 * torch.randn(value.shape))
    return net.eval()


@pytest.fixture(scope="session")
def tiny_models(
    tiny_net: StyleMixNet, tiny_preset: Preset, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """That network as it is shipped: graph, safetensors and card. Not to be written to."""
    from generator.ship import Trained, ship  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("models")
    row = rendered_row(b"picture", "a.webp", set_name="demo", person="persona:1")
    figures = dict.fromkeys(
        ("progress", "geo_progress", "margin", "geo_margin", "label_margin", "kid"), 0.25
    )
    measured = {"forward": {"n": 3, **figures}, "reverse": {"n": 2, **figures}}
    trained = Trained(tiny_net, tiny_preset, (row,), "release_training", measured)
    ship(trained, folder, now=WHEN, code="abc123")
    return folder


@pytest.fixture(scope="session")
def sample_set() -> SampleSet:
    """Two samples of each kind: smooth random squares, meshes where they belong, one unknown."""
    import torch  # noqa: PLC0415

    from generator.samples import SampleSet  # noqa: PLC0415

    rng = torch.Generator().manual_seed(3)
    n, side = 6, 128
    small = torch.rand((5 * n, 3, 8, 8), generator=rng)
    smooth = torch.nn.functional.interpolate(small, (side, side), mode="bilinear")
    pictures = (smooth.view(n, 5, 3, side, side).permute(0, 1, 3, 4, 2) * 255).to(torch.uint8)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    disc = np.clip((36 - np.hypot(x, y)) / 4, 0, 1)
    mesh = load_topology().neutral * [60, 60, 60] + [120, 120, 0]
    places = torch.from_numpy(frame_square(mesh, (256, 256)).place(mesh)).repeat(n, 1, 1)
    labels = places + torch.tensor([2.0, -1.0])
    labels[-1] = float("nan")
    tensors = {
        "pictures": pictures.contiguous(),
        "mask": torch.from_numpy((disc * 255).astype(np.uint8)).repeat(n, 1, 1),
        "label_points": labels,
        "composite_points": places.clone(),
        "id_source": torch.randn((n, 128), generator=rng) * 0.1,
        "id_target": torch.randn((n, 128), generator=rng) * 0.1,
        "kind": torch.tensor([0, 1, 2, 0, 1, 2]),
    }
    row = rendered_row(b"picture", "a.webp", set_name="demo", person="persona:1")
    return SampleSet(tensors, (row,))
