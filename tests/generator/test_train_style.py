"""The style network's training learns, goes on to the bit, and leaves what its card needs."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from generator import train_style
from generator.network_run import CHECKPOINT
from generator.style_samples import (
    Sample,
    SampleSet,
    build_samples,
    cut_sample,
    mark_regions,
    stack,
    whole,
)
from generator.topology import load_topology
from generator.train_style import PRESETS, Preset, Run, main, train
from generator.weights import load_card
from provenance.data_ledger import rendered_row
from provenance.watermark.learned.errors import TrainingRefused, TrainingStopped

NOW = datetime(2026, 11, 21, tzinfo=UTC)
SMALL = replace(PRESETS["smoke"], batch=1, crop_px=64, whole_every=99, watched=0)
ROW = rendered_row(b"", "demo/persona1_0.webp", set_name="demo", person="persona:demo-1")


def sample(seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    picture = rng.normal(128, 30, (256, 256, 3)).clip(0, 255).astype(np.uint8)
    points = (load_topology().neutral[:, :2] * 70 + 128).astype(np.float32)
    return Sample(picture, mark_regions(points), points)


SAMPLES = SampleSet((sample(0), sample(1)), (ROW,))


@pytest.fixture(scope="module")
def judges() -> Any:
    run = Run(SMALL, SAMPLES, SAMPLES)
    return run.judge, run.landmarks, run.studied


@pytest.fixture
def new_run(judges: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`new_run(...)`: a small run; the nets that judge are read once for all of them."""
    judge, landmarks, studied = judges
    monkeypatch.setattr(train_style, "StyleJudge", lambda: judge)
    monkeypatch.setattr(train_style, "LandmarkJudge", lambda: landmarks)
    monkeypatch.setattr(judge, "study", lambda _pictures: studied)
    monkeypatch.setattr("generator.scalars.find_spec", lambda name: None)
    return lambda **changed: Run(replace(SMALL, **changed), SAMPLES, SAMPLES)


def test_resumed_is_as_never_stopped_to_the_bit(new_run: Any, tmp_path: Path) -> None:
    through, halted = new_run(steps=4), new_run(steps=4)
    for _ in range(4):
        through.step()
    for _ in range(2):
        halted.step()
    halted.save(tmp_path / CHECKPOINT)
    resumed = new_run(steps=4)
    resumed.resume(tmp_path / CHECKPOINT)
    while resumed.done < 4:
        resumed.step()
    for ours, theirs in ((through.net, resumed.net), (through.averages, resumed.averages)):
        pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    assert torch.equal(through.rng.get_state(), resumed.rng.get_state())


def test_a_checkpoint_of_other_settings_is_refused(new_run: Any, tmp_path: Path) -> None:
    new_run().save(tmp_path / CHECKPOINT)
    new_run(steps=99).resume(tmp_path / CHECKPOINT)  # a run may be made longer
    with pytest.raises(TrainingRefused, match="other settings"):
        new_run(learning_rate=1e-4).resume(tmp_path / CHECKPOINT)


def test_learning_lowers_the_loss(new_run: Any) -> None:
    run = new_run(steps=40, crop_px=64, learning_rate=2e-3)
    losses = [run.step()["texture"] for _ in range(40)]
    assert np.median(losses[-12:]) < 0.95 * np.median(losses[:12])


def test_a_whole_square_is_also_looked_at_by_the_nets(new_run: Any, tmp_path: Path) -> None:
    run, rows = new_run(steps=2, whole_every=2, watched=1), list[dict[str, Any]]()
    first = run.step()
    assert not {"landmarks", "content", "statistics"} & set(first)
    train(run, tmp_path, clock=lambda: 0.0, show=lambda row: rows.append(json.loads(row)))
    (row,) = rows
    assert {"landmarks", "content", "statistics"} < set(row)
    for mode in ("adain", "iast"):
        assert row[mode]["n"] == 1
        assert np.isfinite(list(row[mode].values())).all()
    assert row["adain"]["alpha_skin"] == 1.0
    assert row["iast"]["alpha_skin"] < 1.0
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 1


