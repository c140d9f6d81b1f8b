"""The sets of pictures that can lie at hand, and the rows that are known for them.

Rendered people lie in the repository (`docs/demo`) or beside it (`personas`) and may be used for
everything; the photographs of the London set may be measured on and nothing else. What is given out
here are rows: whether a picture may be used is the data ledger's to say. Refused (DataRefused):
lists that are not what they should be, names that lead out of their folder, and links.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from policies.files import read_bounded
from provenance.data_ledger import DataRefused, LedgerRow, rendered_row
from provenance.media import DEFAULT_LIMITS

Split = Literal["train", "validation", "test"]

PICTURES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})
MAX_LIST_BYTES: Final = 100_000_000
PARTS: Final = ("target", "swap")
LONDON_SOURCE: Final = (
    "DeBruine, L., & Jones, B. (2017). Face Research Lab London Set (Version 5), resized. "
    "doi 10.6084/m9.figshare.5047666.v5"
)

Persona = Annotated[int, Field(ge=0)]


class Scene(BaseModel):
    """What is read of one line of `personas/index.jsonl`: its file stem and whose face is in it."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    scene: str = Field(pattern=r"^[a-z0-9_]{1,40}$")
    target_persona: Persona
    source_persona: Persona

    @property
    def split(self) -> Split:
        """The part it belongs to."""
        return split_of(self.target_persona, self.source_persona)


def split_of(*personas: int) -> Split:
    """Return the part a picture of these personas belongs to: the strictest of theirs.

    By the last digit of a persona's number: 9 is test, 8 validation, all others train.
    """
    last = {persona % 10 for persona in personas}
    return "test" if 9 in last else "validation" if 8 in last else "train"


def list_pictures(folders: Sequence[Path]) -> list[Path]:
    """Return the picture files in and below `folders`, sorted."""
    return sorted(
        path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in PICTURES
    )


def list_rendered(root: Path, split: Split | None = None) -> Iterator[tuple[Path, LedgerRow]]:
    """Give the rendered pictures a checkout at `root` has, each with its row.

    The personas beside the repository, of one split or all; else the demo people in `docs/demo`,
    who are too few to be split and are all train. Raises DataRefused and StoreUnavailable.
    """
    personas = root.parent / "shared" / "data" / "personas"
    if personas.is_dir():
        yield from _list_personas(personas, split)
    elif split in (None, "train"):
        yield from _list_demo(root / "docs" / "demo")


def list_demo(root: Path) -> Iterator[tuple[Path, LedgerRow]]:
    """Give the demo people's pictures, each with its row.

    Those beside a checkout at `root`, where they are, for it lacks some; else its `docs/demo`.

    There is no other folder to name: whoever could name one could have anybody's photographs taken
    for renders. Raises DataRefused and StoreUnavailable.
    """
    beside = root.parent / "shared" / "data" / "demo"
    yield from _list_demo(beside if beside.is_dir() else root / "docs" / "demo")


def list_london(folder: Path) -> Iterator[tuple[Path, LedgerRow]]:
    """Give the photographs in `folder/index.csv`, each with its row: for evaluation alone.

    The people agreed to "lab-based and web-based studies" and "to illustrate research". The sha256
    are the list's. Raises DataRefused and StoreUnavailable.
    """
    text = read_bounded(folder / "index.csv", max_bytes=MAX_LIST_BYTES).decode("utf-8", "replace")
    for line in csv.DictReader(io.StringIO(text)):
        name = line.get("file") or ""
        try:
            row = LedgerRow(
                sha256=line.get("sha256") or "",
                path=f"london/{name}",
                set="london",
                kind="image",
                person=f"london:{line.get('person') or ''}",
                source=LONDON_SOURCE,
                licence="CC-BY-4.0",
                licence_url="https://creativecommons.org/licenses/by/4.0/",
                consent_id="london-2017",
                consent_scope="research, illustration-of-research",
                training_of_released_models=False,
                evaluation=True,
            )
        except ValidationError:
            raise DataRefused("a line of the London set's list is not complete") from None
        if not re.fullmatch(r"\w+\.jpg", name, re.ASCII):
            raise DataRefused("the London set's list names a file outside its folder")
        yield folder / name, row


def _list_personas(folder: Path, split: Split | None) -> Iterator[tuple[Path, LedgerRow]]:
    """Both pictures of every scene of the split."""
    lines = read_bounded(folder / "index.jsonl", max_bytes=MAX_LIST_BYTES).splitlines()
    for number, line in enumerate(lines, 1):
        try:
            scene = Scene.model_validate_json(line)
        except ValidationError:
            raise DataRefused(f"line {number} of the personas' list is not complete") from None
        if split in (None, scene.split):
            for part in PARTS:
                file = folder / "images" / f"{scene.scene}_{part}.webp"
                both = "" if part == "target" else f"+{scene.source_persona}"
                person = f"persona:{scene.target_persona}{both}"
                path = f"personas/images/{file.name}"
                yield file, rendered_row(_read(file), path, set_name="personas", person=person)


def _list_demo(folder: Path) -> Iterator[tuple[Path, LedgerRow]]:
    for file in list_pictures([folder]):
        path = file.relative_to(folder)
        person = path.parts[0].partition(".")[0].partition("_")[0].removeprefix("persona")
        yield (
            file,
            rendered_row(
                _read(file),
                f"demo/{path.as_posix()}",
                set_name="demo",
                person=f"persona:demo-{person}",
            ),
        )


def _read(file: Path) -> bytes:
    if file.is_symlink():
        raise DataRefused(
            f"{file.name} is a link: what it leads to is not known to be rendered",
            mend="put the file itself there",
        )
    return read_bounded(file, max_bytes=DEFAULT_LIMITS.file_bytes)
