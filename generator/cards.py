"""Write the cards of networks that were trained here: everything on record, as TOML.

A card is the same document as those of foreign weights (`generator.weights.WeightCard`), so it is
validated by being read again. Refused: cards that `generator.weights` would refuse.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from torch import Tensor

from generator.errors import WeightRefused
from generator.weights import (
    OWN,
    Licence,
    Measurement,
    Origin,
    OutputContract,
    TensorContract,
    Training,
    TrainingRun,
    Twin,
    WeightCard,
)
from policies.digest import sha256_hex
from policies.files import replace_file
from provenance.data_ledger import (
    DataLedger,
    DataRefused,
    LedgerRow,
    Purpose,
    ledger_bytes,
)

RENDERED = Training(
    data="rendered people alone, Blender Cycles over MakeHuman-family geometry and textures; the "
    "texture pixels come from an older copy whose readme inherits an AGPL-derived notice, upstream "
    "released the same assets as CC0 in September 2020",
    consent_basis="none needed: no real person is in the data",
)
LICENCE = Licence(
    declared="Apache-2.0",
    text_file="LICENSE.facewarrant.txt",
    upstream="none: trained by this project",
)


def own_origin(module: str, ledger: bytes, version: str) -> Origin:
    """Return the origin of weights that `module` trained on what the ledger names."""
    files = {"ledger.jsonl": sha256_hex(ledger)}
    return Origin(package=OWN, version=version, graph=module, files=files)


def describe_training(rows: Sequence[LedgerRow], *, now: datetime) -> Training:
    """Return the training record of a run's pictures: rendered people, or who consented to it.

    Every row of somebody real is held against the ledger's rules for released weights once more.
    Raises WeightRefused.
    """
    real = [row for row in rows if row.is_of_real_people]
    if not real:
        return RENDERED
    try:
        ledger = DataLedger(rows)
        for row in real:
            ledger.require(row.sha256, row.path, purpose="release_training", now=now)
    except DataRefused as error:
        raise WeightRefused(
            f"the run saw what released weights may not rest on: {error.message}",
            mend="train without it",
        ) from error
    people, consents = ({getattr(row, name) for row in real} for name in ("person", "consent_id"))
    sets = ", ".join(sorted({row.set for row in real}))
    return Training(
        data=f"{len(real)} photographs of {len(people)} people ({sets}) and "
        f"{len(rows) - len(real)} rendered pictures",
        consent_basis=f"{len(consents)} consents that cover this training, each named in the data "
        "ledger of the run",
    )


def inherit(own: Training, parents: Sequence[Training]) -> Training:
    """Return a training record that also tells what the parents of a run were trained on."""
    more = [one for one in parents if one != RENDERED]
    between = "; through weights it was made from: "
    return Training(
        data=between.join([own.data, *(one.data for one in more)]),
        consent_basis=between.join([own.consent_basis, *(one.consent_basis for one in more)]),
    )


def require_release(purpose: Purpose) -> None:
    """Raise WeightRefused unless a run's pictures were admitted for weights that are released."""
    if purpose != "release_training":
        raise WeightRefused(
            "the run's pictures were not admitted for weights that are released",
            mend="train with --release",
        )


