"""Bring the source's colours to the target's light, region by region; never one for all.

Skin gets mean and limited contrast, then the slow part of the target's shading; lips the mean
only; brows brightness and tint without contrast; eyes are not touched here except `tint_iris`.
All in CIE Lab as OpenCV scales it for float32 (L 0..100, a and b about -60..60).
Works on arrays; refuses nothing, and changes nothing where a region is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
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
# Tint this far (a, b) from the iris's own is certainly iris, twice as far certainly not; and no
# iris is so many times as light as its median.
IRIS_TINT_LIMIT = 9.0
IRIS_BRIGHTEST = 1.5
# One colour of an iris: within so much (L counts half), among so many of its pixels.
SAME_IRIS, MODE_PIXELS = 6.0, 300


Numbers = npt.NDArray[np.float64]
Statistics = tuple[Numbers, Numbers]
"""Mean and standard deviation per channel, (3,) each."""


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """Soft regions of one face crop, float32 (h, w) 0..1: skin to measure on, lips, brows."""

    skin: Image
    lips: Image
    brows: Image

    @property
    def marks(self) -> Image:
        """Brows and lips, (h, w): what keeps its own contrast."""
        return np.asarray(np.maximum(self.brows, self.lips), np.float32)

    def at(self, samples: tuple[slice, slice]) -> Regions:
        """Return the regions at some of the pixels."""
        return Regions(self.skin[samples], self.lips[samples], self.brows[samples])

    def seen_in(self, seen: npt.NDArray[np.bool_]) -> Regions:
        """Return the same regions with skin only where both pictures show it."""
        return Regions(self.skin * seen, self.lips, self.brows)


@dataclass(frozen=True, slots=True, eq=False)
class Eye:
    """Lab colour of a person's irises (3,), and how light the white of the eyes is (L)."""

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


@dataclass(frozen=True, slots=True, eq=False)
class Toning:
    """What brings one face's skin to another's light: measured once, applied to any of its pixels.

    have, want: statistics of the skin before and after. shading: what is then still missing of the
    target's slow shading, Lab float32 (rows, columns, 3) over the picture it was measured on.
    """

    have: Statistics
    want: Statistics
    shading: Image

    def shading_over(self, shape: tuple[int, int]) -> Image:
        """Return the shading over a picture of `shape`: float32 (h, w, 3)."""
        size = shape[1], shape[0]
        return np.asarray(cv2.resize(self.shading, size, interpolation=cv2.INTER_CUBIC), np.float32)

    def apply(self, lab: Image, marks: Image, shading: Image) -> Image:
        """Return pixels (h, w, 3) or (n, 3) in the target's light, Lab float32.

        marks: brows and lips, float32 0..1, (h, w) or (n,): they keep their contrast. shading:
        that of these pixels, of the form of `lab`.
        """
        return _joined(self._light(self._tone(_planes(lab), marks), shading))

    def _tone(self, planes: list[Image], marks: Image) -> list[Image]:
        moved = _move_skin(planes, self.have, self.want)
        some = marks > 0
        if some.any():
            plain = _move_skin([p[some] for p in planes], self.have, (self.want[0], self.have[1]))
            for plane, kept in zip(moved, plain, strict=True):
                plane[some] += (kept - plane[some]) * marks[some]
        return moved

    def _light(self, planes: list[Image], shading: Image) -> list[Image]:
        # Tint follows lightness: dark pixels have none to shift.
        level = max(float(self.want[0][0]), 1.0)
        follows = np.clip(planes[0] * np.float32(1 / level), 0.0, 1.15)
        follows *= np.float32(SHADING_STRENGTH)
        planes[0] += np.float32(SHADING_STRENGTH) * shading[..., 0]
        for channel in (1, 2):
            planes[channel] += follows * shading[..., channel]
        return planes


