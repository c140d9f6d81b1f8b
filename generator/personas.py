"""The people who lend their faces to bystanders: rendered, shipped here, nobody real.

`open_personas` gives out the shipped pictures and nothing else, so that whoever holds a `Persona`
knows that no living person's face is laid on anybody. Refused (WeightRefused): a card that is not
complete, and a picture that is missing or whose sha256 is not the card's.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal, NoReturn
from weakref import WeakSet

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from generator.errors import SwapRefused, WeightRefused
from policies.digest import sha256_hex
from policies.terms import Digest, Document
from policies.warrant import WarrantInvalid
from provenance.media import decode

PERSONAS: Final = "personas"
"""The name of the set where models are named: in a warrant and in a manifest."""
PERSONAS_FOLDER: Final = Path(__file__).parent / PERSONAS
CARD: Final = "personas.toml"

_DOOR = object()


class PersonaFile(Document):
    """One picture of the set: the persona's name, the file, and what its bytes must be."""

    name: str = Field(pattern=r"^[a-z0-9-]{1,20}$")
    file: str = Field(pattern=r"^[a-z0-9-]{1,20}\.webp$")
    sha256: Digest
    bytes: int = Field(gt=0)


class PersonaCard(Document):
    """Everything that is on record about the set."""

    made_with: str
    changed: str
    photographs: Literal["none"]
    licence: Literal["CC0-1.0"]
    consent_basis: str
    known_failures: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    allowed_use: str
    pictures: Annotated[tuple[PersonaFile, ...], Field(min_length=2, strict=False)]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Persona:
    """A rendered person of the shipped set; only `open_personas` makes one.

    `frame`: BGR uint8 (h, w, 3), not writeable; `sha256`: of the file, hex.
    """

    name: str
    sha256: str
    frame: npt.NDArray[np.uint8] = field(repr=False)
    door: InitVar[object] = None

    def __post_init__(self, door: object) -> None:
        if door is not _DOOR:
            raise _refusal()
        _shipped.add(self)

    def __reduce__(self) -> NoReturn:
        raise SwapRefused("a persona cannot leave its process")


_shipped: WeakSet[Persona] = WeakSet()


@dataclass(frozen=True, slots=True, eq=False)
class PersonaSet:
    """The shipped people, and the digest that stands for all of them and their card."""

    people: tuple[Persona, ...]
    models: Mapping[str, str]


def open_personas() -> PersonaSet:
    """Return the shipped personas, each picture checked by its sha256; raises WeightRefused."""
    digest, card = read_card(PERSONAS_FOLDER)
    people = []
    for row in card.pictures:
        frame = decode(read_picture(row, PERSONAS_FOLDER)).frame
        people.append(Persona(row.name, row.sha256, frame, _DOOR))
    return PersonaSet(tuple(people), {PERSONAS: digest})


def persona_models() -> Mapping[str, str]:
    """Return the set's name and the digest of its card, which names every picture's."""
    return {PERSONAS: read_card(PERSONAS_FOLDER)[0]}


def read_card(folder: Path) -> tuple[str, PersonaCard]:
    """Return the sha256 (hex) of a set's card and the card; raises WeightRefused."""
    try:
        content = (folder / CARD).read_bytes()
        table = tomllib.loads(content.decode("utf-8"))
        card = PersonaCard.model_validate_json(json.dumps(table))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise WeightRefused(f"the card of the personas is not complete: {error}") from error
    return sha256_hex(content), card


def read_picture(row: PersonaFile, folder: Path) -> bytes:
    """Return the bytes of a picture of the set; WeightRefused unless they are the card's."""
    try:
        content = (folder / row.file).read_bytes()
    except OSError as error:
        raise WeightRefused(
            f"the persona file {row.file} cannot be read: {error.strerror}",
            mend="restore generator/personas from the distribution",
        ) from error
    digest = sha256_hex(content)
    if digest != row.sha256 or len(content) != row.bytes:
        raise WeightRefused(
            f"{row.file} has sha256 {digest}, its card says {row.sha256}",
            mend="restore generator/personas from the distribution",
        )
    return content


def require_persona(value: object) -> Persona:
    """Return `value` if it is of the shipped set, itself; or raise WarrantInvalid."""
    if type(value) is not Persona or value not in _shipped:
        raise _refusal()
    return value


def _refusal() -> WarrantInvalid:
    return WarrantInvalid(
        "only a persona of the shipped set is laid on a bystander", code="WARRANT-REQUIRED"
    )
