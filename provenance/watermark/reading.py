"""From gathered frequencies to a claim: which carrier, which bits, and how sure that is.

Decides presence and id. Every statistic here is a sum over secret phases divided by its own
length, so its tail is bounded for any picture whatever (Hoeffding 1963):

* presence rests on the claim frequencies: P(z >= t) <= exp(-t^2 / 2) for each carrier tried;
* an id rests on 32 bits that only the key's holder can set (version, checksum, carrier): of 8 words
  tried in a look, each passes with chance 2^-32 (HMAC as a random function). Where claim and data
  together say more, once the word is written out again, that is stated: signs are fair coins
  whatever their sizes, 2^48 ids were possible, so the bound is 2^48 exp(-z^2 / 2).

All are multiplied by how often a search looked; presence pays for the ids that might have been read
as well. Sync frequencies chose where; they count in none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from provenance.watermark.coding import LIST_SIZE, decode_list
from provenance.watermark.pattern import CARRIERS, CODED_BITS, RINGS, Coefficients, Pattern
from provenance.watermark.payload import ID_BYTES

Values = npt.NDArray[np.float64]

MAX_FALSE_PRESENCE: Final = 1e-6
"""Chance that any picture without a mark of these keys gives a claim, the whole search included."""

_CARRIERS_TRIED: Final = 2
_KEYED_BITS: Final = 32
"""4 of the version, 20 of the checksum, 8 of the carrier."""
_SHRINK: Final = 0.25
_RELIABLE: Final = (0.03, 0.98)
_RATIO: Final = (0.05, 5.0)
_SMOOTHING: Final = (0.25, 0.5, 0.25)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look at one place gives; `mark_id` and `version` are None where no id is read.

    `presence`: z of the claim frequencies, the best of 256 carriers. `identity`: z of claim and
    data under the id that was read, 0 without one.
    """

    presence: float
    identity: float = 0.0
    mark_id: str | None = None
    version: int | None = None
    carrier: int = 0

    def bound(self, looks: int) -> float:
        """Return an upper bound on the chance of this in `looks` looks at an unmarked picture."""
        guessed = looks * _CARRIERS_TRIED * LIST_SIZE * 2.0**-_KEYED_BITS
        if self.mark_id is None:
            return min(1.0, looks * CARRIERS * bound_tail(self.presence) + guessed)
        # `guessed` bounds the chance of any id at all, so that the smaller of both is a bound.
        identity = looks * 2.0 ** (8 * ID_BYTES) * bound_tail(self.identity)
        return min(1.0, guessed, identity)

    def claims(self, looks: int) -> bool:
        """Whether presence may be claimed after that many looks."""
        return self.bound(looks) <= MAX_FALSE_PRESENCE


def bound_tail(statistic: float) -> float:
    """Return exp(-z^2 / 2), the bound on P(statistic >= z) without the mark; 1 below zero."""
    return math.exp(-(max(statistic, 0.0) ** 2) / 2)


def read(spectrum: Coefficients, pattern: Pattern) -> Reading:
    """Read what is said at one place: complex64, the pattern's frequencies moved there."""
    pilots = _pilot_weights(spectrum, pattern)
    presence = _measure_presence(spectrum * pilots, pattern)
    likely = np.argsort(-presence, kind="stable")[:_CARRIERS_TRIED]
    best = Reading(float(presence[likely[0]]), carrier=int(likely[0]))
    for number in likely:
        heard = spectrum[pattern.sync_count :] * pattern.carrier(int(number)).conj()
        weights = _data_weights(spectrum, heard, pattern)
        signal = heard.real * weights
        data = signal[pattern.claim_count :]
        soft = np.asarray(np.bincount(pattern.groups, data, CODED_BITS), np.float64)
        for bits in decode_list(soft):
            found = pattern.understand(bits, int(number))
            if found is not None:
                identity = measure_identity(spectrum, pattern, *found)
                return Reading(float(presence[number]), identity, *found, int(number))
    return best


def measure_identity(spectrum: Coefficients, pattern: Pattern, mark_id: str, version: int) -> float:
    """Return the statistic of claim and data under one id.

    Weights depend on sizes only, not on signs: given the sizes, each sign is a fair coin where the
    carrier is unknown to the picture, and sum / length is bounded as above (Hoeffding 1963).
    """
    said = pattern.spell(mark_id, version)[pattern.sync_count :]
    carrier = pattern.carrier(pattern.carrier_of(mark_id))
    heard = spectrum[pattern.sync_count :]
    weights = _data_weights(spectrum, heard * carrier.conj(), pattern)
    signal = (heard * said.conj()).real * weights
    return float(signal.sum() / (np.sqrt(np.sum(signal**2)) + 1e-12))


def _measure_presence(weighted: Coefficients, pattern: Pattern) -> Values:
    """Return the statistic of the claim frequencies for each carrier, float (256,)."""
    heard = weighted[pattern.sync_count : pattern.pilot_count]
    length = math.sqrt(float(np.sum(np.abs(heard) ** 2)) / 2) + 1e-12
    return np.asarray((pattern.claim.conj() @ heard).real / length, np.float64)


def _pilot_weights(spectrum: Coefficients, pattern: Pattern) -> npt.NDArray[np.float32]:
    """Weigh rings by how far the sync phases came through (maximum ratio combining)."""
    sync = slice(0, pattern.sync_count)
    counts = np.bincount(pattern.rings[sync], minlength=RINGS)
    along = np.bincount(
        pattern.rings[sync], (pattern.sync.conj() * spectrum[sync]).real, RINGS
    ) / np.maximum(counts, 1)
    size = np.sqrt(_ring_means(np.abs(spectrum) ** 2, pattern.rings)) + 1e-6
    share = _smooth(along / size) - _SHRINK / np.sqrt(2 * np.maximum(counts, 1))
    share = np.clip(share, *_RELIABLE)
    return np.asarray((share / (1 - share**2) / size)[pattern.rings], np.float32)


def _data_weights(spectrum: Coefficients, heard: Coefficients, pattern: Pattern) -> Values:
    """Weigh claim and data frequencies; `heard` is theirs, turned back by the carrier.

    What lies along the carrier is signal and noise, what lies across is noise alone: no sign has to
    be known, and none may be, or the bound on the identity would not hold. Sync has its say too.
    """
    rings, sync = pattern.rings, slice(0, pattern.sync_count)
    known = spectrum[sync] * pattern.sync.conj()
    noise = np.sqrt(_ring_means(np.concatenate([known.imag, heard.imag]) ** 2, rings)) + 1e-6
    along = _ring_means(heard.real**2, rings[pattern.sync_count :])
    signal = np.sqrt(np.maximum(along - noise**2, 0.0))
    mean = np.maximum(_ring_means(known.real, rings[sync]), 0.0)
    ratio = np.clip(_smooth((signal + mean) / 2 / noise), *_RATIO)
    return np.asarray((ratio / noise)[rings[pattern.sync_count :]], np.float64)


def _ring_means(values: npt.NDArray[np.floating], rings: npt.NDArray[np.intp]) -> Values:
    counts = np.maximum(np.bincount(rings, minlength=RINGS), 1)
    return np.asarray(np.bincount(rings, values, RINGS) / counts, np.float64)


def _smooth(values: Values) -> Values:
    return np.convolve(np.pad(values, 1, mode="edge"), _SMOOTHING, "valid")
