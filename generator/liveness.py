"""Is a living, present person in front of the camera, doing what today's challenge asks?

Passed only where all of this holds: one face in every sample, no gap and no jump between samples,
the same person throughout, a visible pair of eyes, the asked movements in the asked order and no
others, depth behind every turn, a face that keeps its shape, and no grid of a screen.

What that stops: a still picture; a picture waved, turned, bent or exchanged for another one;
yesterday's video under today's nonce, but for one in 186 that fits by chance. What it does not
stop: a video made in answer to the challenge, by live face replacement or by cutting old footage of
the person together at moments of rest, fed in through a virtual camera or shown on a screen whose
grid the camera does not resolve; a mask, a moulded face, a picture with cut-out eyes on a moulded
head; somebody who looks alike; coercion. Times are those of the file. The policy's spoken code is
not checked: no model here hears. Whoever needs more lets a person look at the video, or meets the
subject.

Every figure was measured on rendered people, four short filmed clips of people and simulated
pictures and screens; on no attack that anybody carried out, and on no children. Hair over an eye,
dark glasses and a face turned too far end in a refusal, not in a pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

import numpy as np

from generator.faces import FloatArray, IdThresholds
from generator.matching import match
from generator.motion import Rest, Sample, Seen, depth_of, rest_of, shape_of, steps_seen
from policies.challenge import Step

State = Literal["passed", "failed"]

ReasonCode = Literal[
    "no_face",
    "several_faces",
    "too_few",
    "gap",
    "not_frontal",
    "eyes_unreadable",
    "jump",
    "other_person",
    "other_steps",
    "flat",
    "shape",
    "screen",
]

MIN_SAMPLES: Final = 20
"""Five movements with a rest between them, two samples each."""

MAX_GAP_SECONDS: Final = 0.25
"""Between two samples somebody could take the person's place; cameras in poor light give 7 to 15
frames a second."""

MAX_YAW_STEP_DEGREES: Final = 15.0
"""Between two samples. The fastest turn filmed: 14.4 in .08 s. From rest no turn is reached in one
step, so a picture cannot be exchanged for a turned one."""

MAX_SHIFT_WIDTHS: Final = 0.35
"""Between two samples, in widths of the face; the fastest filmed: .17."""

MAX_SCALE_STEP: Final = 1.25
"""Between two samples, of the face's width."""

MIN_EYE_OPENING: Final = 0.12
"""Aspect ratio of each eye at rest; smallest with both eyes seen: .18 on 144 photographs. Behind
hair it was .08 to .14."""

MIN_DEPTH: Final = 0.09
"""See `generator.motion.depth_of`: .103 was the smallest on a head."""

MAX_SHAPE_CHANGE: Final = 1.15
"""Largest over smallest; see `generator.motion.shape_of`."""

SHAPE_YAW_DEGREES: Final = 36.0
"""Beyond it the far cheek leaves the outline of a head too."""

MAX_GRID: Final = 8.0
"""Median over the video. Single pictures that show no screen: 4.7 at most (83 pictures, three
compressions each; 4 filmed clips). Simulated screens that the camera resolves: 4 to 18, above 9.8
where it is sharp and not in step with the lamps; others: as no screen."""


class _Limit(NamedTuple):
    """One limit on one figure: an upper one, or with `at_least` a lower one."""

    code: ReasonCode
    figure: str
    limit: float
    text: str
    best: float = 0.0
    at_least: bool = False

    def holds(self, value: float) -> bool:
        """Return whether a value keeps to the limit; NaN never does."""
        return value >= self.limit if self.at_least else value <= self.limit

    def margin(self, value: float) -> float:
        """Return how far a value that holds stays from the limit, 1 = as far as can be."""
        if self.at_least:
            return 1 - self.limit / value
        return (self.limit - value) / (self.limit - self.best)


class Reason(NamedTuple):
    """Why a video failed: a word for machines, a sentence for people."""

    code: ReasonCode
    text: str


@dataclass(frozen=True, slots=True)
class LivenessReading:
    """What a video showed. `figures` names every measured value, whatever the answer.

    seconds, samples, max_gap_s, max_yaw_step (degrees), max_shift (face widths), max_scale_step,
    max_distance (identity), min_eye_opening, min_depth, shape_change, grid.
    """

    asked: tuple[Step, ...]
    seen: tuple[Step, ...]
    reasons: tuple[Reason, ...]
    figures: Mapping[str, float]

    @property
    def state(self) -> State:
        """Passed where nothing speaks against it."""
        return "failed" if self.reasons else "passed"

    @property
    def score_milli(self) -> int:
        """The margin of the check that was passed most narrowly, in thousandths of its limit.

        0 for a failed video; no probability: it only orders videos by how clear they were.
        """
        if self.reasons:
            return 0
        limits = _limits(self.figures["match_limit"])
        margin = min(limit.margin(self.figures[limit.figure]) for limit in limits)
        return max(0, min(1000, round(1000 * margin)))


