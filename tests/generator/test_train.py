"""A run goes on to the bit, stops when it should, and its command leaves weights that load."""

from __future__ import annotations

import json
import math
import pickle
import runpy
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from generator import train as script
from generator.export import round_to_half
from generator.presets import (
    ADVERSARY_FROM,
    IDENTITY_FIRST,
    IDENTITY_FROM,
    IDENTITY_FULL,
    IDENTITY_RAMP,
    PRESETS,
    UNLABELLED_FROM,
    WARM_UP,
    Preset,
    Weights,
    plan,
)
from generator.runtime import open_network
from generator.samples import SampleSet
from generator.stylemix import StyleMixNet, StyleMixShape
from generator.train import BEST, CHECKPOINT, Run, train
from generator.trained import Parent, load_stylemix
from provenance.data_ledger import LedgerRow, ledger_bytes, rendered_row
from provenance.watermark.learned.errors import TrainingRefused, TrainingStopped

Told = dict[str, float]
HEALTHY = {"n": 2, "progress": 0.5, "margin": 0.2, "geo_margin": 0.1}


@pytest.fixture(autouse=True)
def _no_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is ever pickled: whoever could read one would run what it says."""

    def refuse(*_given: object, **_named: object) -> None:
        raise AssertionError("pickled")

    for name in ("save", "load"):
        monkeypatch.setattr(torch, name, refuse)
    # Not its classes: torch derives its own from them where it is first compiled with.
    for name in ("load", "loads", "dump", "dumps"):
        monkeypatch.setattr(pickle, name, refuse)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of a healthy run, at once."""
    monkeypatch.setattr(Run, "report", lambda _: {"forward": dict(HEALTHY)})


@pytest.fixture
def make(sample_set: SampleSet, tiny_preset: Preset) -> Callable[..., Run]:
    """`make(steps=..., ...)`: a run of the tiny preset on the random samples."""
    return lambda **changes: Run(replace(tiny_preset, **changes), sample_set, sample_set)


def state_of(run: Run) -> dict[str, torch.Tensor]:
    """Every number that a run holds."""
    nets = {"net": run.net, "averages": run.averages, "adversary": run.adversary}
    found = {f"{n}/{k}": v for n, net in nets.items() for k, v in net.state_dict().items()}
    for name, optimiser in (("optimiser", run.optimiser), ("opponent", run.opponent)):
        for index, slots in optimiser.state_dict()["state"].items():
            found |= {f"{name}/{index}/{key}": torch.as_tensor(v) for key, v in slots.items()}
    return found | {"rng": run.rng.get_state()}


def same(first: Run, second: Run) -> bool:
    a, b = state_of(first), state_of(second)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


ALL = Weights(unlabelled=1.0, adversarial=1.0)


def test_going_on_is_the_same_as_never_having_stopped(
    make: Callable[..., Run], tmp_path: Path
) -> None:
    """Adversary and pairs without a label, which come in late, included."""
    whole, first, second = (make(weights=ALL) for _ in range(3))
    losses = [whole.step() for _ in range(6)]
    for _ in range(3):
        first.step()
    first.guard.strikes, first.best = 1, 0.25
    first.save(tmp_path / "kept")
    second.resume(tmp_path / "kept")
    assert (second.done, second.guard.strikes, second.best) == (3, 1, 0.25)
    assert [second.step() for _ in range(3)] == losses[3:]
    assert same(whole, second)
    assert not same(whole, first)
    assert {"unlabelled", "adversarial"} & losses[0].keys() == set(), "not at the beginning"
    assert {"unlabelled", "adversarial"} <= losses[-1].keys()
    assert all(math.isfinite(value) for row in losses for value in row.values())
    assert any(key.startswith("opponent/") for key in state_of(whole))
    assert (tmp_path / "kept").read_bytes()[8:9] == b"{", "safetensors: a length, then JSON"


def test_a_step_learns_and_the_averages_follow(make: Callable[..., Run]) -> None:
    run = make(batch=1)
    before = {key: value.clone() for key, value in state_of(run).items()}
    losses = run.step()
    after = state_of(run)
    named = ("pixel", "structure", "colour", "landmarks", "mask", "perceptual", "identity")
    assert set(losses) == {"loss", *named}
    weights = run.preset.weights
    total = sum(getattr(weights, name) * losses[name] for name in named if name != "identity")
    assert losses["loss"] == pytest.approx(total, rel=1e-4), "identity begins at nothing"
    head = "head.weight"
    assert not torch.equal(before[f"net/{head}"], after[f"net/{head}"])
    assert not torch.equal(before[f"averages/{head}"], after[f"averages/{head}"])
    assert torch.equal(before["adversary/layers.8.bias"], after["adversary/layers.8.bias"])
    assert torch.equal(run.net.id_mean, run.train.tensors["id_source"].mean(0))
    assert torch.equal(run.averages.id_mean, run.net.id_mean)


