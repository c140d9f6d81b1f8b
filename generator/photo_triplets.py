"""Training samples out of photographs of people who consented to training: reverse triplets.

A photograph of A is the label. Somebody else's face is laid on it as at a request, and the network
is to make A's picture of that again, given another photograph of A: the label is real pixels, never
a guess, and its own pixels are never the source. Every picture comes through the data ledger, which
asks for the consent. Refused: what the ledger refuses (DataRefused), and an album without a person
who is on two pictures and somebody else (TrainingRefused).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from generator.composite import compose
from generator.errors import SwapRefused
from generator.faces import Face, FaceAnalyser
from generator.laying import SHAPE_BLEND, lay_out
from generator.ledger_pair import LedgerPair
from generator.triplets import Known, Sample, cut_square, disturb_mesh
from policies.files import read_bounded
from provenance.data_ledger import AdmittedPicture, DataLedger, LedgerRow, Purpose
from provenance.data_sets import list_pictures
from provenance.media import DEFAULT_LIMITS
from provenance.watermark.learned.errors import TrainingRefused


class Reverse(NamedTuple):
    """What becomes what, as rows: `lender`'s face on `label` is to become `label`, by `source`."""

    label: LedgerRow
    source: LedgerRow
    lender: LedgerRow


class Portrait(NamedTuple):
    """An admitted photograph with the one face that was found in it."""

    picture: AdmittedPicture
    face: Face


@dataclass(frozen=True, slots=True)
class Album:
    """A folder of photographs, the ledger that admits them, and what they are wanted for."""

    folder: Path
    ledger: DataLedger
    purpose: Purpose
    now: datetime

    def admit(self) -> Iterator[AdmittedPicture]:
        """Yield every photograph in the folder as the ledger gives it out; raises DataRefused."""
        for path in list_pictures([self.folder]):
            content = read_bounded(path, max_bytes=DEFAULT_LIMITS.file_bytes)
            name = path.relative_to(self.folder).as_posix()
            yield self.ledger.admit(content, name, purpose=self.purpose, now=self.now)


def list_reverse(rows: Sequence[LedgerRow]) -> Iterator[Reverse]:
    """Yield every photograph with every other one of the same person; each time another lends.

    Lenders take turns, so that nobody's face is met more often than others'. In order of the rows'
    people and digests.
    """
    people: dict[tuple[str, str], list[LedgerRow]] = {}
    for row in sorted(rows, key=lambda row: (row.set, row.person, row.sha256)):
        people.setdefault((row.set, row.person), []).append(row)
    turn = 0
    for person, own in people.items():
        if person[1] == "none":  # of nobody in particular: two of them are not one person
            continue
        others = [row for row in rows if (row.set, row.person) != person]
        others.sort(key=lambda row: row.sha256)
        for label in own:
            for source in own:
                if source is not label and others:
                    yield Reverse(label, source, others[turn % len(others)])
                    turn += 1


def build_photo_samples(
    album: Album, analyser: FaceAnalyser, *, variants: int, side_px: int, seed: int
) -> tuple[list[Sample], tuple[LedgerRow, ...]]:
    """Return the samples of an album and the rows they rest on; the first variant is plain.

    A photograph with no face or several is left out, as is what `geo` refuses. Raises DataRefused
    and TrainingRefused.
    """
    portraits: dict[str, Portrait] = {}
    for picture in album.admit():
        found = analyser.analyse(picture.frame)
        if len(found) == 1:
            portraits[picture.sha256] = Portrait(picture, found[0])
    rng, samples = np.random.default_rng(seed), []
    usable = [portraits[digest].picture.row for digest in sorted(portraits)]
    for triplet in list_reverse(usable):
        label, source, lender = (portraits[row.sha256] for row in triplet)
        for variant in range(variants):
            disturb = rng if variant else None
            made = _make(label, source, lender, analyser, side_px, disturb)
            samples += [] if made is None else [made]
    if not samples:
        raise TrainingRefused(
            f"{album.folder.name} gives no reverse triplet",
            mend="it takes two photographs of one person and one of another, each of one face",
        )
    return samples, tuple(usable)


def _make(
    label: Portrait,
    source: Portrait,
    lender: Portrait,
    analyser: FaceAnalyser,
    side_px: int,
    rng: np.random.Generator | None,
) -> Sample | None:
    try:
        hidden = compose(LedgerPair(lender.picture, label.picture, lender.face, label.face))
        found = analyser.analyse(hidden.frame)
        if len(found) != 1:
            return None
        picture, faces = source.picture, (source.face, found[0])
        if rng is not None:
            picture = picture.disturbed(rng)
            faces = disturb_mesh(faces[0], rng), disturb_mesh(faces[1], rng)
        layers = lay_out(LedgerPair(picture, hidden, *faces), SHAPE_BLEND)
    except SwapRefused:
        return None
    return Sample(
        **cut_square(layers, Known(label.picture.frame, label.face), side_px, rng),
        id_source=source.face.id_vector,
        id_target=found[0].id_vector,
        kind="reverse",
    )