def check_liveness(
    samples: Sequence[Sample],
    *,
    steps: Sequence[Step],
    template: FloatArray,
    thresholds: IdThresholds,
) -> LivenessReading:
    """Hold the samples of a video, in their order, against the steps that were asked.

    `template` float32 (d,): the one about to be enrolled. Never raises for a poor video: whatever
    is missing is a reason. Raises ShapeError for a template of another length.
    """
    asked = tuple(steps)
    if len(samples) < MIN_SAMPLES:
        text = f"the face was measured {len(samples)} times, need {MIN_SAMPLES}"
        return _failed(asked, Reason("too_few", text), samples)
    rest = rest_of(samples)
    if rest is None:
        return _failed(asked, Reason("not_frontal", "the face never looks straight"), samples)
    seen = steps_seen(samples, rest)
    distances = [match(sample.face, template, thresholds).distance for sample in samples]
    figures = {
        **_continuity(samples),
        "max_distance": max(distances),
        "match_limit": thresholds.match,
        "min_eye_opening": min(rest.right_open, rest.left_open),
        "min_depth": _depth(seen, rest),
        "shape_change": _shape_change(samples),
        "grid": float(np.median([sample.quality.grid for sample in samples])),
    }
    shown = tuple(each.step for each in seen)
    broken = tuple(
        Reason(limit.code, f"{figures[limit.figure]:.2f} {limit.text}")
        for limit in _limits(thresholds.match)
        if not limit.holds(figures[limit.figure])
    )
    reasons = (*broken, *_order(asked, shown))
    return LivenessReading(asked, shown, reasons, MappingProxyType(figures))


def refused_frame(steps: Sequence[Step], faces: int, at: float) -> LivenessReading:
    """Return the failed reading of a video in which a frame at `at` seconds shows not one face."""
    reason = (
        Reason("no_face", f"no face is seen at {at:.1f} s")
        if faces == 0
        else Reason("several_faces", f"{faces} faces are seen at {at:.1f} s")
    )
    return LivenessReading(tuple(steps), (), (reason,), MappingProxyType({"seconds": at}))


def _failed(asked: tuple[Step, ...], reason: Reason, samples: Sequence[Sample]) -> LivenessReading:
    figures = {"samples": float(len(samples))}
    return LivenessReading(asked, (), (reason,), MappingProxyType(figures))


def _continuity(samples: Sequence[Sample]) -> dict[str, float]:
    """Return the largest steps between neighbouring samples."""
    centres = np.stack([sample.face.mesh[:, :2].mean(axis=0) for sample in samples])
    widths = np.array([max(sample.quality.width_px, 1.0) for sample in samples])
    moved = np.linalg.norm(np.diff(centres, axis=0), axis=1) / np.minimum(widths[1:], widths[:-1])
    scale = np.maximum(widths[1:] / widths[:-1], widths[:-1] / widths[1:])
    pairs = list(pairwise(samples))
    return {
        "seconds": samples[-1].at - samples[0].at,
        "samples": float(len(samples)),
        "max_gap_s": max(b.at - a.at for a, b in pairs),
        "max_yaw_step": max(abs(b.face.pose[0] - a.face.pose[0]) for a, b in pairs),
        "max_shift": float(moved.max()),
        "max_scale_step": float(scale.max()),
    }


def _depth(seen: Sequence[Seen], rest: Rest) -> float:
    """Return the smallest depth of all turns, each by the median of its samples; 0 without any."""
    turns = [each for each in seen if each.step in ("turn_left", "turn_right")]
    frontal = rest.sample.face.mesh
    depths = [
        float(np.median([depth_of(frontal, sample.face.mesh) for sample in turn.samples]))
        for turn in turns
    ]
    return min(depths, default=0.0)


def _shape_change(samples: Sequence[Sample]) -> float:
    shapes = [
        shape_of(sample.face.mesh)
        for sample in samples
        if abs(sample.face.pose[0]) <= SHAPE_YAW_DEGREES
    ]
    return max(shapes) / max(min(shapes), 1e-6)


def _limits(match_limit: float) -> tuple[_Limit, ...]:
    """Return every limit on a figure; `match_limit`: the identity net's own."""
    slower, person = "turn more slowly and hold the camera still", "one person, well lit"
    return (
        _Limit("gap", "max_gap_s", MAX_GAP_SECONDS, "s without a picture of the face"),
        _Limit("jump", "max_yaw_step", MAX_YAW_STEP_DEGREES, f"degrees in one step: {slower}"),
        _Limit("jump", "max_shift", MAX_SHIFT_WIDTHS, f"face widths in one step: {slower}"),
        _Limit("jump", "max_scale_step", MAX_SCALE_STEP, "times the size in one step", best=1.0),
        _Limit("other_person", "max_distance", match_limit, f"from the template: {person}"),
        _Limit("shape", "shape_change", MAX_SHAPE_CHANGE, "times as wide as before", best=1.0),
        _Limit("screen", "grid", MAX_GRID, "prominence of a grid, as of a screen", best=1.0),
        _Limit("flat", "min_depth", MIN_DEPTH, "depth in a turn", at_least=True),
        _Limit(
            "eyes_unreadable",
            "min_eye_opening",
            MIN_EYE_OPENING,
            "opening of an eye at rest: nothing may cover it",
            at_least=True,
        ),
    )


def _order(asked: tuple[Step, ...], shown: tuple[Step, ...]) -> tuple[Reason, ...]:
    if asked == shown and asked:
        return ()
    text = f"asked for {', '.join(asked) or 'nothing'}; saw {', '.join(shown) or 'nothing'}"
    return (Reason("other_steps", text),)
