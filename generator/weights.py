"""The only door through which a weight file enters: card, digest, format, then the session.

Decides which files may be loaded: those with a card in `generator/models`, whose bytes have the
card's sha256. Refused before anything is parsed: unknown names and altered bytes. Refused after:
pickle content and graphs that point at data outside the file. Preprocessing numbers are part of
the model, so they are read from the card and exist nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from generator.errors import WeightRefused

CPU = "CPUExecutionProvider"
MODELS_FOLDER = Path(__file__).parent / "models"

# Pickle protocols 2 to 5 start with 0x80 and their number; torch's newer files are zip archives.
_PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")

Hex256 = Field(pattern=r"^[0-9a-f]{64}$")
Task = Literal["detection", "landmarks", "identity", "nudity", "age", "swap", "detail", "style"]
OWN = "facewarrant"
"""The package that weights trained by this project come from."""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Origin(_Part):
    """Where a weight file was made from: package, version, the graph and every file's sha256."""

    package: str
    version: str
    graph: str
    files: Mapping[str, str]


class Licence(_Part):
    """What the package declares, the file with its text, and what is known about upstream."""

    declared: str
    text_file: str
    upstream: str


class Training(_Part):
    """What the net was trained on and on what basis people are in that data."""

    data: str
    consent_basis: str


class InputContract(_Part):
    """The one input: float32, square; value = pixel * scale + offset - mean, for pixels 0..255.

    order: the order of the channels. mean: one number per channel, in that order.
    """

    name: str
    side_px: int = Field(gt=0)
    layout: Literal["nhwc", "nchw"]
    scale: float
    offset: float
    order: Literal["rgb", "bgr"] = "rgb"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    fit: str


class OutputContract(_Part):
    """One output: its name in the source graph and what it means."""

    source: str
    meaning: str


class TensorContract(_Part):
    """One input of a network that is fed with prepared arrays: shape after the batch, meaning."""

    shape: tuple[int, ...]
    meaning: str


class Twin(_Part):
    """The same numbers as safetensors, for training on."""

    file: str
    sha256: str = Hex256
    bytes: int = Field(gt=0)


class TrainingRun(_Part):
    """How weights of our own came about: settings as JSON, and what they saw, by digest.

    parents: SHA-256 of the weights that the run began with or learned from.
    """

    preset: str
    steps: int = Field(gt=0)
    seed: int
    pictures: int = Field(gt=0)
    ledger_sha256: str = Hex256
    purpose: Literal["release_training", "research_training"]
    code: str
    parents: tuple[str, ...] = ()


class Thresholds(_Part):
    """Euclidean distances of an identity net, and how they were chosen."""

    match: float
    mismatch: float
    basis: str


class Measurement(_Part):
    """One figure that was seen, with how many samples, how, and when."""

    what: str
    value: str
    n: int = Field(gt=0)
    protocol: str
    date: str


class WeightCard(_Part):
    """Everything that is on record about one weight file; the machine-read model card.

    numbers: named constants of pre- and postprocessing. levels: a detector's (stride in pixels,
    anchors per cell). alignment: (mesh index, x, y) = where a mesh point belongs in the input.
    A net of pictures has `input`, one that is fed with arrays has `tensors`; nets that we trained
    have `twin` and `run`.
    """

    name: str
    task: Task
    file: str
    sha256: str = Hex256
    bytes: int = Field(gt=0)
    origin: Origin
    licence: Licence
    training: Training
    input: InputContract | None = None
    tensors: Mapping[str, TensorContract] = {}
    outputs: Mapping[str, OutputContract]
    twin: Twin | None = None
    run: TrainingRun | None = None
    numbers: Mapping[str, float] = {}
    levels: tuple[tuple[int, int], ...] = ()
    alignment: tuple[tuple[int, float, float], ...] = ()
    thresholds: Thresholds | None = None
    measured: tuple[Measurement, ...] = ()
    known_failures: tuple[str, ...]
    allowed_use: str

    @property
    def picture(self) -> InputContract:
        """The input of a net of pictures; WeightRefused for a net that is fed with arrays."""
        if self.input is None:
            raise WeightRefused(f"{self.name} takes no picture")
        return self.input

    def number(self, key: str) -> float:
        """Return one named constant; WeightRefused when the card does not state it."""
        if key not in self.numbers:
            raise WeightRefused(f"the card of {self.name} does not state {key}")
        return self.numbers[key]