def measure_toning(
    moved: Image, own: Image, regions: Regions, eye_distance: float
) -> Toning | None:
    """Return what brings `moved` to the skin tone and light of `own`, or None without common skin.

    Both Lab (h, w, 3) of one geometry; regions.skin must only cover pixels that are skin in both;
    eye_distance in pixels. Skin gets mean and limited contrast, lips and brows the mean alone.
    """
    if float(regions.skin.sum()) < MIN_PIXELS:
        return None
    have, want = _statistics(moved, regions.skin), _statistics(own, regions.skin)
    toned = Toning(have, want, np.zeros((1, 1, 3), np.float32))
    matched = _joined(toned._tone(_planes(moved), regions.marks))
    shading = slow_part(own - matched, regions.skin, SHADING_SIGMA * eye_distance)
    return Toning(have, want, shading)


def match_lips(moved: Image, own: Image, regions: Regions) -> Image:
    """Return `moved` with its lips part of the way (LIP_STRENGTH) to the mean colour of `own`."""
    sharp = regions.lips > 0.5
    if int(sharp.sum()) < MIN_PIXELS:
        return moved
    gap = own[sharp].mean(0, dtype=np.float64) - moved[sharp].mean(0, dtype=np.float64)
    out, some = moved.copy(), regions.lips > 0
    out[some] += regions.lips[some][:, None] * (LIP_STRENGTH * gap).astype(np.float32)
    return out


def _move_skin(planes: list[Image], have: Statistics, want: Statistics) -> list[Image]:
    """Return L, a and b with skin statistics moved from `have` to `want`.

    Lightness runs along a curve: contrast-limited around the skin's mean, then straight to black
    and to white, so that hair, lashes and nostrils stay dark on any skin. Tint is shifted in
    proportion to lightness, because a black pixel has no tint to shift, and fades by a factor where
    it must become paler, because shade would otherwise turn blue.
    """
    contrast = np.clip(want[1] / np.maximum(have[1], 1e-3), *CONTRAST)
    spread = float(have[0][0]), float(have[1][0])
    light = _tone_curve(planes[0], spread, float(want[0][0]), float(contrast[0]))
    share = np.clip(planes[0] * np.float32(1 / max(float(have[0][0]), 1.0)), 0.0, 1.15)
    out, lifted = [light], None
    for channel in (1, 2):
        old, new, more = (float(x[channel]) for x in (have[0], want[0], contrast - 1))
        ratio = new / (1.0 if abs(old) < 1.0 else old)
        if 0.0 <= ratio <= 1.0 and abs(old) >= 1.0:
            lifted = _lift(light, share, float(want[0][0])) if lifted is None else lifted
            out.append(planes[channel] * np.float32(ratio) * lifted)
            continue
        tint = planes[channel] * np.float32(more)
        tint += np.float32(new - old - more * old)
        tint *= share
        tint += planes[channel]
        out.append(tint)
    return out


def _lift(light: Image, share: Image, want: float) -> Image:
    """Return the factor of tint of what came out lighter than it went in: that lightness's own."""
    lifted = light * np.float32(1 / max(want, 1.0)) / np.maximum(share, np.float32(0.05))
    out: Image = np.where(share < 1.0, np.clip(lifted, 1.0, np.float32(MAX_LIFT)), np.float32(1.0))
    return out


def _planes(lab: Image) -> list[Image]:
    return [np.ascontiguousarray(lab[..., channel]) for channel in range(3)]


def _joined(planes: list[Image]) -> Image:
    out = np.empty((*planes[0].shape, 3), np.float32)
    for channel, plane in enumerate(planes):
        out[..., channel] = plane
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

    On a grid of sigma / 6 px, (rows, columns, 3): it holds all that a Gaussian of sigma keeps.
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
    return np.asarray(field, np.float32)


