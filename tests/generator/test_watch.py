"""What a run is watched by: the copy is no progress, the label is all of it, a collapse ends it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from generator import scalars
from generator.batches import Batch
from generator.losses import LEVEL, FaceJudge
from generator.samples import SampleSet
from generator.scalars import ScalarLog, flatten
from generator.watch import (
    COLLAPSE_FROM,
    COLLAPSED_MARGIN,
    COLLAPSED_PROGRESS,
    CollapseGuard,
    Watched,
    changed_error,
    kernel_distance,
    watch,
    watch_all,
)
from provenance.watermark.learned.errors import TrainingStopped


class Shows:
    """A network that shows one of the batch's own pictures."""

    def __init__(self, name: str, batches: list[Batch]) -> None:
        self.queue = [getattr(batch, name) for batch in batches]

    def __call__(self, *_given: Tensor) -> SimpleNamespace:
        return SimpleNamespace(image=self.queue.pop(0))


@pytest.fixture(scope="module")
def judge() -> FaceJudge:
    return FaceJudge()


@pytest.fixture
def batches(sample_set: SampleSet) -> list[Batch]:
    return list(sample_set.parts("forward", 2))


def seen_of(name: str, batches: list[Batch], judge: FaceJudge) -> Watched:
    return watch(Shows(name, batches), judge, batches)  # type: ignore[arg-type]


def test_copy_composite_and_label_measure_what_they_are(
    batches: list[Batch], judge: FaceJudge
) -> None:
    copy, geo, label = (seen_of(n, batches, judge) for n in ("target", "composite", "label"))
    assert copy.n == 2
    assert copy.progress == pytest.approx(0, abs=1e-6)
    assert label.progress == pytest.approx(1)
    assert geo.progress == pytest.approx(geo.geo_progress)
    assert geo.margin == pytest.approx(geo.geo_margin)
    assert label.margin == pytest.approx(label.label_margin)
    assert copy.margin < 0, "the copy is at no distance from the target"
    assert label.kid < copy.kid
    assert {one.geo_progress for one in (copy, geo, label)} == {geo.geo_progress}


def test_figures_are_told_by_kind(sample_set: SampleSet, judge: FaceJudge) -> None:
    still = SampleSet({k: v[[0, 2]] for k, v in sample_set.tensors.items()}, sample_set.rows)
    net = Shows("composite", [*still.parts("forward", 16)])
    seen = watch_all(net, judge, still)  # type: ignore[arg-type]
    assert set(seen) == {"forward"}, "there is no reverse sample, and nobody counts `same`"
    told = seen["forward"].as_json()
    assert told["n"] == 1
    assert json.loads(json.dumps(told)) == told
    assert all(value == round(value, 4) for value in told.values())


def test_only_changed_pixels_are_counted(batches: list[Batch]) -> None:
    (batch,) = batches
    label = batch.target.clone()
    label[..., :64] += 20 / LEVEL
    image = label.clone()
    image[..., :64] += 10 / LEVEL
    image[..., 64:] += 1
    errors = changed_error(image, batch._replace(label=label))
    torch.testing.assert_close(errors, torch.full((2,), 10.0), rtol=1e-3, atol=1e-3)
    same = changed_error(image, batch._replace(label=batch.target))
    assert torch.equal(same, torch.zeros(2)), "nothing changed: nothing is missed"


def test_kernel_distance_tells_clouds_apart() -> None:
    rng = torch.Generator().manual_seed(0)
    a, b = (torch.randn((200, 8), generator=rng) for _ in range(2))
    near, far = kernel_distance(a, b), kernel_distance(a, b + 1)
    assert abs(near) < 0.1
    assert far > 1
    assert kernel_distance(a[:1], b[:1]) == kernel_distance(a[:1], b[:1]), "one of each: a number"


def told(progress: float, margin: float, geo_margin: float = 0.1) -> dict[str, float]:
    return {"progress": progress, "margin": margin, "geo_margin": geo_margin}


HEALTHY = told(0.3, 0.1)
COPIES = told(COLLAPSED_PROGRESS - 0.01, 0.1)
SHOWS_TARGET = told(0.3, 0.1 - COLLAPSED_MARGIN - 0.01)


@pytest.mark.parametrize("bad", [COPIES, SHOWS_TARGET], ids=["copies", "shows the target"])
def test_two_bad_reports_in_a_row_end_a_run(bad: Mapping[str, float]) -> None:
    guard, said = CollapseGuard(), list[str]()
    guard.look(0.5, bad, said.append)
    guard.require()
    assert guard.strikes == 1
    guard.look(0.6, HEALTHY, said.append)
    assert guard.strikes == 0, "not in a row"
    for _ in range(2):
        guard.look(0.7, bad, said.append)
    assert len(said) == 3
    with pytest.raises(TrainingStopped, match="collapsed to the target") as caught:
        guard.require()
    assert f"{bad['progress']:.3f}" in caught.value.message
    assert caught.value.code == "TRAINING-STOPPED"


def test_a_run_that_begins_may_show_what_it_likes() -> None:
    guard = CollapseGuard()
    for _ in range(5):
        guard.look(COLLAPSE_FROM - 0.01, COPIES, pytest.fail)
    guard.look(0.5, HEALTHY, pytest.fail)
    guard.require()
    assert guard.strikes == 0


def test_limits_themselves_are_allowed() -> None:
    guard = CollapseGuard()
    guard.look(1.0, told(COLLAPSED_PROGRESS, 0.0, 0.0), pytest.fail)
    assert guard.strikes == 0


def test_metrics_are_lines_and_nested_figures_have_paths(tmp_path: Path) -> None:
    row = {"step": 2, "loss": 0.5, "forward": {"n": 3, "margin": {"a": 1}}, "note": "text"}
    log = ScalarLog(tmp_path)
    log.write(row)
    log.write(row | {"step": 4})
    log.close()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2, 4]
    assert json.loads(lines[0]) == row
    assert dict(flatten(row)) == {"step": 2, "loss": 0.5, "forward/n": 3, "forward/margin/a": 1}


def test_where_tensorboard_is_installed_it_is_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    class Writer:
        def __init__(self, folder: str) -> None:
            calls.append(Path(folder))

        def add_scalar(self, *what: Any) -> None:
            calls.append(what)

        def flush(self) -> None:
            calls.append("flush")

        def close(self) -> None:
            calls.append("close")

    board = ModuleType("torch.utils.tensorboard")
    board.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", board)
    monkeypatch.setattr(scalars, "find_spec", lambda name: name)
    log = ScalarLog(tmp_path)
    log.write({"step": 7, "forward": {"kid": 1.5}})
    log.close()
    assert calls == [
        tmp_path / "events",
        ("step", 7.0, 7),
        ("forward/kid", 1.5, 7),
        "flush",
        "close",
    ]
