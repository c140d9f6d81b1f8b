"""What MDRN learns from: admitted pictures only, guides that are not the answer, fixed choices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from generator.detail import SIDE_PX
from generator.detail_samples import (
    KINDS,
    Kind,
    Sample,
    SampleSet,
    build_samples,
    degrade,
)
from generator.faces import Face
from generator.ledger_pair import LedgerPair
from generator.swapper import OutOfRange
from generator.topology import load_topology
from provenance.data_ledger import DataRefused, LedgerRow, rendered_row
from provenance.media import encode
from provenance.watermark.learned.errors import TrainingRefused

NOW = datetime(2026, 11, 21, tzinfo=UTC)
SHARES: dict[Kind, float] = {"view": 1.0, "swap": 1.0, "scene": 2.0}
Files = list[tuple[Path, LedgerRow]]


def noise(seed: int, *shape: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def sample(kind: Kind, seed: int = 0) -> Sample:
    points = np.random.default_rng(seed).uniform(60, 200, (468, 2)).astype(np.float32)
    mask = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    mask[40:216, 40:216] = 255
    pictures = (noise(2 * seed + k, SIDE_PX, SIDE_PX, 3) for k in (0, 1))
    return Sample(*pictures, mask, points, kind, f"persona:{seed}")


@pytest.fixture
def samples() -> SampleSet:
    return SampleSet(tuple(sample(kind, k) for k, kind in enumerate([*KINDS, "scene"])), ())


def test_degrading_takes_detail_away_and_moves_nothing() -> None:
    picture = noise(1, 96, 96, 3).astype(np.float32)
    energies, shifts = [], []
    for seed in range(40):
        made = degrade(picture, np.random.default_rng(seed))
        assert made.shape == picture.shape
        assert made.dtype == np.float32
        energies.append(float(np.diff(made, axis=0).var() / np.diff(picture, axis=0).var()))
        inner = np.s_[8:-8, 8:-8]
        fits = [
            float((np.roll(made, by, 1)[inner] * (picture - picture.mean())[inner]).sum())
            for by in (-1, 0, 1)
        ]
        shifts.append(int(np.argmax(fits)) - 1)
    assert not any(shifts)
    assert 0 < sum(energy == 1.0 for energy in energies) < 12
    assert max(energy for energy in energies if energy != 1.0) < 0.6


def test_degrading_is_decided_by_its_random_source() -> None:
    picture = noise(1, 64, 64, 3).astype(np.float32)
    first, again, other = (degrade(picture, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_batch_is_decided_by_its_seed(samples: SampleSet) -> None:
    first, again, other = (samples.draw(4, 64, SHARES, seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.label, other.label)
    assert first.picture.shape == first.guide.shape == first.label.shape == (4, 3, 64, 64)
    assert first.mask.shape == (4, 1, 64, 64)


def test_outside_the_mask_a_batch_shows_the_label(samples: SampleSet) -> None:
    batch = samples.draw(12, 96, SHARES, 5)
    outside = (batch.mask == 0).expand_as(batch.label)
    assert outside.any()
    assert torch.equal(batch.picture[outside], batch.label[outside])
    assert not torch.equal(batch.picture, batch.label)
    assert float(batch.picture.min()) >= -1.5
    assert float(batch.mask.max()) == 1


def test_whole_squares_fit_in_too(samples: SampleSet) -> None:
    assert samples.draw(1, SIDE_PX, SHARES, 0).label.shape == (1, 3, SIDE_PX, SIDE_PX)


def test_scenes_are_learned_in_both_directions(samples: SampleSet) -> None:
    only: dict[Kind, float] = {"view": 0, "swap": 0, "scene": 1}
    lone = SampleSet((sample("scene"),), ())
    flat = lone.samples[0]
    flat.label[:], flat.guide[:] = 200, 50
    seen = {bool(lone.draw(1, 64, only, seed).label.mean() > 0) for seed in range(12)}
    assert seen == {True, False}


def test_shares_of_kinds_that_are_not_there_fall_to_the_others() -> None:
    lone = SampleSet((sample("swap"),), ())
    assert lone.draw(3, 64, SHARES, 0).label.shape[0] == 3


def test_validation_sees_every_sample_the_same_way_in_any_batch(samples: SampleSet) -> None:
    pairs = list(samples.whole("scene", 1))
    (both,) = samples.whole("scene", 2)
    assert len(pairs) == 2
    assert torch.equal(torch.cat([batch.picture for batch in pairs]), both.picture)
    label = both.label[0].permute(1, 2, 0).numpy() * 127.5 + 127.5
    assert np.allclose(label, samples.of("scene")[0].label, atol=1e-3)


def test_a_set_without_samples_is_refused() -> None:
    with pytest.raises(TrainingRefused):
        SampleSet((), ())


class OneFace:
    """Finds one face in every picture, or as many as a grey level is told to hold."""

    def __init__(self) -> None:
        self.faces: dict[int, int] = {}

    def analyse(self, frame: npt.NDArray[np.uint8]) -> list[Face]:
        face = Face(
            box=(8, 8, 88, 88), score=0.9, mesh=np.ones((468, 3), np.float32),
            iris=np.zeros((2, 5, 2), np.float32), pose=(0, 0, 0),
            id_vector=np.ones(8, np.float32),
        )  # fmt: skip
        return [face] * self.faces.get(int(frame[0, 0, 0]), 1)


@pytest.fixture
def laid(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Replaces `lay_out`: the target, and pictures brighter by one; remembers who was laid on whom.

    The person demo-5 cannot be laid on anybody.
    """
    pairs: list[tuple[str, str]] = []

    def lay_out(pair: LedgerPair, shape_blend: float) -> Any:
        pairs.append((pair.source.row.path, pair.target.row.path))
        if pair.source.row.person == "persona:demo-5":
            raise OutOfRange("the source's lid opening", measured=0, limit=1)
        own = pair.target.frame.astype(np.float32)
        mesh = load_topology().neutral.astype(np.float64) * 20 + [48, 48, 0]
        mask = np.zeros(own.shape[:2], np.float32)
        mask[20:70, 20:70] = 1
        return SimpleNamespace(
            target=own, warped=own + 1, composite=own + 2, mask=mask, mesh=mesh, own_mesh=mesh,
            origin=(0, 0),
        )  # fmt: skip

    monkeypatch.setattr("generator.detail_samples.lay_out", lay_out)
    return pairs


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., Files]:
    levels = iter(range(10, 250, 10))

    def make(*names: str) -> Files:
        made = []
        for name in names:
            content = encode(np.full((96, 96, 3), next(levels), np.uint8), "image/png")
            path = tmp_path / f"{name}.png"
            path.write_bytes(content)
            demo = name.startswith("persona")
            who = f"demo-{name[7]}" if demo else name[1:5].lstrip("0")
            who += "+7" if name.endswith("swap") else ""
            person, set_name = f"persona:{who}", "demo" if demo else "personas"
            place = f"{set_name}/{path.name}"
            row = rendered_row(content, place, set_name=set_name, person=person)
            made.append((path, row))
        return made

    return make