def describe_inputs(
    inputs: Mapping[str, Tensor], meanings: Mapping[str, str]
) -> dict[str, TensorContract]:
    """Return what a network is fed with, after examples of a batch."""
    return {
        name: TensorContract(shape=tuple(value.shape[1:]), meaning=meanings[name])
        for name, value in inputs.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A network that was trained here, as it is to be shipped, and the run that made it.

    module: the file of its code. graph, weights: bytes of the ONNX and the safetensors file.
    inputs: examples of a batch. meanings: of every input and output, in words. purpose: what the
    ledger gave `rows` out for. parents: SHA-256 of the weights that the run began with or learned
    from; inherited: what those were trained on.
    """

    name: str
    task: Literal["swap", "detail", "style"]
    module: str
    graph: bytes
    weights: bytes
    inputs: Mapping[str, Tensor]
    outputs: Sequence[str]
    meanings: Mapping[str, str]
    preset: Mapping[str, Any]
    steps: int
    rows: Sequence[LedgerRow]
    purpose: Purpose
    measured: Sequence[Measurement]
    known_failures: tuple[str, ...]
    allowed_use: str
    parents: tuple[str, ...] = ()
    inherited: tuple[Training, ...] = ()


def ship_product(product: Product, folder: Path, *, now: datetime, code: str) -> WeightCard:
    """Write a network's ONNX and safetensors file and its card into `folder`; return the card.

    code: the commit of the code that trained. Raises WeightRefused and StoreUnavailable.
    """
    require_release(product.purpose)
    name, ledger = product.name, ledger_bytes(product.rows)
    weights = product.weights
    card = WeightCard(
        name=name,
        task=product.task,
        file=f"{name}.onnx",
        sha256=sha256_hex(product.graph),
        bytes=len(product.graph),
        origin=own_origin(product.module, ledger, code),
        licence=LICENCE,
        training=inherit(describe_training(product.rows, now=now), product.inherited),
        tensors=describe_inputs(product.inputs, product.meanings),
        outputs={n: OutputContract(source=n, meaning=product.meanings[n]) for n in product.outputs},
        twin=Twin(file=f"{name}.safetensors", sha256=sha256_hex(weights), bytes=len(weights)),
        run=describe_run(product, code),
        measured=tuple(product.measured),
        known_failures=product.known_failures,
        allowed_use=product.allowed_use,
    )
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / card.file, product.graph)
    replace_file(folder / f"{name}.safetensors", weights)
    write_card(card, folder)
    return card


def describe_run(product: Product, code: str) -> TrainingRun:
    """Return the record of the run that made a product; code: the commit that trained."""
    return TrainingRun(
        preset=json.dumps(product.preset, sort_keys=True),
        steps=product.steps,
        seed=product.preset["seed"],
        pictures=len(product.rows),
        ledger_sha256=sha256_hex(ledger_bytes(product.rows)),
        purpose="release_training",  # or it were not shipped
        code=code,
        parents=product.parents,
    )


def write_card(card: WeightCard, folder: Path) -> None:
    """Write the card as `<name>.toml`; raises StoreUnavailable."""
    replace_file(folder / f"{card.name}.toml", render_card(card).encode("utf-8"))


def render_card(card: WeightCard) -> str:
    """Return a card as TOML that reads back as the same card."""
    values = json.loads(card.model_dump_json(exclude_none=True, exclude_defaults=True))
    text = "\n".join(_lines(values, ()))
    try:
        again = WeightCard.model_validate_json(json.dumps(tomllib.loads(text)))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise WeightRefused(f"the card of {card.name} cannot be written: {error}") from error
    if again != card:
        raise WeightRefused(f"the card of {card.name} does not read back as it was written")
    return text + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Yield plain values first, then one table for each part."""
    parts = {}
    for key, value in table.items():
        rows = isinstance(value, list) and value and isinstance(value[0], dict)
        if isinstance(value, dict) or rows:
            parts[key] = value
        else:
            # A JSON string, number, boolean or list of them is also TOML.
            yield f"{_quote(key)} = {json.dumps(value, ensure_ascii=False)}"
    for key, value in parts.items():
        inner = (*path, _quote(key))
        for row in value if isinstance(value, list) else [value]:
            mark = ("[[", "]]") if isinstance(value, list) else ("[", "]")
            yield f"\n{mark[0]}{'.'.join(inner)}{mark[1]}"
            yield from _lines(row, inner)


def _quote(key: str) -> str:
    plain = key.replace("_", "").replace("-", "").isalnum() and key.isascii()
    return key if plain else json.dumps(key)
