"""The shipped style pictures: which there are, and the door through which one is read.

A style picture enters as a weight file does: its name stands on the card beside it, and its bytes
have the card's digest. Refused: unknown names, altered bytes, a card that is not complete
(StyleRefused).
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from generator.errors import FaceError
from policies.digest import sha256_hex
from policies.errors import Error
from policies.files import read_bounded

FOLDER: Final = Path(__file__).parent / "styles"
CARD: Final = "styles.toml"
SIDE_PX: Final = 256
MAX_BYTES: Final = 200_000
ORIGIN: Final = "drawn by generator/style_pictures.py from a seed, with numpy and OpenCV alone"
LICENCE: Final = "CC0-1.0"


class StyleRefused(FaceError):
    """A style is unknown, its picture altered, or the card of the set incomplete."""

    code: ClassVar[str] = "STYLE-REFUSED"


class StyleEntry(BaseModel):
    """One picture on the card: the seed it is drawn from, and the file's digest and size."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    seed: int
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(gt=0, le=MAX_BYTES)


class StyleCard(BaseModel):
    """The card of the set: where all of it comes from, under which licence, and what is in it."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    origin: str = Field(min_length=1)
    licence: Literal["CC0-1.0"]
    styles: Mapping[str, StyleEntry] = Field(min_length=1)


@dataclass(frozen=True, slots=True, eq=False)
class Style:
    """One style: its picture, BGR uint8 (256, 256, 3), not writeable, and its file's digest."""

    name: str
    picture: npt.NDArray[np.uint8]
    sha256: str


def load_card(folder: Path = FOLDER) -> StyleCard:
    """Return the card of a style set; raises StyleRefused."""
    try:
        text = read_bounded(folder / CARD, max_bytes=MAX_BYTES).decode("utf-8")
        return StyleCard.model_validate_json(json.dumps(tomllib.loads(text)))
    except (Error, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise StyleRefused(
            "the card of the style set cannot be read or is not complete",
            mend="restore generator/styles from the distribution",
        ) from error


def open_style(name: str, folder: Path = FOLDER) -> Style:
    """Return a style of the set; raises StyleRefused for unknown names and altered pictures."""
    card = load_card(folder)
    if name not in card.styles:
        known = ", ".join(card.styles)
        raise StyleRefused(f"there is no style {name!r}", mend=f"use one of: {known}")
    mend = "restore generator/styles from the distribution"
    try:
        content = read_bounded(folder / f"{name}.webp", max_bytes=MAX_BYTES)
    except Error as error:
        raise StyleRefused(f"the style picture {name} cannot be read", mend=mend) from error
    digest = sha256_hex(content)
    if digest != card.styles[name].sha256:
        wrong = f"the style picture {name} has sha256 {digest}, the card says another"
        raise StyleRefused(wrong, mend=mend)
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if picture is None or picture.shape != (SIDE_PX, SIDE_PX, 3):
        raise StyleRefused(f"the style picture {name} is not one of {SIDE_PX} px", mend=mend)
    picture.setflags(write=False)
    return Style(name, np.asarray(picture, np.uint8), digest)


def render_card(written: Mapping[str, tuple[int, bytes]]) -> str:
    """Return the card, TOML, of style pictures by name: the seed and the file's bytes of each."""
    lines = [f'origin = "{ORIGIN}"', f'licence = "{LICENCE}"']
    for name, (seed, content) in written.items():
        lines += ["", f"[styles.{name}]", f"seed = {seed}"]
        lines += [f'sha256 = "{sha256_hex(content)}"', f"bytes = {len(content)}"]
    return "\n".join(lines) + "\n"
