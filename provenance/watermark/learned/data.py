"""Which pictures may be trained on, and the pool of them.

Decides by a data ledger (data.md, section 8): every picture must have a row with its sha256, source
and licence. Refused: pictures without a row, rows that have expired, sets that are kept for
evaluation (photographs of real people), and, for weights that are to be released, every picture
whose row does not allow that. Without a ledger the rendered people beside or inside the repository
are used, for which the rows are known.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
import torch
from pydantic import AwareDatetime, Field, ValidationError
from torch import Tensor

from policies.digest import sha256_hex
from policies.files import read_bounded
from policies.terms import Document
from provenance.media import decode
from provenance.watermark.learned.errors import TrainingRefused

EVALUATION_ONLY: Final = frozenset({"london", "clips"})
"""Real people who agreed to studies, not to training (data.md, sections 4 and 5)."""
PICTURES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})
MAX_LEDGER_BYTES: Final = 1_000_000_000
POOL_MARGIN: Final = 1.25
"""Pictures are kept this much larger than the networks' square, so that crops of them differ."""

_RENDERED: Final[Mapping[str, Any]] = {
    "kind": "image",
    "person": "rendered, no real person",
    "licence": "CC0-1.0",
    "consent_scope": "none needed: no real person",
    "training_of_released_models": True,
}


class LedgerRow(Document):
    """One file of the data ledger; the names are those of data.md, section 8."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    path: str
    set: str
    kind: Literal["image"]
    person: str
    source: str = Field(min_length=1)
    licence: str = Field(min_length=1)
    licence_url: str = ""
    consent_id: str = ""
    consent_scope: str = Field(min_length=1)
    training_of_released_models: bool
    evaluation: bool = False
    publication: bool = False
    expires: AwareDatetime | None = None
    added_by: str = ""
    added_at: AwareDatetime | None = None


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Pictures uint8 (n, 3, side, side), RGB, and the rows that let them in, sorted by digest.

    `release`: every row allows weights that are released.
    """

    pictures: Tensor
    rows: tuple[LedgerRow, ...]
    release: bool

    @property
    def ledger(self) -> bytes:
        """The rows as JSON lines."""
        return b"".join(row.model_dump_json().encode() + b"\n" for row in self.rows)


def read_ledger(path: Path) -> list[LedgerRow]:
    """Return the rows of a ledger, one JSON object a line.

    Raises `TrainingRefused` and `StoreUnavailable`.
    """
    data = read_bounded(path, max_bytes=MAX_LEDGER_BYTES)
    try:
        return [LedgerRow.model_validate_json(line) for line in data.splitlines()]
    except ValidationError as error:
        raise TrainingRefused(f"the data ledger is not complete: {error}") from error


def list_pictures(folders: Sequence[Path]) -> list[Path]:
    """Return the picture files in and below `folders`, sorted."""
    return sorted(
        path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in PICTURES
    )


def list_rendered(root: Path) -> tuple[list[Path], list[LedgerRow]]:
    """Return the rendered people a checkout at `root` has, and their rows.

    The personas beside the repository, training part only; else the demo people in `docs/demo`.
    """
    personas = root.parent / "shared" / "data" / "personas"
    if personas.is_dir():
        files, name = list(_list_training_personas(personas)), "personas"
    else:
        files, name = list_pictures([root / "docs" / "demo"]), "demo"
    facts = {**_RENDERED, "set": name, "source": f"Blender renders, folder {name}"}
    return files, [
        LedgerRow(sha256=sha256_hex(file.read_bytes()), path=file.name, **facts) for file in files
    ]


def load_training_set(
    files: Sequence[Path],
    ledger: Sequence[LedgerRow],
    size: tuple[int, int],
    *,
    release: bool,
    now: datetime,
) -> TrainingSet:
    """Return pictures for networks of `size[0]` pixels, the first `size[1]` of `files`.

    Every one is admitted by its own bytes. Raises `TrainingRefused` for the first picture that may
    not be used, or where there is none.
    """
    rows = {row.sha256: row for row in ledger}
    used: dict[str, LedgerRow] = {}
    pool = []
    side_px, most = size
    for file in files[:most]:
        data = file.read_bytes()
        row = _admit(rows.get(sha256_hex(data)), file, release=release, now=now)
        used[row.sha256] = row
        pool.append(_square(decode(data).frame, round(side_px * POOL_MARGIN)))
    if not pool:
        raise TrainingRefused("there are no pictures to train on", mend="name a folder of pictures")
    pictures = torch.from_numpy(np.stack(pool)).permute(0, 3, 1, 2).contiguous()
    return TrainingSet(pictures, tuple(used[digest] for digest in sorted(used)), release)


def _admit(row: LedgerRow | None, file: Path, *, release: bool, now: datetime) -> LedgerRow:
    if row is None:
        raise TrainingRefused(
            f"{file.name} is not in the data ledger",
            mend="add a row with its sha256, source, licence and scope, or take the file away",
        )
    names = (row.set, file.parent.name, *Path(row.path).parts)
    if EVALUATION_ONLY & {name.lower() for name in names}:
        raise TrainingRefused(f"{file.name} belongs to a set that is for evaluation only")
    if row.expires is not None and row.expires <= now:
        raise TrainingRefused(f"the right to use {file.name} ended on {row.expires:%Y-%m-%d}")
    if release and not row.training_of_released_models:
        raise TrainingRefused(
            f"{file.name} may not be used for weights that are released",
            mend="train without it, or without release",
        )
    return row


def _list_training_personas(folder: Path) -> Iterator[Path]:
    """Both pictures of every scene whose two personas are neither test nor validation people."""
    for line in (folder / "index.jsonl").read_text(encoding="utf-8").splitlines():
        scene = json.loads(line)
        if max(scene["target_persona"] % 10, scene["source_persona"] % 10) < 8:
            for part in ("target", "swap"):
                yield folder / "images" / f"{scene['scene']}_{part}.webp"


def _square(frame: np.ndarray[Any, np.dtype[np.uint8]], side_px: int) -> np.ndarray[Any, Any]:
    """Return the middle square of BGR uint8 as RGB uint8 (side, side, 3)."""
    side = min(frame.shape[:2])
    y, x = ((n - side) // 2 for n in frame.shape[:2])
    middle = frame[y : y + side, x : x + side, ::-1]
    way = cv2.INTER_AREA if side > side_px else cv2.INTER_CUBIC
    return cv2.resize(np.ascontiguousarray(middle), (side_px, side_px), interpolation=way)
