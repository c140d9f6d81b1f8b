"""Measures every row of every pair: against the true swap, the source and the target.

One dictionary of figures for each (row, pair). Pairs that geo refuses are counted by reason and are
no part of any mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.generator.case import Truth, open_case
from benchmarks.generator.features import FeatureNet
from benchmarks.generator.judges import Judged, Judges
from benchmarks.generator.pairs import Pair, Pictures
from benchmarks.generator.pixels import seam
from benchmarks.generator.rows import make, permit_of
from generator.faces import Frame
from generator.laying import SHAPE_BLEND, lay_out
from generator.swapper import OutOfRange


@dataclass(slots=True)
class Results:
    """Figures by row, each a list of dictionaries; refusals by reason; frames for the sheet."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    frames: dict[str, dict[str, Frame]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """What a set is measured with; `tell` is told of every pair, before it is measured."""

    judges: Judges
    features: FeatureNet
    tell: Callable[[str], None]


def measure_set(
    pairs: Sequence[Pair],
    pictures: Pictures,
    rows: Sequence[str],
    bench: Bench,
    others: Mapping[str, Judged],
    *,
    keep: int = 0,
) -> Results:
    """Return the figures of a set; `others` are further pictures of the people, for ranks.

    keep: so many pairs keep their frames, for contact sheets.
    """
    results = Results({row: [] for row in rows})
    known: dict[Any, Judged | None] = {}
    for number, pair in enumerate(pairs, 1):
        bench.tell(f"pair {number} of {len(pairs)}: {pair.name}")
        for path in (pair.source, pair.target, *([pair.label] if pair.label else [])):
            if path not in known:
                known[path] = bench.judges.look(pictures[path].frame)
        source, target = known[pair.source], known[pair.target]
        if source is None or target is None:
            results.refused["no face was found"] += 1
            continue
        permit = permit_of(pictures[pair.source], pictures[pair.target], (source.face, target.face))
        try:
            layers = lay_out(permit, SHAPE_BLEND)
            made = {row: make(row, permit) for row in rows}
        except OutOfRange as error:
            results.refused[error.message.split(" is ")[0]] += 1
            continue
        label, frame = pair.label, permit.target.frame
        truth = Truth(pictures[label].frame, known[label]) if label else None
        people = source, target
        case = open_case(pair, frame, truth, people, others, layers, bench.features)
        if truth is not None:
            results.rows.setdefault("label", []).append(case.look(truth.frame, truth.seen))
        for row, result in made.items():
            figures = case.look(result.frame, bench.judges.look(result.frame))
            results.rows[row].append(figures | {"seam": seam(result.frame, frame, result.mask)})
        if len(results.frames) < keep:
            shown = {"source": permit.source.frame, "target": frame}
            shown |= {row: result.frame for row, result in made.items() if row != "target"}
            results.frames[pair.name] = shown if truth is None else shown | {"label": truth.frame}
    return results