def tint_iris(own: Image, eye: Eye, reach: Image, other: Eye) -> Image:
    """Return the target's picture (Lab) with one iris moved towards another person's iris.

    eye: how the iris is now. reach: float32 (h, w) 0..1, where it may lie. Brightness moves by a
    gain (IRIS_GAIN) relative to each eye's own white, tint by a shift. Only what looks like this
    iris is moved: pupil and highlights show the room and not the person, and lids, lashes and
    white within reach are none of it.
    """
    gain = float(np.clip(other.iris[0] / other.white * eye.white / eye.iris[0], *IRIS_GAIN))
    shift = np.clip(other.iris[1:] - eye.iris[1:], -IRIS_SHIFT, IRIS_SHIFT).astype(np.float32)
    # Shade has the tint of its lightness, and takes as much of the shift.
    shade = np.clip(own[..., 0] / np.float32(eye.iris[0]), 0.0, 1.3)
    moved = own + shade[..., None] * np.concatenate([np.zeros(1, np.float32), shift])
    moved[..., 0] = own[..., 0] * gain
    return _mix(own, moved, reach * _likeness(own, shade, eye) * IRIS_STRENGTH)


def _likeness(lab: Image, shade: Image, eye: Eye) -> Image:
    """Return how much each pixel (h, w) looks like iris, 0..1: by its tint and its lightness.

    shade: its lightness over that of the iris, 0..1.3.
    """
    tint = eye.iris[1:].astype(np.float32)
    away = np.linalg.norm(lab[..., 1:] - shade[..., None] * tint, axis=2)
    limit = max(IRIS_TINT_LIMIT, 0.5 * float(np.linalg.norm(tint)))
    like = np.clip(2.0 - away / limit, 0.0, 1.0) * np.clip((shade - 0.35) / 0.35, 0.0, 1.0)
    brightest = IRIS_BRIGHTEST * float(eye.iris[0]) + 10.0
    out: Image = (like * np.clip((brightest - lab[..., 0]) / 10.0, 0.0, 1.0)).astype(np.float32)
    return out


def read_eyes(seen: Sequence[tuple[Image, Image, Image]]) -> Eye | None:
    """Return the colour of a person's irises, or None where too little of iris or white is seen.

    seen: of each eye that can be read its Lab picture (h, w, 3) and the masks (h, w) of iris and
    white. Both eyes are read together, so that they get one colour.
    """
    if not seen:
        return None
    disc = np.concatenate([lab[iris > 0.5] for lab, iris, _ in seen])
    around = np.concatenate([lab[white > 0.5] for lab, _, white in seen])
    if min(len(disc), len(around)) < MIN_PIXELS:
        return None
    bright = float(np.percentile(around[:, 0], 70))
    return Eye(np.maximum(_commonest(disc), [3.0, -127.0, -127.0]), max(bright, 10.0))


def _commonest(disc: Image) -> Numbers:
    """Return the commonest colour (3,) of a disc (n, 3): iris is even, lashes and lids are not.

    Black and what is brighter than nine tenths are left out: pupil, lash and highlight.
    """
    high = float(np.percentile(disc[:, 0], 90))
    low = 0.4 * high
    body = disc[(disc[:, 0] >= low) & (disc[:, 0] <= high)]
    body = body[:: -(-len(body) // MODE_PIXELS)].astype(np.float64)
    scaled = body * [0.5, 1.0, 1.0]
    near = ((scaled[:, None] - scaled[None]) ** 2).sum(2) < SAME_IRIS**2
    return np.asarray(np.median(body[near[near.sum(1).argmax()]], axis=0), np.float64)


def _statistics(lab: Image, weight: Image) -> Statistics:
    """Return weighted mean and standard deviation per channel, (3,) each."""
    some = weight > 0
    values, share = lab[some].astype(np.float64), weight[some].astype(np.float64)[:, None]
    total = max(float(share.sum()), 1e-6)
    mean = (values * share).sum(0) / total
    return mean, np.sqrt(((values - mean) ** 2 * share).sum(0) / total)


def _mix(a: Image, b: Image, share: Image) -> Image:
    out: Image = (a + (b - a) * share[..., None]).astype(np.float32)
    return out
