"""One pair as the judges see it, and the figures of whatever a row made of it.

A figure that does not exist for a pair is left out, so it is no part of any mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.generator.bands import compare_detail, skin_mask
from benchmarks.generator.eyes import Spots, counted_eyes, eye_figures, find_spots
from benchmarks.generator.features import FeatureNet
from benchmarks.generator.judges import (
    JUDGES,
    Judged,
    distance,
    expression_gap,
    gaze_gap,
    landmark_gap,
    pose_gap,
    turn_gaps,
)
from benchmarks.generator.pairs import Pair
from benchmarks.generator.pixels import pixel_figures
from generator.faces import Frame
from generator.laying import Layers
from generator.topology import draw_outlines


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The true swap of a pair: the frame, and its face where one was found."""

    frame: Frame
    seen: Judged | None


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A pair; `others` are further pictures of the people, for ranks; `layers` those of geo.

    skin: where fine detail is compared, in the window of `layers`; the same for every row.
    """

    pair: Pair
    target_frame: Frame
    truth: Truth | None
    source: Judged
    target: Judged
    others: Mapping[str, Judged]
    layers: Layers
    features: FeatureNet
    skin: npt.NDArray[np.bool_]
    spots: Spots
    counted: tuple[bool, bool]

    def look(self, frame: Frame, seen: Judged | None) -> dict[str, Any]:
        """Return the figures of one result; without a face only those of its pixels."""
        row: dict[str, Any] = {
            "source_person": self.pair.source_person,
            "both_unseen": self.pair.both_unseen,
            "found": seen is not None,
            **self._detail(frame),
        }
        if self.truth is not None:
            row |= self._errors(frame, seen, self.truth)
        if seen is None:
            return row
        for judge in JUDGES:
            row |= self._identity(judge, seen)
        spots = find_spots(frame, seen.face)
        return row | {
            "pose_deg": pose_gap(seen.face, self.target.face),
            **turn_gaps(seen.face, self.target.face),
            "expression": expression_gap(seen.face, self.target.face),
            "gaze": gaze_gap(seen.face, self.target.face),
            **eye_figures(spots, self.spots, self.counted, self.target.face.pose[0]),
        }

    def _errors(self, frame: Frame, seen: Judged | None, truth: Truth) -> dict[str, float]:
        """Return the errors to the true swap, in pixels, in features and of landmarks."""
        row = pixel_figures(frame, self.target_frame, truth.frame)
        if truth.seen is None:
            return row
        apart = self.features.distance(frame, truth.frame, truth.seen.face)
        if apart is not None:
            row["features"] = apart
        if seen is not None:
            row["landmarks"] = landmark_gap(seen.face, truth.seen.face)
        return row

    def _detail(self, frame: Frame) -> dict[str, float]:
        """Return band figures against the true swap, or the target where there is none."""
        reference = self.target_frame if self.truth is None else self.truth.frame
        (x0, y0), (height, width) = self.layers.origin, self.skin.shape
        parts = [
            picture[y0 : y0 + height, x0 : x0 + width].astype(np.float32)
            for picture in (frame, reference)
        ]
        detail = compare_detail(parts[0], parts[1], self.skin)
        figures = {"octaves": detail.octaves, "coherence": detail.coherence}
        return {
            f"{name}_{level}": value
            for name, values in figures.items()
            for level, value in enumerate(values, 1)
            if math.isfinite(value)
        }

    def _identity(self, judge: str, seen: Judged) -> dict[str, float]:
        to_source = distance(judge, seen, self.source)
        to_target = distance(judge, seen, self.target)
        row = {
            f"{judge}_to_source": to_source,
            f"{judge}_to_target": to_target,
            f"{judge}_margin": to_target - to_source,
        }
        return row | (_ranks(judge, self.pair, seen, self.others) if self.others else {})


def open_case(
    pair: Pair,
    target_frame: Frame,
    truth: Truth | None,
    people: tuple[Judged, Judged],
    others: Mapping[str, Judged],
    layers: Layers,
    features: FeatureNet,
) -> Case:
    """Return a pair made ready; `people`: source and target as they were seen."""
    source, target = people
    other = []
    for mesh in (layers.mesh, layers.own_mesh):
        lines = draw_outlines(mesh)
        other += [*lines.sockets, lines.lips, lines.nose]
    return Case(
        pair=pair,
        target_frame=target_frame,
        truth=truth,
        source=source,
        target=target,
        others=others,
        layers=layers,
        features=features,
        skin=skin_mask(layers.mask, other),
        spots=find_spots(target_frame, target.face),
        counted=counted_eyes(target.face, layers),
    )


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
