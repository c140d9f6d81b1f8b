"""The pairs that are swapped: unseen rendered people with true swaps, and photographs without.

Personas come from one part of the split by person; London people were never trained on and are
admitted by the data ledger for measuring alone. The list is fixed by its seed, so two runs measure
the same pairs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from generator.triplets import Shot, Triplet, list_triplets, read_scenes, shot_path
from provenance.data_ledger import AdmittedPicture, DataLedger
from provenance.data_sets import Split, list_london, list_rendered

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
LONDON_PAIRS = 60

Set = Literal["personas", "london"]


@dataclass(frozen=True, slots=True)
class Pair:
    """One swap: files of source, target and, on renders, the true swap; and who is in them."""

    name: str
    source: Path
    target: Path
    label: Path | None
    source_person: str
    target_person: str
    both_unseen: bool


class Pictures:
    """Admits and keeps the pictures of one set, for measuring."""

    def __init__(self, ledger: DataLedger, now: datetime) -> None:
        self._ledger, self._now = ledger, now
        self._kept: dict[Path, AdmittedPicture] = {}

    def __getitem__(self, path: Path) -> AdmittedPicture:
        if path not in self._kept:
            content = path.read_bytes()
            self._kept[path] = self._ledger.admit(
                content, path.name, purpose="evaluation", now=self._now
            )
        return self._kept[path]


def open_personas(split: Split, now: datetime) -> tuple[list[Pair], Pictures]:
    """Return the forward triplets of a part, one source each: the view nearest in yaw."""
    folder = DATA / "personas"
    scenes = {scene.scene: scene for scene in read_scenes(folder)}
    nearest: dict[Shot, Triplet] = {}
    for triplet in list_triplets(list(scenes.values()), split):
        if triplet.kind != "forward":
            continue

        def gap(other: Triplet) -> tuple[bool, float, Shot]:
            apart = abs(scenes[other.source.scene].yaw - scenes[other.target.scene].yaw)
            return other.source.kind == "swap", apart, other.source

        best = nearest.get(triplet.target)
        if best is None or gap(triplet) < gap(best):
            nearest[triplet.target] = triplet
    ledger = DataLedger(row for _, row in list_rendered(ROOT))
    pairs = []
    for triplet in nearest.values():
        scene = scenes[triplet.target.scene]
        people = scene.source_persona, scene.target_persona
        pairs.append(
            Pair(
                name=scene.scene,
                source=shot_path(folder, triplet.source),
                target=shot_path(folder, triplet.target),
                label=shot_path(folder, triplet.label),
                source_person=f"persona:{people[0]}",
                target_person=f"persona:{people[1]}",
                both_unseen=all(person % 10 == 9 for person in people),
            )
        )
    return pairs, Pictures(ledger, now)


def open_london(now: datetime, count: int = LONDON_PAIRS) -> tuple[list[Pair], Pictures]:
    """Return `count` random pairs of neutral photographs of different people."""
    folder = DATA / "london"
    ledger = DataLedger(row for _, row in list_london(folder))
    people = sorted(path.name[:3] for path in folder.glob("*_neutral.jpg"))
    draw = random.Random(0)  # noqa: S311  # a fixed list, not a secret
    pairs = []
    for number in range(count):
        source, target = draw.sample(people, 2)
        files = (folder / f"{person}_neutral.jpg" for person in (source, target))
        pairs.append(Pair(f"{number:03d}", *files, None, source, target, both_unseen=True))
    return pairs, Pictures(ledger, now)


def gallery(set_name: Set) -> Iterator[tuple[str, Path]]:
    """Yield (person, another photograph of theirs): of London people the smiling one."""
    if set_name == "london":
        for path in sorted((DATA / "london").glob("*_smiling.jpg")):
            yield path.name[:3], path
