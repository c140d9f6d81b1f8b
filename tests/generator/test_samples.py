"""Samples are the same however they are made, kept with what they were made by, drawn by a seed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from generator import samples as module
from generator.batches import Batch
from generator.errors import FaceError
from generator.presets import Preset
from generator.samples import (
    KINDS,
    SampleSet,
    Stock,
    build_samples,
    load_samples,
    read_samples,
    write_samples,
)
from generator.triplets import Shot
from policies.errors import StoreUnavailable
from provenance.data_ledger import DataLedger, DataRefused, LedgerRow
from provenance.watermark.learned.errors import TrainingRefused

NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
def stock(personas: Path, persona_rows: tuple[LedgerRow, ...]) -> Stock:
    return Stock(personas, DataLedger(persona_rows), "release_training", NOW)


def same(first: SampleSet, second: SampleSet) -> bool:
    return first.rows == second.rows and all(
        torch.equal(first.tensors[name].nan_to_num(), second.tensors[name].nan_to_num())
        for name in first.tensors
    )


@pytest.fixture(scope="module")
def built(
    people: Any, personas: Path, persona_rows: tuple[LedgerRow, ...], tiny_preset: Preset
) -> SampleSet:
    stock = Stock(personas, DataLedger(persona_rows), "release_training", NOW)
    return build_samples(stock, "validation", people.analyser, tiny_preset)


def test_a_part_is_built_of_its_own_pictures(
    built: SampleSet, persona_rows: tuple[LedgerRow, ...]
) -> None:
    """Two scenes of two people: each way once, from the other scene, and onto itself."""
    assert sorted(built.tensors["kind"].tolist()) == [0, 0, 1, 1, 2, 2]
    own = {row.sha256 for row in persona_rows if row.path.startswith(("s2", "s3"))}
    assert {row.sha256 for row in built.rows} == own
    assert [row.sha256 for row in built.rows] == sorted(own)


def test_jobs_do_not_decide_what_is_made(
    stock: Stock, people: Any, tiny_preset: Preset, built: SampleSet
) -> None:
    """Two processes that start anew; they find the pictures by the ledger's rows they are given."""
    assert same(built, build_samples(stock, "validation", people.analyser, tiny_preset, jobs=2))