def test_alpha_is_left_alone_until_drawings_are_worth_taking(new_run: Any) -> None:
    run = new_run(steps=2, plain=1, batch=2)
    run.step()
    grad = run.net.fusion.weigh.weight.grad
    assert grad is not None
    assert not grad.any()
    run.step()
    assert run.net.fusion.weigh.weight.grad.any()


def test_a_loss_that_is_no_number_stops_the_run(new_run: Any) -> None:
    run = new_run()
    torch.nn.init.constant_(run.net.head.weight, float("nan"))
    with pytest.raises(TrainingStopped, match="step 0"):
        run.step()


def test_without_samples_there_is_no_run() -> None:
    with pytest.raises(TrainingRefused):
        SampleSet((), ())


def test_samples_are_admitted_pictures_with_one_face(people: Any, tmp_path: Path) -> None:
    rows, files = [], []
    for name in ("persona1_0", "persona6_0"):
        path = tmp_path / f"{name}.webp"
        path.write_bytes(people.content(name))
        number = name[7]
        row = rendered_row(
            people.content(name),
            f"demo/{name}.webp",
            set_name="demo",
            person=f"persona:demo-{number}",
        )
        rows.append(row)
        files.append((path, row))
    for part, row in (("train", rows[0]), ("validation", rows[1])):
        built = build_samples(
            files,
            part,
            people.analyser,
            purpose="release_training",
            now=NOW,  # type: ignore[arg-type]
        )
        assert built.rows == (row,)
        (one,) = built.samples
        assert one.picture.shape == (256, 256, 3)
        eyes, lips, brows, skin = (one.regions[..., k].astype(float).sum() for k in range(4))
        assert skin > eyes + lips + brows > 0


def test_a_square_is_cut_as_at_a_request(people: Any) -> None:
    frame, mesh = people.picture("persona1_0").frame, people.face("persona1_0").mesh
    made = cut_sample(frame, mesh)
    assert (made.points > 0).all()
    assert (made.points < 256).all()


def test_batches_follow_their_seed_and_are_in_one_style() -> None:
    first, again = (SAMPLES.draw(3, 64, 8, seed=5) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert first.content.shape == (3, 3, 64, 64)
    assert first.regions.shape == (3, 4, 64, 64)
    assert len(set(first.styles.tolist())) == 1
    uncut = stack([whole(SAMPLES.samples[0])], np.array([2]))
    assert uncut.content.shape == (1, 3, 256, 256)
    assert -1 <= uncut.content.min() < uncut.content.max() <= 1
    assert not torch.equal(first.content, SAMPLES.draw(3, 64, 8, seed=6).content)


@pytest.fixture
def built(new_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_style, "list_files", lambda split: [])
    monkeypatch.setattr(train_style, "open_analyser", lambda: None)
    monkeypatch.setattr(train_style, "build_samples", lambda *a, **k: SAMPLES)
    tiny = Preset(steps=1, batch=1, crop_px=64, watched=1)
    monkeypatch.setattr(train_style, "PRESETS", {"tiny": tiny})


def test_the_command_trains_goes_on_and_ships(
    built: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--preset", "tiny", "--out", str(tmp_path / "run"), "--release"]
    assert main(out) == 0
    assert main([*out, "--steps", "2", "--export", str(tmp_path / "models")]) == 0
    assert "going on at step 1" in capsys.readouterr().out
    card = load_card("stylise", tmp_path / "models")
    assert card.run is not None
    assert card.run.steps == 2
    assert set(json.loads(card.run.preset)["styles"]) >= {"ink", "riso"}
    assert (tmp_path / "run" / "ledger.jsonl").read_bytes()


def test_what_is_not_for_release_is_said(
    built: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--preset", "tiny", "--out", str(tmp_path / "run"), "--export", str(tmp_path / "m")]
    assert main(out) == 1
    assert "not admitted" in capsys.readouterr().err
