"""Does this face look as young as a challenge demands? Two nets, several crops, never a decision.

Gives facts for the challenge-25 rule: `minor` when any estimate is under 18, `challenge` when any
estimate less the margin is under 25 or the two nets disagree, else `clear`. An estimate proves
nobody's age: `clear` only means that no further evidence was provoked. Refused by raising: frames
and faces of the wrong form, cards without the rule's numbers, and nets that answer with anything
but ages. Whoever cannot measure must deny.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, Protocol

import numpy as np

from generator.errors import MeasurementFailed, WeightRefused
from generator.faces import Face, Frame, require_frame
from generator.landmarks import crop_matrix, crop_points, warp_square
from generator.weights import WeightSession, open_session

FIRST = "faceres"
SECOND = "ssrnet"

AgeState = Literal["clear", "challenge", "minor"]

# Below this age nothing is allowed, and below the other one evidence of age is asked for
# (challenge-25, as sellers of age-restricted goods do).
MINOR_UNDER = 18
CHALLENGE_UNDER = 25

# Two nets further apart than this do not see the same age (faces.md: review).
DISAGREEMENT_YEARS = 12

# A card may ask for a larger margin than this, never for a smaller one.
SMALLEST_MARGIN = 8

# Crops per net: reach (half side in eye distances, as for the mesh), mirrored. Measured on 142
# photographs: the error is smallest from 1.7 to 2.2, and mirrored crops err in other places.
CROPS = ((1.9, False), (1.9, True), (1.7, False), (2.2, True))
CROP_DROP = 0.35

# The oldest age either net knows; outside 0..OLDEST an answer is no age.
OLDEST = 101.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """One net's answer for one crop, in years; `crop` is reach and, when mirrored, an `m`."""

    net: str
    crop: str
    years: float


@dataclass(frozen=True, slots=True)
class AgeReading:
    """What one face gave: the state and every estimate behind it."""

    state: AgeState
    estimates: tuple[Estimate, ...]


class AgeGate(Protocol):
    """Estimates how old a face looks; what it loaded is on record in `models`."""

    @property
    def models(self) -> Mapping[str, str]:
        """Model name -> sha256 (hex) of its weight file."""
        ...

    def measure(self, frame: Frame, face: Face) -> AgeReading:
        """Return the reading of one face of a BGR uint8 frame.

        Raises an error of `policies.errors.Error` when nothing could be measured; the caller must
        treat that as "minor" and deny.
        """
        ...


class AgeNet:
    """One age graph: a face crop in, years out, whether the graph gives a distribution or one."""

    def __init__(self, session: WeightSession) -> None:
        card = session.card
        if card.task != "age" or not ({"ages", "age"} & set(card.outputs)):
            raise WeightRefused(f"{card.name} is not the card of an age net")
        self.margin = card.number("margin_years")
        if not self.margin >= SMALLEST_MARGIN:
            raise WeightRefused(f"the margin of {card.name} is under {SMALLEST_MARGIN} years")
        self._session = session
        self.side_px = card.picture.side_px
        self.name = card.name
        self.models: Mapping[str, str] = {card.name: card.sha256}

    def estimate(self, crop: Frame) -> float:
        """Return the age in years that a BGR uint8 square (side, side, 3) looks like.

        A distribution over 0, 1, 2 ... years becomes its mean. Raises MeasurementFailed.
        """
        outputs = self._session.run(np.ascontiguousarray(crop[:, :, ::-1]))
        if "ages" in outputs:
            shares = outputs["ages"].reshape(-1).astype(np.float64)
            if not abs(float(shares.sum()) - 1) <= 1e-3:
                raise MeasurementFailed(f"{self.name} answered with no distribution")
            years = float(shares @ np.arange(len(shares)))
        else:
            years = float(outputs["age"].reshape(()))
        if not 0 <= years <= OLDEST:
            raise MeasurementFailed(f"{self.name} answered with {years}, which is no age")
        return years


class TwoAgeNets:
    """The tripwire over two nets that were trained apart; a face must pass both, on every crop."""

    def __init__(self, nets: Sequence[AgeNet]) -> None:
        if len(nets) != 2 or nets[0].name == nets[1].name:
            raise WeightRefused("two different age nets are needed")
        self._nets = tuple(nets)
        self.models: Mapping[str, str] = {k: v for net in nets for k, v in net.models.items()}

    def measure(self, frame: Frame, face: Face) -> AgeReading:
        """Return the reading of one face; raises ShapeError and MeasurementFailed."""
        require_frame(frame)
        estimates = tuple(
            Estimate(net.name, name, net.estimate(crop))
            for net in self._nets
            for name, crop in crops_of(frame, face, net.side_px)
        )
        margins = {net.name: net.margin for net in self._nets}
        return AgeReading(state_for(estimates, margins), estimates)


def open_age_gate(threads: int = 1) -> AgeGate:
    """Load the two shipped age nets on `threads` CPUs; raises WeightRefused."""
    nets = [AgeNet(open_session(name, threads=threads)) for name in (FIRST, SECOND)]
    return TwoAgeNets(nets)


def crops_of(frame: Frame, face: Face, side_px: int) -> Iterator[tuple[str, Frame]]:
    """Yield the named crops of one face, BGR uint8 (side, side, 3), eyes level.

    Raises MeasurementFailed for a face without extent.
    """
    anchors = crop_points(face.mesh)
    for reach, mirrored in CROPS:
        matrix = crop_matrix(anchors, side_px, reach=reach, drop=CROP_DROP)
        if matrix is None:
            raise MeasurementFailed("the face is too small to be measured")
        crop = warp_square(frame, matrix, side_px)
        yield f"{reach:g}{'m' if mirrored else ''}", crop[:, ::-1] if mirrored else crop


def state_for(estimates: Sequence[Estimate], margins: Mapping[str, float]) -> AgeState:
    """Return the state that the estimates give; `margins`: net -> years.

    minor: any estimate < 18. challenge: any estimate less its net's margin < 25, or the means of
    the nets more than 12 years apart. Raises MeasurementFailed unless every net of `margins`
    answered with finite numbers.
    """
    by_net = {net: [e.years for e in estimates if e.net == net] for net in margins}
    if not all(by_net.values()) or not np.isfinite([e.years for e in estimates]).all():
        raise MeasurementFailed("an age net gave no estimate")
    if any(e.years < MINOR_UNDER for e in estimates):
        return "minor"
    means = [fmean(years) for years in by_net.values()]
    near = any(e.years - margins[e.net] < CHALLENGE_UNDER for e in estimates)
    apart = max(means) - min(means) > DISAGREEMENT_YEARS
    return "challenge" if near or apart else "clear"
