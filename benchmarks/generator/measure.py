"""Measures every row of every pair: against the true swap, the source and the target.

One dictionary of numbers for each (row, pair); a figure that does not exist for a pair is left out.
Pairs that geo refuses are counted by reason and are no part of any mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from skimage.metrics import structural_similarity

from benchmarks.generator.judges import (
    JUDGES,
    Judged,
    Judges,
    distance,
    expression_gap,
    gaze_gap,
    pose_gap,
)
from benchmarks.generator.pairs import Pair, Pictures
from benchmarks.generator.rows import make, permit_of
from generator.faces import Frame
from generator.swapper import OutOfRange

CHANGED_LEVELS = 8.0
"""Pixels this far apart in target and true swap have changed."""


@dataclass(slots=True)
class Results:
    """Figures by row, each a list of dictionaries; refusals by reason; what was not found."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    frames: dict[str, dict[str, Frame]] = field(default_factory=dict)


def measure_set(
    pairs: Sequence[Pair],
    pictures: Pictures,
    rows: Sequence[str],
    judges: Judges,
    others: Mapping[str, Judged],
    *,
    keep: int = 0,
) -> Results:
    """Return the figures of a set; `others` are further pictures of the people, for ranks.

    keep: so many pairs keep their frames, for contact sheets.
    """
    results = Results({row: [] for row in rows})
    known: dict[Any, Judged | None] = {}
    for pair in pairs:
        for path in (pair.source, pair.target, *([pair.label] if pair.label else [])):
            if path not in known:
                known[path] = judges.look(pictures[path].frame)
        source, target = known[pair.source], known[pair.target]
        if source is None or target is None:
            results.refused["no face was found"] += 1
            continue
        permit = permit_of(pictures[pair.source], pictures[pair.target], (source.face, target.face))
        try:
            made = {row: make(row, permit) for row in rows}
        except OutOfRange as error:
            results.refused[error.message.split(" is ")[0]] += 1
            continue
        label = pictures[pair.label].frame if pair.label else None
        case = Case(pair, permit.target.frame, label, source, target, others)
        if label is not None and pair.label is not None:
            results.rows.setdefault("label", []).append(case.look(label, known[pair.label]))
        for row, result in made.items():
            figures = case.look(result.frame, judges.look(result.frame))
            seam_figure = seam(result.frame, case.target_frame, result.mask)
            results.rows[row].append(figures | {"seam": seam_figure})
        if len(results.frames) < keep:
            shown = {"source": permit.source.frame, "target": permit.target.frame}
            shown |= {row: result.frame for row, result in made.items() if row != "target"}
            results.frames[pair.name] = shown if label is None else shown | {"label": label}
    return results


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One pair as the judges see it; `others` are further pictures of the people, for ranks."""

    pair: Pair
    target_frame: Frame
    label: Frame | None
    source: Judged
    target: Judged
    others: Mapping[str, Judged]

    def look(self, frame: Frame, seen: Judged | None) -> dict[str, Any]:
        """Return the figures of one result; without a face only those of its pixels."""
        row: dict[str, Any] = {
            "source_person": self.pair.source_person,
            "both_unseen": self.pair.both_unseen,
            "found": seen is not None,
        }
        if self.label is not None:
            row |= pixel_figures(frame, self.target_frame, self.label)
        if seen is None:
            return row
        for judge in JUDGES:
            to_source = distance(judge, seen, self.source)
            to_target = distance(judge, seen, self.target)
            row |= {
                f"{judge}_to_source": to_source,
                f"{judge}_to_target": to_target,
                f"{judge}_margin": to_target - to_source,
            }
            if self.others:
                row |= _ranks(judge, self.pair, seen, self.others)
        return row | {
            "pose_deg": pose_gap(seen.face, self.target.face),
            "expression": expression_gap(seen.face, self.target.face),
            "gaze": gaze_gap(seen.face, self.target.face),
        }


def _ranks(judge: str, pair: Pair, seen: Judged, others: Mapping[str, Judged]) -> dict[str, float]:
    """Return margin and ranks among other pictures of all people."""
    distances = {person: distance(judge, seen, other) for person, other in others.items()}
    order = sorted(distances, key=lambda person: distances[person])
    return {
        f"{judge}_gallery_margin": distances[pair.target_person] - distances[pair.source_person],
        f"{judge}_rank1": float(order[0] == pair.source_person),
        f"{judge}_rank5": float(pair.source_person in order[:5]),
        f"{judge}_rank1_target": float(order[0] == pair.target_person),
    }


def pixel_figures(frame: Frame, target: Frame, label: Frame) -> dict[str, float]:
    """Return errors to the true swap, grey levels, on changed pixels and on the whole picture.

    The copy's own error on the same pixels is `copied`; progress = 1 - changed / copied is taken of
    the sums, not pair by pair.
    """
    wide = [picture.astype(np.float32) for picture in (frame, target, label)]
    apart = np.abs(wide[1] - wide[2]).mean(2)
    changed = apart > CHANGED_LEVELS
    missed = np.abs(wide[0] - wide[2]).mean(2)
    return {
        "changed": float(missed[changed].mean()) if changed.any() else 0.0,
        "copied": float(apart[changed].mean()) if changed.any() else 0.0,
        "l1": float(missed.mean()),
        "ssim": ssim(wide[0], wide[2]),
    }


def ssim(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    """Return SSIM (Wang et al., IEEE TIP 13, 2004) on luma, Gaussian window of sigma 1.5."""
    greys = [cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) for picture in (first, second)]
    how = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(*greys, data_range=255, **how))


def seam(frame: Frame, target: Frame, mask: npt.NDArray[np.float32]) -> float:
    """Return how much steeper the picture is along the mask's rim than the target is there."""
    inside = (mask > 0.5).astype(np.uint8)
    kernel = np.ones((5, 5), np.uint8)
    ring = (cv2.dilate(inside, kernel) > 0) & (cv2.erode(inside, kernel) == 0)
    if not ring.any():
        return 0.0
    slopes = [
        np.hypot(
            *(
                cv2.Sobel(p.astype(np.float32).mean(2), cv2.CV_32F, *axis)
                for axis in ((1, 0), (0, 1))
            )
        )
        for p in (frame, target)
    ]
    return float((slopes[0][ring] - slopes[1][ring]).mean())
