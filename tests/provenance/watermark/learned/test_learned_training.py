"""A short training learns, goes on to the bit, stops when it should and exports what it learned."""

from __future__ import annotations

import json
import math
import runpy
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file

from policies.digest import sha256_hex
from provenance.data_ledger import LedgerRow
from provenance.watermark import train as script
from provenance.watermark.learned.attacks import ATTACKS, to_luma
from provenance.watermark.learned.card import load_card
from provenance.watermark.learned.data import TrainingSet
from provenance.watermark.learned.errors import (
    MarkWeightsRefused,
    TrainingRefused,
    TrainingStopped,
)
from provenance.watermark.learned.export import export_mark
from provenance.watermark.learned.network import MarkNetworks, NetworkShape
from provenance.watermark.learned.presets import PRESETS, Preset, plan
from provenance.watermark.train import CHECKPOINT, Run, train

DEMO = Path(__file__).parents[4] / "docs" / "demo"
TOY = Preset(
    shape=NetworkShape(side_px=64, bits=3, encoder_width=2, reader_width=2),
    device="cpu",
    batch=2,
    learning_rate=1e-3,
    steps=6,
    report_every=2,
    report_batches=1,
)


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Toys learn nothing in a few steps; let them finish."""
    monkeypatch.setattr(script, "STALLED", 0.0)


def weights(run: Run) -> list[torch.Tensor]:
    return [*run.networks.state_dict().values(), *run.averages.state_dict().values()]


def test_a_few_steps_lower_the_loss_and_read_bits(demo_set: TrainingSet) -> None:
    shape = NetworkShape(side_px=64, bits=3, encoder_width=8, reader_width=8)
    preset = replace(PRESETS["smoke"], shape=shape, steps=210, ema_decay=0.9, report_batches=8)
    run = Run(preset, demo_set)
    before = run.measure()["accuracy"]["none"]
    losses = [run.step() for _ in range(61)]
    assert run.progress <= 0.3, "this is the first stage, without attacks"
    after = run.measure()
    assert abs(before - 0.5) < 0.15
    assert after["accuracy"]["none"] > 0.65, "64 messages of 3 bits: chance is 0.5 +- 0.04"
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.1
    assert after["psnr_db"] == pytest.approx(30.0, abs=0.3)
    assert set(after["accuracy"]) == set(ATTACKS)


def test_going_on_is_the_same_as_never_having_stopped(
    demo_set: TrainingSet, tmp_path: Path, lenient: None
) -> None:
    whole, first, second = (Run(TOY, demo_set) for _ in range(3))
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    train(whole, tmp_path / "whole", clock=lambda: 0.0, show=lambda _: None)

    def pull_the_plug(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(first, tmp_path / "parts", clock=lambda: 0.0, show=pull_the_plug)
    second.resume(tmp_path / "parts")
    assert second.done == 2
    train(second, tmp_path / "parts", clock=lambda: 0.0, show=lambda _: None)
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(second), strict=True))
    rows = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "parts")]
    assert rows[0] == rows[1]
    files = [load_file(tmp_path / name / CHECKPOINT) for name in ("whole", "parts")]
    assert files[0].keys() == files[1].keys()
    assert all(torch.equal(files[0][key], files[1][key]) for key in files[0])


def test_another_seed_is_another_run(demo_set: TrainingSet) -> None:
    one, other = Run(TOY, demo_set), Run(replace(TOY, seed=1), demo_set)
    assert not all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def test_making_a_run_leaves_the_random_source_of_others_alone(demo_set: TrainingSet) -> None:
    before = torch.random.get_rng_state()
    Run(TOY, demo_set)
    assert torch.equal(before, torch.random.get_rng_state())


def test_metrics_are_one_json_line_for_each_report(
    demo_set: TrainingSet, tmp_path: Path, lenient: None
) -> None:
    shown: list[str] = []
    ticks = iter(range(100))
    train(
        Run(replace(TOY, steps=5), demo_set), tmp_path, clock=lambda: next(ticks), show=shown.append
    )
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 5]
    assert [row["seconds"] for row in rows] == [2, 4, 5]
    assert [json.loads(line) for line in shown] == rows
    assert rows[-1]["psnr_db"] == pytest.approx(42.0, abs=0.5)


def test_a_run_by_the_clock_ends_by_the_clock(
    demo_set: TrainingSet, tmp_path: Path, lenient: None
) -> None:
    run = Run(replace(TOY, steps=0, minutes=1.0), demo_set)
    times = iter([0.0, 25.0, 25.0, 50.0, 50.0, 75.0])
    train(run, tmp_path, clock=lambda: next(times), show=lambda _: None)
    assert run.done == 3
    longer = Run(replace(TOY, steps=0, minutes=2.0), demo_set)
    longer.resume(tmp_path)
    assert longer.progress == pytest.approx(75 / 120), "a run may be made longer"


def test_half_precision_and_compilation_are_asked_for(
    demo_set: TrainingSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def note(module: torch.nn.Module, *, disable: bool) -> torch.nn.Module:
        asked.append(disable)
        return module

    monkeypatch.setattr(torch, "compile", note)
    run = Run(replace(TOY, bf16=True, compiled=True, layout="channels_last"), demo_set)
    assert asked == [False, False]
    assert math.isfinite(run.step())
    assert {value.dtype for value in run.networks.state_dict().values()} == {torch.float32}
    assert run.networks.reader.stages[0].weight.is_contiguous(memory_format=torch.channels_last)
    Run(TOY, demo_set)
    assert asked[2:] == [True, True]


def test_the_curriculum_goes_from_bits_to_geometry_to_codecs() -> None:
    stages = {at: plan(at, TOY) for at in (0.0, 0.3, 0.45, 0.6, 0.75, 0.9, 1.0)}
    assert (stages[0.0].geometry, stages[0.0].codecs, stages[0.0].psnr_db) == (0, 0, 30)
    assert (stages[0.3].geometry, stages[0.3].codecs, stages[0.3].psnr_db) == (0, 0, 30)
    assert 0 < stages[0.45].geometry < 1
    assert stages[0.45].codecs == 0
    assert stages[0.6].geometry == pytest.approx(1)
    assert 0 < stages[0.75].codecs < 1
    assert (stages[0.9].codecs, stages[0.9].psnr_db) == (1, 42)
    louder = [stage.psnr_db for stage in stages.values()]
    assert louder == sorted(louder)
    assert 0 < stages[0.0].rate < stages[0.3].rate
    assert 0 < stages[1.0].rate < stages[0.9].rate


@pytest.mark.parametrize("worth", [math.nan, math.inf, 11.0])
def test_a_run_that_diverges_is_stopped_before_it_spoils_its_weights(
    worth: float, demo_set: TrainingSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(TOY, demo_set)
    before = [value.clone() for value in weights(run)]
    monkeypatch.setattr(script, "mark_loss", lambda logits, *_: logits.sum() * 0 + worth)
    with pytest.raises(TrainingStopped, match="at step 0"):
        run.step()
    assert all(torch.equal(a, b) for a, b in zip(before, weights(run), strict=True))


def test_a_run_that_reads_nothing_without_attack_is_stopped(
    demo_set: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "measure_accuracy", lambda *_: 0.52)
    run = Run(replace(TOY, steps=20), demo_set)
    with pytest.raises(TrainingStopped, match=r"52\.0% of the bits"):
        train(run, tmp_path, clock=lambda: 0.0, show=lambda _: None)
    assert run.done == 6, "not before the attacks begin"


def test_no_cuda_device_is_said_at_once(
    demo_set: TrainingSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingRefused, match="no CUDA device"):
        Run(PRESETS["cuda"], demo_set)


def test_the_checkpoint_of_another_run_is_refused(demo_set: TrainingSet, tmp_path: Path) -> None:
    Run(TOY, demo_set).save(tmp_path)
    with pytest.raises(TrainingRefused, match="other settings or pictures"):
        Run(replace(TOY, batch=3), demo_set).resume(tmp_path)
    fewer = replace(demo_set, rows=demo_set.rows[:-1])
    with pytest.raises(TrainingRefused, match="other settings or pictures"):
        Run(TOY, fewer).resume(tmp_path)


def _no_metadata(path: Path) -> None:
    save_file({"a": torch.zeros(1)}, path)


def _no_state(path: Path) -> None:
    save_file({"a": torch.zeros(1)}, path, metadata={"state": "not json"})


def _odd_state(path: Path) -> None:
    save_file({"a": torch.zeros(1)}, path, metadata={"state": "5"})


@pytest.mark.parametrize(
    "spoil",
    [
        Path.unlink,
        lambda path: path.write_bytes(b"\x80\x04pickle"),
        _no_metadata,
        _no_state,
        _odd_state,
    ],
    ids=["missing", "a pickle", "no metadata", "no state", "odd state"],
)
def test_what_is_not_a_checkpoint_is_refused(
    spoil: Callable[[Path], object], demo_set: TrainingSet, tmp_path: Path
) -> None:
    run = Run(TOY, demo_set)
    run.save(tmp_path)
    spoil(tmp_path / CHECKPOINT)
    with pytest.raises(TrainingRefused, match="not a checkpoint"):
        run.resume(tmp_path)


def export(training: TrainingSet, folder: Path) -> MarkNetworks:
    run = Run(TOY, training)
    export_mark(run.averages, TOY, training, run.measure(), folder)
    return run.averages


def test_the_graphs_answer_as_the_networks_do(demo_set: TrainingSet, tmp_path: Path) -> None:
    networks = export(demo_set, tmp_path / "new")
    luma = to_luma(demo_set.pictures[:5, :, :64, :64].float() / 255)
    message = torch.tensor([[0.0, 1.0, 1.0]]).repeat(5, 1)
    with torch.no_grad():
        wanted = {
            "encoder": networks.encoder(luma, message).numpy(),
            "reader": networks.reader(luma).numpy(),
        }
    feed = {"luma": luma.numpy(), "message": message.numpy()}
    for name, values in wanted.items():
        session = onnxruntime.InferenceSession(tmp_path / "new" / f"learned-{name}.onnx")
        names = [one.name for one in session.get_inputs()]
        (answer,) = session.run(None, {key: feed[key] for key in names})
        assert float(np.abs(answer - values).max()) < 1e-4


def test_the_card_tells_what_was_exported(demo_set: TrainingSet, tmp_path: Path) -> None:
    export(demo_set, tmp_path)
    card = load_card(tmp_path)
    assert (card.bits, card.input.side_px, card.psnr_db) == (3, 64, 42.0)
    for entry in (card.encoder, card.reader):
        content = (tmp_path / entry.file).read_bytes()
        assert (entry.sha256, entry.bytes) == (sha256_hex(content), len(content))
    assert card.training.ledger_sha256 == sha256_hex(demo_set.ledger)
    assert (card.training.sets, card.training.pictures) == (("demo",), len(demo_set.pictures))
    assert (card.training.licences, card.training.release) == (("CC0-1.0",), True)
    assert set(card.measured) == {"psnr_db", "ssim", "n", *ATTACKS}
    assert card.known_failures


def test_a_graph_that_answers_otherwise_is_not_exported(
    demo_set: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provenance.watermark.learned.export.TOLERANCE", -1.0)
    with pytest.raises(MarkWeightsRefused, match="residual differs"):
        export(demo_set, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lenient: None
) -> Callable[..., tuple[int, Path]]:
    """`command(*options)`: the command with a toy preset and demo people; its code and folder."""
    monkeypatch.setattr(script, "PRESETS", MappingProxyType({"toy": TOY}))
    root = tmp_path / "checkout"
    (root / "docs" / "demo").mkdir(parents=True)
    shutil.copy(DEMO / "persona1_0.webp", root / "docs" / "demo")
    monkeypatch.setattr(script, "ROOT", root)

    def run(*options: object) -> tuple[int, Path]:
        out = tmp_path / "run"
        return script.main(["--preset", "toy", "--out", str(out), *map(str, options)]), out

    return run


def test_the_command_trains_exports_and_goes_on(
    command: Callable[..., tuple[int, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = command("--steps", 2, "--seed", 3)
    assert code == 0
    assert json.loads(capsys.readouterr().out)["step"] == 2
    assert len((out / "ledger.jsonl").read_text().splitlines()) == 1
    assert sorted(path.name for path in out.iterdir()) == [
        *(CHECKPOINT, "ledger.jsonl", "metrics.jsonl"),
    ]
    code, _ = command("--steps", 3, "--seed", 3, "--export", tmp_path / "mark")
    assert code == 0
    assert json.loads(capsys.readouterr().out)["step"] == 3
    assert load_card(tmp_path / "mark").training.sets == ("demo",)


def test_the_command_asks_the_ledger(
    command: Callable[..., tuple[int, Path]],
    row_of: Callable[..., LedgerRow],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = DEMO / "persona3_0.webp"
    (tmp_path / "mine").mkdir()
    shutil.copy(file, tmp_path / "mine")
    ledger = tmp_path / "ledger.jsonl"
    row = row_of(file, training_of_released_models=False, consent_id="deed-7")
    ledger.write_text(row.model_dump_json())
    options: list[Any] = ["--steps", 1, "--pictures", tmp_path / "mine", "--ledger"]
    assert command(*options, tmp_path / "none.jsonl")[0] == 1
    assert "cannot read" in capsys.readouterr().err
    assert command(*options, ledger, "--release")[0] == 1
    assert "may not be used for weights that are released" in capsys.readouterr().err
    assert command(*options, ledger, "--withdrawn", "deed-7")[0] == 1
    assert "was withdrawn" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert command(*options, ledger)[0] == 0


def test_the_module_is_a_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train", "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(script.__file__, run_name="__main__")
    assert "python -m provenance.watermark.train" in capsys.readouterr().out
