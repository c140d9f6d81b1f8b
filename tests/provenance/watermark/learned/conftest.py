"""A training set of rendered people, and a mark whose networks are plain linear algebra."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from policies.digest import sha256_hex
from policies.warrants import ActiveWarrant
from provenance.data_ledger import NO_REAL_PERSON, DataLedger, LedgerRow
from provenance.watermark.learned.card import (
    CARD_NAME,
    InputContract,
    MarkCard,
    TrainingRecord,
    WeightFile,
    write_card,
)
from provenance.watermark.learned.data import TrainingSet, load_training_set
from provenance.watermark.learned.message import MESSAGE_BITS
from provenance.watermark.payload import Payload, issue_payload

NOW = datetime(2026, 11, 21, tzinfo=UTC)
DEMO = Path(__file__).parents[4] / "docs" / "demo"
SIDE_PX = 64


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def ledger_row(file: Path, **other: object) -> LedgerRow:
    facts = {
        "sha256": sha256_hex(file.read_bytes()),
        "path": file.name,
        "set": "demo",
        "kind": "image",
        "person": "persona:demo",
        "source": "Blender",
        "licence": "CC0-1.0",
        "consent_scope": NO_REAL_PERSON,
        "training_of_released_models": True,
    }
    return LedgerRow.model_validate(facts | other)


@pytest.fixture(scope="session")
def row_of() -> Callable[..., LedgerRow]:
    """`row_of(file, **fields)`: the file's row in a data ledger."""
    return ledger_row


@pytest.fixture(scope="session")
def demo_set() -> TrainingSet:
    """Eight rendered people, ready for networks of 64 px."""
    files = sorted(DEMO.glob("*_0.webp"))
    ledger = DataLedger(ledger_row(file) for file in files)
    return load_training_set(files, ledger, (SIDE_PX, 99), release=True, now=NOW)


@pytest.fixture
def payload(active_warrant: Callable[..., ActiveWarrant]) -> Payload:
    return issue_payload(active_warrant(), rng=lambda _: bytes.fromhex("0123456789ab"))


def _patterns() -> np.ndarray:
    """As many orthonormal high-frequency cosines in a square of 64 px as there are bits."""
    at = (np.arange(SIDE_PX) + 0.5) * np.pi / SIDE_PX
    waves = np.sqrt(2 / SIDE_PX) * np.cos(np.arange(20, 31)[:, None] * at)
    planes = np.einsum("uy,vx->uvyx", waves, waves).reshape(-1, SIDE_PX**2)
    return planes[:MESSAGE_BITS].astype(np.float32)


def _graph(nodes: list, constants: dict, inputs: dict, output: tuple) -> bytes:
    def value(name: str, shape: list) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes,
        "linear",
        [value(name, shape) for name, shape in inputs.items()],
        [value(*output)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def linear_encoder() -> bytes:
    """Adds a pattern for every bit, up for a 1 and down for a 0; looks at no picture."""
    return _graph(
        [
            helper.make_node("Mul", ["message", "two"], ["twice"]),
            helper.make_node("Sub", ["twice", "one"], ["signs"]),
            helper.make_node("MatMul", ["signs", "patterns"], ["flat"]),
            helper.make_node("Reshape", ["flat", "square"], ["residual"]),
        ],
        {
            "two": np.float32(2).reshape(1),
            "one": np.float32(1).reshape(1),
            "patterns": _patterns(),
            "square": np.array([-1, 1, SIDE_PX, SIDE_PX]),
        },
        {"luma": ["n", 1, SIDE_PX, SIDE_PX], "message": ["n", MESSAGE_BITS]},
        ("residual", ["n", 1, SIDE_PX, SIDE_PX]),
    )


def linear_reader(wrong: slice) -> bytes:
    """Correlates with the patterns; turns the answers of `wrong` round."""
    patterns = _patterns()
    patterns[wrong] *= -1
    return _graph(
        [
            helper.make_node("Flatten", ["luma"], ["flat"]),
            helper.make_node("MatMul", ["flat", "patterns"], ["logits"]),
        ],
        {"patterns": np.ascontiguousarray(patterns.T)},
        {"luma": ["n", 1, SIDE_PX, SIDE_PX]},
        ("logits", ["n", MESSAGE_BITS]),
    )


@pytest.fixture
def write_weights(tmp_path: Path) -> Callable[..., Path]:
    """`write_weights(reader=..., encoder=..., wrong=..., bits=...)`: a folder with a card."""

    def write(
        *,
        reader: bytes | None = None,
        encoder: bytes | None = None,
        wrong: slice = slice(0),
        bits: int = MESSAGE_BITS,
    ) -> Path:
        contents = {
            "encoder": encoder or linear_encoder(),
            "reader": reader or linear_reader(wrong),
        }
        entries = {}
        for name, content in contents.items():
            (tmp_path / f"{name}.onnx").write_bytes(content)
            digest = sha256_hex(content)
            entries[name] = WeightFile(file=f"{name}.onnx", sha256=digest, bytes=len(content))
        training = TrainingRecord(
            preset="none",
            sets=("none",),
            pictures=1,
            ledger_sha256=sha256_hex(b""),
            licences=("CC0-1.0",),
            consent_scopes=("none needed",),
            release=False,
        )
        card = MarkCard(
            bits=bits,
            psnr_db=42.0,
            known_failures=('anything "hard"\n', "größer"),
            allowed_use="tests",
            input=InputContract(side_px=SIDE_PX),
            training=training,
            measured={"none": 1.0},
            **entries,
        )
        (tmp_path / CARD_NAME).write_bytes(write_card(card))
        return tmp_path

    return write