def test_the_seed_decides_and_others_random_source_is_left_alone(make: Callable[..., Run]) -> None:
    before = torch.random.get_rng_state()
    one, again, other = make(), make(), make(seed=1)
    assert torch.equal(before, torch.random.get_rng_state())
    assert same(one, again)
    assert not same(one, other)


def test_half_precision_leaves_weights_and_losses_whole(make: Callable[..., Run]) -> None:
    run = make(bf16=True, batch=1)
    assert all(math.isfinite(value) for value in run.step().values())
    assert {p.dtype for p in run.net.parameters()} == {torch.float32}


def test_a_teacher_is_learnt_from(
    sample_set: SampleSet, tiny_preset: Preset, tiny_net: StyleMixNet, make: Callable[..., Run],
    tiny_models: Path,
) -> None:  # fmt: skip
    parent = Parent("stylemix", "release_training", tiny_models)
    run = Run(replace(tiny_preset, batch=1), sample_set, sample_set, parent)
    assert run.step()["distilled"] > 0
    assert run.parents == (parent.sha256,)
    batch = run.train.take(torch.tensor([0]))
    with pytest.raises(TrainingRefused, match="no teacher"):
        make().distilled(batch, tiny_net(*batch[:1], batch.mask, batch.id_source, batch.id_target))


def test_a_run_begins_with_weights_and_names_them(
    sample_set: SampleSet, tiny_preset: Preset, tiny_models: Path, make: Callable[..., Run],
    tmp_path: Path,
) -> None:  # fmt: skip
    parent = Parent("stylemix", "release_training", tiny_models)
    run = Run(tiny_preset, sample_set, sample_set, start=parent)
    begun = parent.net.state_dict()
    for net in (run.net, run.averages):
        assert all(torch.equal(begun[name], value) for name, value in net.state_dict().items())
    assert (run.parents, run.inherited) == ((parent.sha256,), (parent.training,))
    run.save(tmp_path / "kept")
    with pytest.raises(TrainingRefused, match="other settings"):
        make().resume(tmp_path / "kept")


def test_checkpoints_of_other_runs_are_refused(
    make: Callable[..., Run], sample_set: SampleSet, tiny_preset: Preset, tmp_path: Path
) -> None:
    make().save(tmp_path / "kept")
    make(steps=99).resume(tmp_path / "kept")  # a run may be made longer
    fewer = SampleSet(sample_set.tensors, ())
    for other in (make(seed=1), make(batch=3), Run(tiny_preset, fewer, sample_set)):
        with pytest.raises(TrainingRefused, match="other settings or pictures"):
            other.resume(tmp_path / "kept")
    (tmp_path / "kept").write_bytes(b"\x80\x04pickle")
    with pytest.raises(TrainingRefused, match="not a checkpoint"):
        make().resume(tmp_path / "kept")


def test_no_cuda_device_is_said_at_once(
    make: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingRefused, match="no CUDA device"):
        make(device="cuda")
    assert script.describe_device(PRESETS["cuda"]) == "no CUDA device"
    assert script.describe_device(PRESETS["cpu"]).startswith("CPU, ")