def build(files: Files, part: Any = "train", **changed: Any) -> SampleSet:
    given = {"purpose": "release_training", "now": NOW, "seed": 0, **changed}
    analyser = given.pop("analyser", OneFace())
    return build_samples(files, part, analyser, **given)


def test_views_swaps_and_scenes_are_laid_out(
    files: Callable[..., Files], laid: list[tuple[str, str]]
) -> None:
    given = files(
        "persona1_0", "persona1_1", "persona2_0", "persona5_0", "s0003_00_target", "s0003_00_swap"
    )
    made = build(given)
    assert Counter(s.kind for s in made.samples) == {"view": 2, "swap": 4, "scene": 1}
    assert {s.person for s in made.of("view")} == {"persona:demo-1"}
    assert made.of("scene")[0].person == "persona:3"
    assert len(made.rows) == 6
    inside = np.s_[120:130, 120:130]
    for kind, label, guide in (("view", 0, 1), ("swap", 2, 0)):
        for s in made.of(kind):  # type: ignore[arg-type]
            assert int(s.label[inside].mean()) % 10 == label
            assert int(s.guide[inside].mean()) % 10 == guide
    (scene,) = made.of("scene")
    assert (scene.guide[inside].mean(), scene.label[inside].mean()) == (50, 60)


def test_the_parts_share_no_demo_person(
    files: Callable[..., Files], laid: list[tuple[str, str]]
) -> None:
    given = files("persona1_0", "persona1_1", "persona6_0", "persona6_1", "persona7_0")
    parts = {part: {r.person for r in build(given, part).rows} for part in ("train", "validation")}
    assert parts == {
        "train": {"persona:demo-1"},
        "validation": {"persona:demo-6", "persona:demo-7"},
    }


def test_pictures_without_exactly_one_face_are_left_out(
    files: Callable[..., Files], laid: list[tuple[str, str]]
) -> None:
    analyser = OneFace()
    analyser.faces = {10: 0, 30: 2}
    given = files("persona1_0", "persona1_1", "persona1_2", "persona1_3")
    assert len(build(given, analyser=analyser).samples) == 2


def test_what_may_not_be_trained_on_is_refused(
    files: Callable[..., Files], laid: list[tuple[str, str]]
) -> None:
    given = files("persona1_0", "persona1_1")
    kept = [(p, r.model_copy(update={"training_of_released_models": False})) for p, r in given]
    with pytest.raises(DataRefused, match="released"):
        build(kept)
    assert build(kept, purpose="evaluation").samples
    given[0][0].write_bytes(given[1][0].read_bytes()[:-1])
    with pytest.raises(DataRefused, match="not in the data ledger"):
        build(given)
    assert laid


def test_the_order_of_files_does_not_matter(
    files: Callable[..., Files], laid: list[tuple[str, str]]
) -> None:
    given = files("persona1_0", "persona1_1", "persona2_0", "persona3_0")
    first, again = build(given), build(given[::-1])
    assert [s.person for s in first.samples] == [s.person for s in again.samples]
    assert all(
        np.array_equal(a.label, b.label) for a, b in zip(first.samples, again.samples, strict=True)
    )
