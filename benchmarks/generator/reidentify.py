"""Whether a stranger whose face was blurred or replaced is found again among other photographs.

    python -m benchmarks.generator.reidentify --json           # the figures as JSON
    python -m benchmarks.generator.reidentify --people 8       # a look

Photographs of the London set, admitted for measuring alone: the neutral one of everybody is
protected, the gallery are the smiling ones. The searcher asks both nets for the nearest, knows
where the face was even where no detector finds one, and in a second run has protected the gallery
in the same way. Both nets also judge in the product: these figures are no word on a third.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: one core

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.generator.judges import Judges, Vector, expression_gap
from benchmarks.generator.pairs import DATA
from benchmarks.generator.temporal import EYE_CORNERS
from generator.anonymise import blur_faces
from generator.bystanders import (
    Judge,
    Lender,
    Stranger,
    face_in,
    measure_lenders,
    replace_faces,
)
from generator.faces import Face, FaceAnalyser, Frame, open_analyser
from generator.fit import fit_similarity_2d
from generator.insight import IdNet, open_id_net
from generator.laying import SHAPE_BLEND, Layers, lay_out
from generator.ledger_pair import LedgerPair
from generator.personas import PERSONAS_FOLDER, open_personas, read_card, read_picture
from generator.second_net import open_second_net
from provenance.data_ledger import AdmittedPicture, DataLedger, rendered_row
from provenance.data_sets import list_london

PEOPLE = 72
NETS = ("idnet", "faceres")
ROWS = ("untouched", "blur", "persona", "persona, no gate")


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """One photograph as it was or was made: vectors by net, the face there if one is found."""

    vectors: Mapping[str, Vector]
    face: Face | None
    lender: str = ""


class Lenient(Judge):
    """Lets everything pass, the nearest in colour first: what the judge is for."""

    def how_far(self, frame: Frame, stranger: Stranger) -> float:
        return 0.0

    def find_known(
        self, frame: Frame, strangers: Sequence[Stranger], lenders: Sequence[str]
    ) -> list[int]:
        return []


class Desk:
    """Protects photographs as the product does, on pictures of the data ledger, and embeds them."""

    def __init__(self, folder: Path, now: datetime) -> None:
        _, card = read_card(PERSONAS_FOLDER)
        contents = {row.name: read_picture(row, PERSONAS_FOLDER) for row in card.pictures}
        rows = [
            rendered_row(content, f"{name}.webp", set_name="personas", person=f"persona:{name}")
            for name, content in contents.items()
        ]
        ledger = DataLedger([*rows, *(row for _, row in list_london(folder))])
        self._admit = partial(ledger.admit, purpose="evaluation", now=now)
        self._personas = {name: self._admit(data, name) for name, data in contents.items()}
        self._analyser: FaceAnalyser = open_analyser()
        self._id_net: IdNet = open_id_net()
        self._judges = Judges(self._analyser)
        self._lenders = measure_lenders(open_personas(), self._analyser)

    def open(self, path: Path) -> tuple[AdmittedPicture, Face]:
        """Return an admitted photograph and its largest face."""
        picture = self._admit(path.read_bytes(), path.name)
        return picture, self._analyser.analyse(picture.frame)[0]

    def look(self, frame: Frame, was: Face, lender: str = "") -> Probe:
        """Return the vectors of the face that lies where `was` was, or of that place."""
        seen = face_in(was.box, self._analyser.analyse(frame))
        there = seen
        if there is None:  # the searcher knows where it was
            there = replace(was, id_vector=self._id_net.embed(frame, was.mesh))
        return Probe(self._judges.embed(frame, there), seen, lender)

    def make(self, row: str, picture: AdmittedPicture, face: Face) -> Probe:
        """Return one photograph as a row protects it."""
        if row == "untouched":
            return Probe(self._judges.embed(picture.frame, face), face)
        if row == "blur":
            return self.look(blur_faces(picture.frame, [face.box]), face)

        def lay(lender: Lender, target_face: Face) -> Layers:
            source = self._personas[lender.persona.name]
            return lay_out(LedgerPair(source, picture, lender.face, target_face), SHAPE_BLEND)

        kind = Judge if row == "persona" else Lenient
        made = replace_faces(
            picture.frame,
            [Stranger(face.box, face)],
            self._lenders,
            lay=lay,
            judge=kind(picture.frame, self._analyser, open_second_net()),
        )
        return self.look(made.frame, face, made.lenders[0])


def far(net: str, first: Probe, second: Probe) -> float:
    """Return the Euclidean distance of two photographs to a net."""
    return float(np.linalg.norm(first.vectors[net] - second.vectors[net]))


def rank1(net: str, probes: Mapping[str, Probe], gallery: Mapping[str, Probe]) -> float:
    """Return the share of people whose nearest photograph in the gallery is their own."""
    hits = [
        min(gallery, key=lambda other, probe=probe: far(net, probe, gallery[other])) == person
        for person, probe in probes.items()
    ]
    return round(float(np.mean(hits)), 4)


def fitted_gap(first: Face, second: Face) -> float:
    """Return the mean distance of mesh points after the best similarity, by the eye distance."""
    points, wanted = (face.mesh[:, :2].astype(np.float64) for face in (first, second))
    turn, shift = fit_similarity_2d(points, wanted)
    unit = float(np.linalg.norm(wanted[EYE_CORNERS[0]] - wanted[EYE_CORNERS[1]]))
    return float(np.linalg.norm(points @ turn.T + shift - wanted, axis=1).mean() / unit)


def summarise(
    row: str,
    probes: Mapping[str, Probe],
    before: Mapping[str, Probe],
    galleries: Mapping[str, Mapping[str, Probe]],
    limits: Mapping[str, float],
) -> dict[str, Any]:
    """Return the figures of one row."""
    nets = {}
    for net in NETS:
        apart = [far(net, probe, before[person]) for person, probe in probes.items()]
        nets[net] = {
            **{f"rank1_{name}": rank1(net, probes, gallery) for name, gallery in galleries.items()},
            "distance_median": round(float(np.median(apart)), 3),
            "still_under_limit": round(float(np.mean([a <= limits[net] for a in apart])), 4),
        }
    figures: dict[str, Any] = {"n": len(probes), "nets": nets}
    figures["found"] = round(float(np.mean([p.face is not None for p in probes.values()])), 4)
    if row.startswith("persona"):
        figures["fell_back_to_blur"] = round(
            float(np.mean([not probe.lender for probe in probes.values()])), 4
        )
        pairs = [
            (before[person].face, probe.face)
            for person, probe in probes.items()
            if probe.lender and probe.face is not None
        ]
        figures |= _kept([(a, b) for a, b in pairs if a is not None and b is not None])
    return figures


def _kept(pairs: Sequence[tuple[Face, Face]]) -> dict[str, float]:
    """Return how far expression moved: openings of lids and mouth (ratios), all points (eyes)."""
    if not pairs:
        return {}
    return {
        "openings_moved": round(float(np.mean([expression_gap(*pair) for pair in pairs])), 4),
        "landmarks_moved": round(float(np.mean([fitted_gap(*pair) for pair in pairs])), 4),
    }


def measure(folder: Path, count: int, now: datetime) -> dict[str, Any]:
    """Return every row's figures for the first `count` people of the set."""
    desk = Desk(folder, now)
    people = sorted(path.name[:3] for path in folder.glob("*_neutral.jpg"))[:count]
    made: dict[str, dict[str, dict[str, Probe]]] = {row: {} for row in ROWS}
    for part in ("neutral", "smiling"):
        opened = {who: desk.open(folder / f"{who}_{part}.jpg") for who in people}
        for row in ROWS if part == "neutral" else ROWS[:-1]:
            made[row][part] = {who: desk.make(row, *opened[who]) for who in people}
            print(f"{part}: {row}", file=sys.stderr, flush=True)
    plain = made["untouched"]
    thresholds = {
        "idnet": open_id_net().thresholds.mismatch,
        "faceres": open_second_net().thresholds.mismatch,
    }
    faces = [(plain["neutral"][who].face, plain["smiling"][who].face) for who in people]
    return {
        "set": "london, evaluation only: neutral protected, smiling searched",
        "people": len(people),
        "chance_rank1": round(1 / len(people), 4),
        "limits": thresholds,
        "neutral_to_smiling": _kept([(a, b) for a, b in faces if a is not None and b is not None]),
        "rows": {
            row: summarise(
                row,
                made[row]["neutral"],
                plain["neutral"],
                {
                    "plain_gallery": plain["smiling"],
                    "protected_gallery": made[row if row in ROWS[:-1] else "persona"]["smiling"],
                },
                thresholds,
            )
            for row in ROWS
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.generator.reidentify",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("--json", action="store_true", help="print JSON (there is no other form)")
    parser.add_argument("--people", type=int, default=PEOPLE)
    options = parser.parse_args()
    folder = DATA / "london"
    if not (folder / "index.csv").is_file():
        parser.exit(2, "the photographs of the London set are not beside this repository\n")
    found = measure(folder, min(options.people, PEOPLE), datetime.now(UTC))
    print(json.dumps(found, indent=None if options.json else 1))


if __name__ == "__main__":
    main()