@pytest.mark.parametrize("worth", [math.nan, math.inf, 101.0])
def test_a_run_that_diverges_is_stopped_before_it_spoils_its_weights(
    worth: float, make: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make(batch=1, weights=Weights(pixel=1.0))
    before = {key: value.clone() for key, value in state_of(run).items() if key != "rng"}
    monkeypatch.setattr(script, "pixel_loss", lambda image, *_: image.sum() * 0 + worth)
    with pytest.raises(TrainingStopped, match="at step 0"):
        run.step()
    after = state_of(run)
    assert all(torch.equal(before[key], after[key]) for key in before)


def stepless(run: Run, monkeypatch: pytest.MonkeyPatch, reports: list[Told]) -> None:
    """Let a run count its steps, and show these figures."""

    def step() -> Told:
        run.done += 1
        return {"loss": 1.0}

    monkeypatch.setattr(run, "step", step)
    monkeypatch.setattr(run, "report", lambda: {"forward": reports.pop(0)})


def test_reports_checkpoints_backups_and_the_best_are_kept(
    make: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, shown, ticks = make(steps=20, report_every=3), list[str](), iter(range(100))
    progress = [0.3, 0.5, 0.4, 0.4, 0.45, 0.2, 0.1]
    stepless(run, monkeypatch, [HEALTHY | {"progress": value} for value in progress])
    train(run, tmp_path, clock=lambda: next(ticks), show=shown.append)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [3, 6, 9, 12, 15, 18, 20]
    assert [row["seconds"] for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert [row["forward"]["progress"] for row in rows] == progress
    assert [json.loads(line) for line in shown] == rows
    backups = sorted(path.name for path in (tmp_path / "backups").iterdir())
    assert backups == [f"step-{n:06d}.safetensors" for n in (3, 6, 9, 12, 15, 18, 20)]
    best, last = make(steps=20, report_every=3), make(steps=20, report_every=3)
    best.resume(tmp_path / BEST)
    last.resume(tmp_path / CHECKPOINT)
    assert (best.done, best.best) == (6, 0.5)
    assert (last.done, last.best) == (20, 0.5)


def test_a_collapse_ends_a_run_also_over_an_interruption(
    make: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = HEALTHY | {"progress": 0.01}
    run = make(steps=10)

    def pull_the_plug(line: str) -> None:
        if line.startswith("{"):
            raise KeyboardInterrupt

    stepless(run, monkeypatch, [bad])
    with pytest.raises(KeyboardInterrupt):
        train(run, tmp_path, clock=lambda: 0.0, show=pull_the_plug)
    again = make(steps=10)
    again.resume(tmp_path / CHECKPOINT)
    assert (again.done, again.guard.strikes) == (2, 1)
    stepless(again, monkeypatch, [bad])
    with pytest.raises(TrainingStopped, match="collapsed"):
        train(again, tmp_path, clock=lambda: 0.0, show=lambda _: None)
    assert again.done == 4
    rows = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [2, 4], "what was seen is on record"
    kept = make(steps=10)
    kept.resume(tmp_path / CHECKPOINT)
    assert kept.done == 4


def test_the_plan_of_a_run() -> None:
    rates = [plan(at).rate for at in (0.0, WARM_UP / 2, WARM_UP)]
    assert 0 < rates[0] < rates[1] < rates[2] == pytest.approx(1, abs=0.01)
    assert plan(1.0).rate == pytest.approx(0.02)
    told = (0.0, IDENTITY_RAMP / 2, IDENTITY_RAMP, IDENTITY_FROM, IDENTITY_FULL, 1.0)
    ramp = [plan(at).identity for at in told]
    assert ramp == pytest.approx([0, *(IDENTITY_FIRST * k for k in (0.5, 1, 1)), 1, 1])
    late = [plan(at).unlabelled for at in (0.2, UNLABELLED_FROM, (1 + UNLABELLED_FROM) / 2, 1.0)]
    assert late == pytest.approx([0, 0, 0.5, 1])
    last = [plan(at).adversarial for at in (0.5, ADVERSARY_FROM - 0.001, ADVERSARY_FROM, 1.0)]
    assert last == [0, 0, 1, 1]
    assert ADVERSARY_FROM >= 0.6, "not before most of the run is supervised"


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_is_whole(name: str) -> None:
    preset = PRESETS[name]
    plain: Mapping[str, Any] = json.loads(json.dumps(preset.as_json()))
    lists = {key: tuple(plain["shape"][key]) for key in ("widths", "inject_at")}
    assert StyleMixShape(**{**plain["shape"], **lists}) == preset.shape
    assert 0 <= preset.forward + preset.reverse <= 1
    assert preset.judged <= preset.batch
    with torch.device("meta"):
        net = StyleMixNet(preset.shape)
        side = preset.shape.side_px
        out = net(torch.empty(1, 12, side, side), torch.empty(1, 1, side, side),
                  torch.empty(1, 128), torch.empty(1, 128))  # fmt: skip
    assert out.image.shape == (1, 3, side, side)


# ------------------------------------------------------------------------------ the command


@pytest.fixture
def command(
    personas: Path,
    persona_rows: tuple[LedgerRow, ...],
    people: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    quick: None,
) -> Callable[..., int]:
    """`command(*options)`: the command on the rendered scenes of these tests."""
    monkeypatch.setattr(script, "open_analyser", lambda: people.analyser)
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_bytes(ledger_bytes(persona_rows))
    threads = torch.get_num_threads()

    def run(*options: object) -> int:
        given = ["--preset", "smoke", "--steps", 1, "--threads", 1, "--out", tmp_path / "run",
                 "--data", personas, "--ledger", ledger, *options]  # fmt: skip
        try:
            return script.main([*map(str, given)])
        finally:
            torch.set_num_threads(threads)

    return run


def test_what_was_trained_for_research_is_not_released(
    command: Callable[..., int],
    persona_rows: tuple[LedgerRow, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not even in the folder where its samples lie ready."""
    held = [row.model_copy(update={"training_of_released_models": False}) for row in persona_rows]
    (tmp_path / "ledger.jsonl").write_bytes(ledger_bytes(held))
    assert command() == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "device: CPU, 1 threads" in said
    assert "train: 6 samples of 4 pictures" in said
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {CHECKPOINT, BEST, "metrics.jsonl", "ledger.jsonl", "backups"} <= names
    assert command("--release") == 1
    assert "may not be used for weights that are released" in capsys.readouterr().err
    assert command("--export", tmp_path / "models") == 1
    assert "train with --release" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


def test_the_command_exports_weights_that_load(
    command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    figures = dict.fromkeys(("progress", "geo_progress", "margin", "geo_margin", "label_margin"), 1)
    monkeypatch.setattr(Run, "report", lambda _: {"forward": {"n": 2, **figures}})
    models = tmp_path / "models"
    given = ["--release", "--export", models, "--code", "abc", "--name", "pocket"]
    assert command(*given) == 0, capsys.readouterr().err
    assert "going on" not in capsys.readouterr().out
    kept = load_file(tmp_path / "run" / CHECKPOINT)
    shipped = load_stylemix("pocket", models).state_dict()
    half = {key: kept[f"averages/{key}"].half().float() for key in shipped}
    assert all(torch.equal(shipped[key], half[key]) for key in shipped)
    network = open_network("pocket", folder=models)
    run = network.card.run
    assert run is not None
    assert (run.steps, run.code, run.purpose) == (1, "abc", "release_training")
    ledger = (tmp_path / "run" / "ledger.jsonl").read_bytes()
    assert run.pictures == len(ledger.splitlines()) == 4
    zeros = {name: np.zeros((1, *t.shape), np.float32) for name, t in network.card.tensors.items()}
    assert network.run(**zeros)["image"].shape == (1, 3, 128, 128)
    assert command("--release", "--steps", 2) == 0
    assert "going on at step 1" in capsys.readouterr().out


def test_the_command_says_what_is_refused(
    command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--ledger", tmp_path / "none.jsonl") == 1
    assert "cannot read" in capsys.readouterr().err
    assert command("--data", tmp_path) == 1
    assert "index.jsonl" in capsys.readouterr().err
    for parent in ("--teacher", "--start"):
        assert command(parent, "nobody") == 1
        assert "nobody" in capsys.readouterr().err
    row = rendered_row(b"other", "other.webp", set_name="personas", person="persona:1")
    (tmp_path / "ledger.jsonl").write_bytes(ledger_bytes([row]))
    assert command() == 1
    assert "not in the data ledger" in capsys.readouterr().err


def test_without_data_the_rendered_people_at_hand_are_taken(
    command: Callable[..., int], personas: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    checkout = tmp_path / "checkout"
    (checkout / "docs" / "demo").mkdir(parents=True)
    monkeypatch.setattr(script, "ROOT", checkout)
    given = ["--preset", "smoke", "--out", str(tmp_path / "other")]
    assert script.main(given) == 1
    assert "no rendered people" in capsys.readouterr().err
    shutil.copytree(personas, tmp_path / "shared" / "data" / "personas")
    stock = script._open_stock(script._parse([*given, "--release"]))
    assert stock.folder == tmp_path / "shared" / "data" / "personas"
    assert stock.purpose == "release_training"
    assert len(list(stock.ledger)) == 10


def test_rounding_is_no_copy_of_gradients(make: Callable[..., Run]) -> None:
    run = make()
    rounded = round_to_half(run.net)
    assert not rounded.training
    assert not any(p.requires_grad for p in rounded.parameters())
    assert all(p.requires_grad for p in run.net.parameters())


def test_the_module_is_a_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train", "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(script.__file__), run_name="__main__")
    assert "python -m generator.train" in capsys.readouterr().out
