"""Bring the source's colours to the target's light, region by region; never one for all.

Skin gets mean and limited contrast, then the slow part of the target's shading; lips the mean
only; brows brightness and tint without contrast; eyes are not touched here except `tint_iris`.
All in CIE Lab as OpenCV scales it for float32 (L 0..100, a and b about -60..60).
Works on arrays; refuses nothing, and changes nothing where a region is empty.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]

# A contrast change beyond these stretches beards and flattens freckles [reference section 8].
CONTRAST = (0.7, 1.4)
# How much more tint a shade may get when it is lifted from dark to pale skin.
MAX_LIFT = 1.8
# Share of the target's slow shading that is carried over; 1 would erase the source's own relief.
SHADING_STRENGTH = 0.85
# Sigma of "slow", in eye distances (measured on rendered pairs: below .25 noses flatten).
SHADING_SIGMA = 0.33
# Share by which lips go to the target's lip colour; the rest keeps the source's own lip tint.
LIP_STRENGTH = 0.8
# Fewer pixels than this carry no statistics.
MIN_PIXELS = 40
# An iris may brighten or darken by these factors, and its tint move by this much.
IRIS_GAIN = (0.65, 1.45)
IRIS_SHIFT = 45.0
IRIS_STRENGTH = 0.75


Statistics = tuple[Image, Image]
"""Mean and standard deviation per channel, (3,) each."""


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """Soft regions of one face crop, float32 (h, w) 0..1: skin to measure on, lips, brows."""

    skin: Image
    lips: Image
    brows: Image

    def seen_in(self, seen: npt.NDArray[np.bool_]) -> Regions:
        """Return the same regions with skin only where both pictures show it."""
        return Regions(self.skin * seen, self.lips, self.brows)


@dataclass(frozen=True, slots=True, eq=False)
class Eye:
    """Median Lab colour of an iris (3,), and how light the white of that eye is (L)."""

    iris: npt.NDArray[np.float64]
    white: float


def to_lab(frame: npt.NDArray[np.uint8] | Image) -> Image:
    """Return Lab float32 (h, w, 3) of a BGR picture, uint8 or float32 0..255."""
    lab = cv2.cvtColor(frame.astype(np.float32) / 255.0, cv2.COLOR_BGR2Lab)
    return np.asarray(lab, np.float32)


def to_bgr(lab: Image) -> Image:
    """Return BGR float32 0..255 (h, w, 3) of a Lab picture, clipped to what a screen can show."""
    bgr: Image = np.clip(cv2.cvtColor(lab, cv2.COLOR_Lab2BGR), 0.0, 1.0) * 255.0
    return bgr


def match_skin(moved: Image, own: Image, regions: Regions) -> Image:
    """Return `moved` (Lab, h, w, 3) with the skin tone of `own` (Lab, the same geometry).

    regions.skin must only cover pixels that are skin in both. Skin gets mean and limited contrast,
    lips and brows no contrast in tint or lightness, only the move of the mean.
    """
    if float(regions.skin.sum()) < MIN_PIXELS:
        return moved
    have, want = _statistics(moved, regions.skin), _statistics(own, regions.skin)
    plain = _move_skin(moved, have, (want[0], have[1]))
    full = _move_skin(moved, have, want)
    return _mix(full, plain, np.maximum(regions.brows, regions.lips))


def match_shading(moved: Image, own: Image, regions: Regions, eye_distance: float) -> Image:
    """Return `moved` under the light of `own`: with its slow shading.

    Both Lab (h, w, 3) of one geometry; eye_distance in pixels.
    """
    if float(regions.skin.sum()) < MIN_PIXELS:
        return moved
    shading = slow_part(own - moved, regions.skin, SHADING_SIGMA * eye_distance)
    # Tint follows lightness: dark pixels have none to shift.
    level = max(float(_statistics(own, regions.skin)[0][0]), 1.0)
    shading[..., 1:] *= np.clip(moved[..., :1] / level, 0.0, 1.15)
    out: Image = (moved + SHADING_STRENGTH * shading).astype(np.float32)
    return out


def match_lips(moved: Image, own: Image, regions: Regions) -> Image:
    """Return `moved` with its lips part of the way (LIP_STRENGTH) to the mean colour of `own`."""
    sharp = (regions.lips > 0.5).astype(np.float32)
    if float(sharp.sum()) < MIN_PIXELS:
        return moved
    gap = _statistics(own, sharp)[0] - _statistics(moved, sharp)[0]
    out: Image = (moved + regions.lips[..., None] * (LIP_STRENGTH * gap)).astype(np.float32)
    return out


def _move_skin(lab: Image, have: Statistics, want: Statistics) -> Image:
    """Return the picture with skin statistics moved from `have` to `want`.

    Lightness runs along a curve: contrast-limited around the skin's mean, then straight to black
    and to white, so that hair, lashes and nostrils stay dark on any skin. Tint is shifted in
    proportion to lightness, because a black pixel has no tint to shift, and fades by a factor where
    it must become paler, because shade would otherwise turn blue.
    """
    contrast = np.clip(want[1] / np.maximum(have[1], 1e-3), *CONTRAST)
    light = _tone_curve(lab[..., 0], (have[0][0], have[1][0]), want[0][0], float(contrast[0]))
    share = np.clip(lab[..., :1] / max(float(have[0][0]), 1.0), 0.0, 1.15)
    # Shade that came out lighter than it went in has the tint of that lightness.
    lifted = light[..., None] / max(float(want[0][0]), 1.0) / np.maximum(share, 0.05)
    lifted = np.where(share < 1.0, np.clip(lifted, 1.0, MAX_LIFT), 1.0)
    old, new = have[0][1:], want[0][1:]
    ratio = new / np.where(np.abs(old) < 1.0, 1.0, old)
    fades = (ratio >= 0) & (ratio <= 1) & (np.abs(old) >= 1.0)
    own_tint = old + (lab[..., 1:] - old) * (1 + (contrast[1:] - 1) * share)
    tint = np.where(fades, lab[..., 1:] * ratio * lifted, own_tint + (new - old) * share)
    out: Image = np.concatenate([light[..., None], tint], axis=2).astype(np.float32)
    return out


def _tone_curve(light: Image, have: tuple[float, float], want: float, contrast: float) -> Image:
    mean, spread = have
    low = max(mean - 2 * spread, 0.4 * mean)
    high = min(mean + 2.5 * spread, mean + 0.6 * (100.0 - mean))
    low_out = max(want - (mean - low) * contrast, 0.3 * want)
    high_out = min(want + (high - mean) * contrast, want + 0.7 * (100.0 - want))
    nodes = [0.0, low, mean, high, 100.0]
    out: Image = np.interp(light, nodes, [0.0, low_out, want, high_out, 100.0]).astype(np.float32)
    return out


def slow_part(values: Image, weight: Image, sigma_px: float) -> Image:
    """Return the values (h, w, 3) blurred by a Gaussian that sees only weighted pixels.

    Computed on a grid of sigma / 6 px, which changes nothing that a Gaussian of sigma keeps.
    """
    height, width = weight.shape
    step = max(sigma_px / 6.0, 1.0)
    size = max(int(width / step), 8), max(int(height / step), 8)
    small_weight = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    small = cv2.resize(values * weight[..., None], size, interpolation=cv2.INTER_AREA)
    sigma = sigma_px * size[0] / width
    total = cv2.GaussianBlur(small, (0, 0), sigma)
    norm = cv2.GaussianBlur(small_weight, (0, 0), sigma)
    # A far-away guess fades to the mean instead of to noise divided by nothing.
    mean = small.sum((0, 1)) / max(float(small_weight.sum()), 1e-6)
    field = (total + 1e-3 * mean) / (norm + 1e-3)[..., None]
    out: Image = cv2.resize(
        field.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    return out


def tint_iris(own: Image, iris: Image, white: Image, other: Eye) -> Image:
    """Return the target's picture (Lab) with one iris moved towards another person's iris.

    iris, white: float32 (h, w) 0..1, the visible iris and the white of the same eye. Brightness
    moves by a gain (IRIS_GAIN) relative to each eye's own white, tint by a shift; pupil and
    highlights keep theirs, because they show the room and not the person.
    """
    eye = read_eye(own, iris, white)
    if eye is None:
        return own
    light = own[..., 0]
    inside = light[iris > 0.5]
    low = min(float(np.percentile(inside, 12)), 0.6 * float(eye.iris[0]))
    high = float(np.percentile(inside, 92))
    body = np.clip((light - low) / max(float(eye.iris[0]) - low, 1.0), 0.0, 1.0)
    body *= np.clip((high + 12.0 - light) / 12.0, 0.0, 1.0)
    gain = float(np.clip(other.iris[0] / other.white * eye.white / eye.iris[0], *IRIS_GAIN))
    shift = np.clip(other.iris[1:] - eye.iris[1:], -IRIS_SHIFT, IRIS_SHIFT)
    moved = own + np.array([0.0, *shift], np.float32)
    moved[..., 0] = light * gain
    return _mix(own, moved, iris * body * IRIS_STRENGTH)


def read_eye(lab: Image, iris: Image, white: Image) -> Eye | None:
    """Return the colours of one eye, or None where too little of iris or white is seen."""
    disc, around = lab[iris > 0.5], lab[white > 0.5]
    if min(len(disc), len(around)) < MIN_PIXELS:
        return None
    # The middle half by lightness is iris; below is pupil and lash, above is highlight.
    low, high = np.percentile(disc[:, 0], [30, 80])
    body = disc[(disc[:, 0] >= low) & (disc[:, 0] <= high)]
    bright = float(np.percentile(around[:, 0], 70))
    return Eye(np.maximum(np.median(body, axis=0), [3.0, -127.0, -127.0]), max(bright, 10.0))


def _statistics(lab: Image, weight: Image) -> tuple[Image, Image]:
    """Return weighted mean and standard deviation per channel, (3,) each."""
    total = max(float(weight.sum()), 1e-6)
    mean = (lab * weight[..., None]).sum((0, 1)) / total
    variance = ((lab - mean) ** 2 * weight[..., None]).sum((0, 1)) / total
    return mean, np.sqrt(variance)


def _mix(a: Image, b: Image, share: Image) -> Image:
    out: Image = (a + (b - a) * share[..., None]).astype(np.float32)
    return out
