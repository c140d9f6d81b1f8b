"""The pictures: a TUNING set to choose constants on, a BENCHMARK set that only ever measures.

`pictures.json` lists both, each picture with the SHA-256 of its file, its class and, where only a
part is shown, the part; no photograph and no photographed person is in both. Its order spreads the
classes evenly, so that the first N are a fair sample. The photographs of people are not in the
repository (research consent): where `../shared/data` is absent, the benchmark takes what is left of
its list and the rendered people of `docs/demo`, which are of the tuning set, and says so.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np
from PIL import Image

from benchmarks.watermark.methods import Rgb

ROOT: Final = Path(__file__).parent.parent.parent
LIST: Final = Path(__file__).with_name("pictures.json")
CLASSES: Final = ("face photo", "rendered", "natural", "graphic, flat or dark")
MIN_SIDE_PX: Final = 256

Set: TypeAlias = Literal["tuning", "benchmark"]


class PictureChanged(Exception):
    """A listed file holds other bytes than those the list names."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of the list. `box`: y, x, height, width of the part shown; empty for the whole.

    `scale`: whole-number enlargement (bicubic), for scans of text that are too small as they are.
    """

    name: str
    file: str
    sha256: str
    set: Set
    kind: str
    box: tuple[int, ...] = ()
    scale: int = 1


def list_pictures(which: Set | None = None, *, path: Path = LIST) -> list[Listed]:
    """Return the list, or one of its sets, in its order; the files need not be there."""
    rows = json.loads(path.read_text(encoding="utf-8"))["pictures"]
    listed = [Listed(**{**row, "box": tuple(row.get("box", ()))}) for row in rows]
    return [row for row in listed if which in {None, row.set}]


def find_file(listed: Listed) -> Path | None:
    """Return the picture's file, None where it is not on this machine."""
    place, _, rest = listed.file.partition("/")
    folders = {"docs": ROOT / "docs", "shared": ROOT.parent / "shared" / "data"}
    if place == "skimage":
        found = importlib.util.find_spec("skimage")
        if found is None or found.origin is None:
            return None
        folders[place] = Path(found.origin).parent / "data"
    path = folders[place] / rest
    return path if path.is_file() else None


def choose(which: Set, count: int | None = None) -> tuple[list[Listed], str]:
    """Return the first `count` pictures of a set that are here, and a line about the choice."""
    listed = list_pictures(which)
    chosen = [row for row in listed if find_file(row) is not None]
    purpose = (
        "on which no constant was chosen" if which == "benchmark" else "used to choose constants"
    )
    note = f"{len(chosen)} pictures of the {which} set, {purpose}"
    if len(chosen) < len(listed):
        note += f" ({len(listed)} in all; the photographs of people are not here)"
        if which == "benchmark":
            rendered = [row for row in list_pictures("tuning") if row.file.startswith("docs/")]
            chosen = list(spread([*chosen, *rendered]))
            note += (
                f"; {len(rendered)} rendered pictures of the tuning set are taken in their place"
            )
    if count is not None and count < len(chosen):
        return chosen[:count], f"the first {count} of {note}"
    return chosen, note


def load(listed: Listed) -> Rgb:
    """Return the picture; raises `PictureChanged`, and `FileNotFoundError` where it is not here."""
    path = find_file(listed)
    if path is None:
        raise FileNotFoundError(listed.file)
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != listed.sha256:
        raise PictureChanged(f"{listed.file} is not the file the list names")
    with Image.open(path) as image:
        shown = image.convert("RGB")
    if listed.box:
        y, x, h, w = listed.box
        shown = shown.crop((x, y, x + w, y + h))
    if listed.scale > 1:
        size = (shown.width * listed.scale, shown.height * listed.scale)
        shown = shown.resize(size, Image.Resampling.BICUBIC)
    return np.array(shown)


def spread(rows: Iterable[Listed]) -> Iterator[Listed]:
    """Yield the rows so that every prefix has each class in about its share."""
    by_class: dict[str, list[Listed]] = {}
    for row in sorted(rows, key=lambda row: hashlib.sha256(row.name.encode()).digest()):
        by_class.setdefault(row.kind, []).append(row)
    placed = [
        ((rank + 0.5) / len(group), row.name, row)
        for group in by_class.values()
        for rank, row in enumerate(group)
    ]
    for _, _, row in sorted(placed, key=lambda place: place[:2]):
        yield row
