"""What is on record about exported weights, and the door through which their bytes come in.

Decides which weights may be run: those named in a complete card, with the card's sha256. The card
also pins the preprocessing, of which there is one kind: any other word in its place is refused.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError

from policies.digest import sha256_hex
from policies.files import read_bounded
from policies.terms import Document
from provenance.watermark.learned.errors import MarkWeightsRefused

CARD_NAME: Final = "learned.toml"
MAX_WEIGHT_BYTES: Final = 25_000_000
"""The most one of the files may have, so that both can be shipped in the package."""


class WeightFile(Document):
    """One ONNX file beside the card."""

    file: str = Field(pattern=r"^[a-z0-9-]+\.onnx$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(gt=0, le=MAX_WEIGHT_BYTES)


class InputContract(Document):
    """What both networks see: BT.601 luma of the whole picture, 0..1, resized to a square."""

    side_px: int = Field(gt=0)
    luma: Literal["bt601"] = "bt601"
    scale: Literal["0..1"] = "0..1"
    resize: Literal["area"] = "area"


class TrainingRecord(Document):
    """What the networks were trained on, and whether every picture allows a release."""

    preset: str
    sets: tuple[str, ...]
    pictures: int = Field(gt=0)
    ledger_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    licences: tuple[str, ...]
    consent_scopes: tuple[str, ...]
    release: bool


class MarkCard(Document):
    """Everything on record about one pair of networks; the machine-read model card.

    measured: bit accuracy by attack, PSNR and SSIM at the end of the run, on training pictures.
    """

    name: Literal["learned"] = "learned"
    alg: Literal["org.facewarrant.learned.1"] = "org.facewarrant.learned.1"
    bits: int = Field(gt=0)
    psnr_db: float = Field(ge=40.0, le=60.0)
    known_failures: tuple[str, ...]
    allowed_use: str
    encoder: WeightFile
    reader: WeightFile
    input: InputContract
    training: TrainingRecord
    measured: Mapping[str, float]


def write_card(card: MarkCard) -> bytes:
    """Return the card as TOML: plain values first, then one table for each part."""
    plain, tables = [], []
    for key, value in json.loads(card.model_dump_json()).items():
        if isinstance(value, dict):
            tables += [f"\n[{key}]", *(f"{k} = {_quote(v)}" for k, v in value.items())]
        else:
            plain.append(f"{key} = {_quote(value)}")
    return "\n".join([*plain, *tables, ""]).encode("utf-8")


def load_card(folder: Path) -> MarkCard:
    """Return the card in `folder`; raises `MarkWeightsRefused` and `StoreUnavailable`."""
    data = read_bounded(folder / CARD_NAME, max_bytes=100_000)
    try:
        return MarkCard.model_validate_json(json.dumps(tomllib.loads(data.decode("utf-8"))))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, TypeError, ValidationError) as error:
        raise MarkWeightsRefused(
            f"the card of the learned mark is not complete: {error}"
        ) from error


def read_weights(folder: Path, entry: WeightFile) -> bytes:
    """Return the bytes the card names; raises `MarkWeightsRefused` and `StoreUnavailable`."""
    content = read_bounded(folder / entry.file, max_bytes=MAX_WEIGHT_BYTES)
    digest = sha256_hex(content)
    if digest != entry.sha256:
        raise MarkWeightsRefused(
            f"{entry.file} has sha256 {digest}, its card says {entry.sha256}",
            mend="export the weights again, or get card and weights from the same place",
        )
    return content


def _quote(value: object) -> str:
    # A JSON string, number or list of them is also TOML.
    return json.dumps(value, ensure_ascii=False)