class WeightSession:
    """A net of pictures: its card and a CPU session that was made from the checked bytes."""

    def __init__(self, card: WeightCard, session: onnxruntime.InferenceSession) -> None:
        self.card = card
        self._session = session
        self._names = [output.name for output in session.get_outputs()]

    def run(
        self, image: npt.NDArray[np.uint8] | npt.NDArray[np.float32]
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Run on one RGB square (side, side, 3), 0..255; returns output name -> float32 array.

        Applies the card's channel order, scale, offset, mean and layout; batch of one. Raises
        WeightRefused when the runtime refuses the input.
        """
        contract = self.card.picture
        values = image if contract.order == "rgb" else image[..., ::-1]
        shift = np.float32(contract.offset) - np.array(contract.mean, np.float32)
        scaled = values.astype(np.float32) * np.float32(contract.scale) + shift
        batch = (scaled if contract.layout == "nhwc" else scaled.transpose(2, 0, 1))[None]
        try:
            values = self._session.run(self._names, {contract.name: batch})
        except Exception as error:  # onnxruntime's errors have no common base but Exception
            raise WeightRefused(f"{self.card.name} could not run on {image.shape}") from error
        return dict(zip(self._names, values, strict=True))


def weight_names(folder: Path = MODELS_FOLDER) -> list[str]:
    """Return the names of all carded weight files, sorted."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def load_card(name: str, folder: Path = MODELS_FOLDER) -> WeightCard:
    """Return the card of a weight file; WeightRefused for unknown names and incomplete cards."""
    if name not in weight_names(folder):
        raise WeightRefused(
            f"there is no card for a weight file named {name!r}",
            mend=f"the known weight files are {', '.join(weight_names(folder)) or 'none'}",
        )
    try:
        table = tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf-8"))
        card = WeightCard.model_validate_json(json.dumps(table))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise WeightRefused(f"the card of {name} is not complete: {error}") from error
    if card.name != name:
        raise WeightRefused(f"the card {name}.toml is about {card.name!r}")
    if Path(card.file).name != card.file or Path(card.licence.text_file).name == "":
        raise WeightRefused(f"the card of {name} names a file outside its folder")
    return card


def read_weight(name: str, folder: Path = MODELS_FOLDER) -> tuple[WeightCard, bytes]:
    """Return a card and the bytes that match it; the file is read once and never parsed here.

    Raises WeightRefused when the file is missing or its sha256 is not the card's.
    """
    card = load_card(name, folder)
    try:
        content = (folder / card.file).read_bytes()
    except OSError as error:
        raise WeightRefused(
            f"the weight file {card.file} cannot be read: {error.strerror}",
            mend="restore generator/models from the distribution",
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != card.sha256:
        raise WeightRefused(
            f"{card.file} has sha256 {digest}, its card says {card.sha256}",
            mend="restore generator/models from the distribution",
        )
    return card, content


def require_plain_onnx(content: bytes, what: str) -> onnx.ModelProto:
    """Return the parsed graph of ONNX bytes; WeightRefused for anything but a self-contained one.

    Refuses pickle and zip content by its first bytes, and tensors whose data lies in other files,
    wherever they stand (initializers, attributes, subgraphs, functions).
    """
    if content.startswith(_PICKLE_STARTS):
        raise WeightRefused(f"{what} is a pickle or an archive, not an ONNX graph")
    try:
        model = onnx.load_from_string(content)
    except (DecodeError, ValueError) as error:
        raise WeightRefused(f"{what} is not an ONNX graph") from error
    if not model.graph.node:
        raise WeightRefused(f"{what} holds no graph")
    if any(_points_outside(tensor) for tensor in _tensors(model)):
        raise WeightRefused(f"{what} keeps weights outside the file, where no digest covers them")
    return model


def open_session(name: str, *, threads: int = 1, folder: Path = MODELS_FOLDER) -> WeightSession:
    """Load a carded weight file on the CPU with `threads` intra-op threads.

    The digest is checked before the bytes are parsed. Raises WeightRefused.
    """
    card, content = read_weight(name, folder)
    return WeightSession(card, start_session(card, content, threads=threads, provider=CPU))


def start_session(
    card: WeightCard, content: bytes, *, threads: int, provider: str
) -> onnxruntime.InferenceSession:
    """Return a session on the checked bytes of a card; raises WeightRefused."""
    require_plain_onnx(content, card.file)
    try:
        return onnxruntime.InferenceSession(
            content, sess_options=session_options(threads), providers=[provider]
        )
    except Exception as error:  # onnxruntime's errors have no common base but Exception
        raise WeightRefused(f"{card.file} is not a graph that onnxruntime can run") from error


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Return options for a quiet, deterministic CPU session; WeightRefused unless threads >= 1."""
    if threads < 1:
        raise WeightRefused(f"a session needs at least one thread, not {threads}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only: warnings about folded weights are noise
    return options


def _points_outside(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data)


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Any) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for graph in (attribute.g, *attribute.graphs):
                yield from _graph_tensors(graph)
