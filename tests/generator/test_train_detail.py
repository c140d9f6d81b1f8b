"""MDRN's training learns, goes on to the bit, and leaves what its card needs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from generator import train_detail
from generator.detail import SIDE_PX
from generator.detail_samples import KINDS, Kind, Sample, SampleSet
from generator.network_run import CHECKPOINT
from generator.train_detail import (
    PRESETS,
    Preset,
    Run,
    coherences,
    detail_losses,
    list_files,
    main,
    train,
)
from generator.weights import load_card
from provenance.data_ledger import rendered_row
from provenance.watermark.learned.errors import TrainingRefused, TrainingStopped

SMOKE = PRESETS["smoke"]


def sample(kind: Kind, seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    label = rng.normal(128, 30, (SIDE_PX, SIDE_PX, 3)).clip(0, 255).astype(np.uint8)
    points = rng.uniform(60, 200, (468, 2)).astype(np.float32)
    mask = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    mask[40:216, 40:216] = 255
    return Sample(label, label[::-1].copy(), mask, points, kind, "persona:1")


ROW = rendered_row(b"", "demo/persona1_0.webp", set_name="demo", person="persona:demo-1")
SAMPLES = SampleSet(tuple(sample(kind, k) for k, kind in enumerate(KINDS)), (ROW,))


def new_run(**changed: object) -> Run:
    return Run(replace(SMOKE, **changed), SAMPLES, SAMPLES)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _no_board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generator.scalars.find_spec", lambda name: None)


def go(run: Run, folder: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    train(run, folder, clock=lambda: 0.0, show=lambda row: rows.append(json.loads(row)))
    return rows


def test_resumed_is_as_never_stopped_to_the_bit(tmp_path: Path) -> None:
    through = new_run(steps=5)
    for _ in range(5):
        through.step()
    halted = new_run(steps=5)
    for _ in range(3):
        halted.step()
    halted.save(tmp_path / CHECKPOINT)
    resumed = new_run(steps=5)
    resumed.resume(tmp_path / CHECKPOINT)
    while resumed.done < 5:
        resumed.step()
    for ours, theirs in ((through.net, resumed.net), (through.averages, resumed.averages)):
        pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    assert torch.equal(through.rng.get_state(), resumed.rng.get_state())


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    new_run().save(tmp_path / CHECKPOINT)
    new_run(steps=99).resume(tmp_path / CHECKPOINT)  # a run may be made longer
    with pytest.raises(TrainingRefused, match="other settings"):
        new_run(learning_rate=1e-4).resume(tmp_path / CHECKPOINT)


def test_a_run_leaves_metrics_and_a_checkpoint(tmp_path: Path) -> None:
    run = new_run(steps=3, report_every=2, crop_px=32, whole_every=99)
    rows = go(run, tmp_path)
    assert [row["step"] for row in rows] == [2, 3]
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 2
    assert set(KINDS) < set(rows[0])
    again = new_run(steps=3, report_every=2, crop_px=32, whole_every=99)
    again.resume(tmp_path / CHECKPOINT)
    assert again.done == 3


def test_a_report_tells_before_from_after() -> None:
    run = new_run()
    before = run.report()
    assert before["view"]["before"] == before["view"]["after"]
    torch.nn.init.normal_(run.averages.head.weight)
    after = run.report()
    assert after["view"]["before"] == before["view"]["before"]
    assert after["view"]["after"] != before["view"]["after"]
    assert set(after["view"]["after"]) == {"level1", "level2", "level3"}


def test_a_report_leaves_out_kinds_that_are_not_there() -> None:
    lone = SampleSet((sample("swap", 0),), ())
    assert set(Run(SMOKE, SAMPLES, lone).report()) == {"swap"}


def test_learning_lowers_the_loss() -> None:
    run = new_run(steps=60, batch=1, crop_px=32, whole_every=99, learning_rate=3e-3)
    losses = [run.step()["loss"] for _ in range(60)]
    assert np.mean(losses[-15:]) < 0.97 * np.mean(losses[:15])


def test_a_loss_that_is_no_number_stops_the_run() -> None:
    run = new_run(crop_px=32)
    torch.nn.init.constant_(run.net.head.weight, float("nan"))
    with pytest.raises(TrainingStopped, match="step 0"):
        run.step()


def test_whole_squares_come_every_so_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    run, sides = new_run(whole_every=3, whole_batch=1), []

    def forward(batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        sides.append(batch[0].shape)
        flat = torch.zeros(1, 3, 8, 8, requires_grad=True)
        return flat, torch.zeros(1, 3, 8, 8), torch.ones(1, 1, 8, 8)

    monkeypatch.setattr(run, "_forward", forward)
    for _ in range(3):
        run.step()
    crop = (SMOKE.batch, 3, SMOKE.crop_px, SMOKE.crop_px)
    assert sides == [crop, crop, (1, 3, SIDE_PX, SIDE_PX)]


def pictures() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, 32, 32, generator=rng), torch.ones(2, 1, 32, 32)


def test_the_right_answer_costs_nothing() -> None:
    label, mask = pictures()
    assert all(abs(float(loss)) < 1e-6 for loss in detail_losses(label, label, mask).values())
    assert coherences(label, label, mask) == pytest.approx([1, 1, 1])


def test_coherence_does_not_ask_how_strong() -> None:
    label, mask = pictures()
    assert coherences(0.3 * label, label, mask) == pytest.approx([1, 1, 1])
    assert coherences(-label, label, mask) == pytest.approx([-1, -1, -1])
    assert coherences(torch.zeros_like(label), label, mask) == [0, 0, 0]


def test_losses_look_only_where_the_mask_is() -> None:
    label, mask = pictures()
    mask[..., 16:] = 0
    wrong = label.clone()
    wrong[..., 16:] = 9
    assert all(abs(float(loss)) < 1e-6 for loss in detail_losses(wrong, label, mask).values())
    nowhere = detail_losses(wrong, label, torch.zeros_like(mask))
    assert all(np.isfinite(float(loss)) for loss in nowhere.values())


def test_files_are_the_split_and_the_stills_of_the_demo_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(train_detail, "list_rendered", lambda *given: asked.append(given) or [])
    monkeypatch.setattr(train_detail, "ROOT", tmp_path)
    folder = tmp_path / "docs" / "demo"
    (folder / "clip1").mkdir(parents=True)
    for name in ("persona3_1.webp", "clip1/f000.webp"):
        (folder / name).write_bytes(name.encode())
    ((path, row),) = list_files("train")
    assert asked == [(tmp_path, "train")]
    assert (path.name, row.person, row.set) == ("persona3_1.webp", "persona:demo-3", "demo")


def test_no_folder_can_be_named_whose_pictures_would_pass_for_renders(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["--preset", "smoke", "--out", "run", "--demo", "photographs"])
    assert "--demo" in capsys.readouterr().err


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_detail, "list_files", lambda split: [])
    monkeypatch.setattr(train_detail, "open_analyser", lambda: None)
    monkeypatch.setattr(train_detail, "build_samples", lambda *a, **k: SAMPLES)
    tiny = Preset(steps=1, batch=1, crop_px=32, watched=0)
    monkeypatch.setattr(train_detail, "PRESETS", {"tiny": tiny})


@pytest.mark.usefixtures("built")
def test_the_command_trains_goes_on_and_exports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    given = ["--preset", "tiny", "--out", str(out), "--threads", "1"]
    assert main(given) == 0
    assert {path.name for path in out.iterdir()} == {CHECKPOINT, "metrics.jsonl", "ledger.jsonl"}
    more = ["--steps", "2", "--release", "--code", "abc", "--export", str(tmp_path)]
    assert main([*given, *more]) == 0
    card = load_card("mdrn", tmp_path)
    assert card.run is not None
    assert (card.run.steps, card.run.code) == (2, "abc")
    said = capsys.readouterr().out
    assert "going on at step 1" in said
    assert card.sha256 in said


@pytest.mark.usefixtures("built")
def test_the_command_says_what_was_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"nonsense")
    assert main(["--preset", "tiny", "--out", str(tmp_path)]) == 1
    assert "not a checkpoint" in capsys.readouterr().err