def test_disturbed_variants_are_for_training_alone(
    stock: Stock, people: Any, tiny_preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders: list[Any] = []
    monkeypatch.setattr(module, "_map", lambda _make, given, jobs: orders.extend(given) or [])
    preset = replace(tiny_preset, variants=3, seed=2)
    for part in ("train", "validation"):
        with pytest.raises(TrainingRefused, match=f"no forward triplet of the {part} part"):
            build_samples(stock, part, people.analyser, preset)  # type: ignore[arg-type]
    assert [order.variants for order in orders] == [3] * 6 + [1] * 6
    assert len({order.seed for order in orders[:6]}) == 6
    assert {order.side_px for order in orders} == {128}
    assert not {s.scene for o in orders[:6] for s in o.faces} & {"s2", "s3", "s4"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_that_lacks_a_kind_is_refused(
    kind: str, stock: Stock, people: Any, tiny_preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch is drawn from all three, so a run on it would end at some later step."""
    monkeypatch.setattr(
        module, "list_triplets", lambda *given: [t for t in REAL(*given) if t.kind != kind]
    )
    monkeypatch.setattr(module, "_make", lambda *given: [_Only(given[-1].triplet)])
    with pytest.raises(TrainingRefused, match=f"no {kind} triplet of the train part"):
        build_samples(stock, "train", people.analyser, tiny_preset)


REAL = module.list_triplets


class _Only:
    def __init__(self, triplet: object) -> None:
        self.kind = triplet.kind


def test_pictures_the_ledger_does_not_admit_are_refused(
    personas: Path, persona_rows: tuple[LedgerRow, ...], people: Any, tiny_preset: Preset
) -> None:
    held = persona_rows[0].model_copy(update={"training_of_released_models": False})
    for rows in (persona_rows[1:], (held, *persona_rows[1:])):
        with pytest.raises(DataRefused) as caught:
            build_samples(
                Stock(personas, DataLedger(rows), "release_training", NOW),
                "train",
                people.analyser,
                tiny_preset,
            )
        assert persona_rows[0].path in caught.value.message


def test_folders_without_scenes_and_scenes_without_pictures_are_refused(
    stock: Stock, tmp_path: Path, people: Any, tiny_preset: Preset
) -> None:
    with pytest.raises(FaceError, match="index"):
        build_samples(replace(stock, folder=tmp_path), "train", people.analyser, tiny_preset)
    with pytest.raises(StoreUnavailable):
        replace(stock, folder=tmp_path).admit(Shot("s0", "target"))


def test_kept_samples_are_asked_for_again(
    built: SampleSet, stock: Stock, persona_rows: tuple[LedgerRow, ...]
) -> None:
    """What was laid out for research, or before a withdrawal, is not released by being kept."""
    stock.require(built.rows)
    consent = {"consent_id": "deed-7", "training_of_released_models": False}
    rows = [row.model_copy(update=consent) for row in persona_rows]
    replace(stock, ledger=DataLedger(rows), purpose="research_training").require(built.rows)
    for ledger, said in (
        (DataLedger(rows), "not be used for weights that are released"),
        (DataLedger(rows, withdrawn=["deed-7"]), "withdrawn"),
        (DataLedger(()), "not in the data ledger"),
    ):
        with pytest.raises(DataRefused, match=said):
            replace(stock, ledger=ledger).require(built.rows)


def test_a_kept_set_is_the_set(sample_set: SampleSet, tmp_path: Path) -> None:
    path = tmp_path / "samples.safetensors"
    write_samples(path, sample_set, "digest")
    assert same(read_samples(path, "digest"), sample_set)
    assert load_samples(path)[1] == "digest"
    assert not path.read_bytes().startswith((b"\x80", b"PK")), "no pickle, no archive"


def test_a_set_of_other_settings_is_refused(sample_set: SampleSet, tmp_path: Path) -> None:
    path = tmp_path / "samples.safetensors"
    write_samples(path, sample_set, "digest")
    with pytest.raises(TrainingRefused, match="other settings"):
        read_samples(path, "another")


@pytest.mark.parametrize("notes", [None, {}, {"rows": "[]"}, {"rows": "[5]", "digest": "d"}])
def test_what_is_not_a_set_is_refused(notes: dict[str, str] | None, tmp_path: Path) -> None:
    path = tmp_path / "samples.safetensors"
    for spoil in (
        lambda: save_file({"a": torch.zeros(1)}, path, metadata=notes),
        lambda: path.write_bytes(b"\x80\x04pickle"),
        path.unlink,
    ):
        spoil()
        with pytest.raises(TrainingRefused, match="not a set of samples"):
            read_samples(path, "d")


def test_a_batch_is_what_the_samples_say(sample_set: SampleSet) -> None:
    index = torch.tensor([4, 0])
    batch = sample_set.take(index)
    pictures = sample_set.tensors["pictures"][index].float() / 127.5 - 1
    assert batch.inputs.shape == (2, 12, 128, 128)
    torch.testing.assert_close(batch.target, pictures[:, 0].permute(0, 3, 1, 2))
    torch.testing.assert_close(batch.composite, pictures[:, 3].permute(0, 3, 1, 2))
    torch.testing.assert_close(batch.label, pictures[:, 4].permute(0, 3, 1, 2))
    assert (float(batch.mask.min()), float(batch.mask.max())) == (0, 1)
    assert batch.kind.tolist() == [1, 0]


def test_parts_come_in_order_and_whole(sample_set: SampleSet) -> None:
    sizes = [len(batch.label) for batch in sample_set.parts("reverse", 1)]
    assert sizes == [1, 1]
    (both,) = sample_set.parts("same", 9)
    assert torch.equal(both.id_source, sample_set.tensors["id_source"][[2, 5]])
    assert len(sample_set) == 6


def equal(first: Batch, second: Batch) -> bool:
    pairs = zip(first, second, strict=True)
    return all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs)


def test_the_generators_state_decides_what_is_drawn(
    sample_set: SampleSet, tiny_preset: Preset
) -> None:
    rng = torch.Generator().manual_seed(4)
    sample_set.draw(tiny_preset, rng)
    state = rng.get_state()
    first, then = (sample_set.draw(tiny_preset, rng) for _ in range(2))
    outside = torch.random.get_rng_state()
    rng.set_state(state)
    torch.manual_seed(99)  # nobody else's random source is asked
    assert equal(first, sample_set.draw(tiny_preset, rng))
    assert equal(then, sample_set.draw(tiny_preset, rng))
    torch.random.set_rng_state(outside)
    assert not equal(first, then)


@pytest.mark.parametrize(("shares", "kind"), [((1.0, 0.0), 0), ((0.0, 1.0), 1), ((0.0, 0.0), 2)])
def test_batches_have_the_presets_shares(
    sample_set: SampleSet, tiny_preset: Preset, shares: tuple[float, float], kind: int
) -> None:
    preset = replace(tiny_preset, forward=shares[0], reverse=shares[1], batch=5)
    batch = sample_set.draw(preset, torch.Generator().manual_seed(0))
    assert batch.kind.tolist() == [kind] * 5
