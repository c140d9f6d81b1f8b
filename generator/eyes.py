"""ERRS: the target's catchlights put back where a network blurred, moved or lost them.

The eyes of a swap are the target's, moved into the new shape, so the light that their corneas
mirror is known: it is in the target's own picture. For each eye this decides whether the target
has a catchlight, whether the picture still shows it, and if not takes away what the picture has in
its place and lays the target's own pixels there, moved as the eye moved. None is ever invented.
Nothing is done to eyes that are shut, covered or too small, and to those that are right already;
where nothing is done the picture is returned bit for bit. Refused: a picture that is not the size
of its layers (ShapeError).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from generator import fit
from generator.catchlight import (
    Catchlight,
    find_catchlight,
    find_spots,
    is_white,
    light_at,
    place_of,
)
from generator.cornea import Cornea, bare_iris, cut_cornea, luminance
from generator.errors import ShapeError
from generator.landmarks import pose_of
from generator.laying import Layers
from generator.topology import LEFT_EYE, RIGHT_EYE
from generator.view import Bools, Image, Points

LIDS, RINGS = (fit.RIGHT_LIDS, fit.LEFT_LIDS), (list(RIGHT_EYE), list(LEFT_EYE))
MIN_OPENING = 0.2
"""Lid gap over eye width, below which an eye counts as shut [generator reference, section 12]."""
MAX_ANGLE_DEG = 25.0
"""Two eyes that tell of one light agree at least so well."""
MAX_SHIFT = 0.5
"""Iris radii that a light handed in may move a catchlight from where it was seen."""
RIGHT_ALREADY = 0.1
"""Mean difference from the wanted catchlight, over its peak, that is left alone."""
PIXEL = 1.0
"""Over the iris radius: what resampling does to spots of a pixel or two, left alone as well."""
OWN_SHARE = 0.25
"""A spot that the target shows at least so brightly is the target's own, in other colours."""
FAINT = 0.05
HALO = 0.15
"""Iris radii around a catchlight in which a blurred one may have left its light."""
SOFT_PX, SURE = 0.7, 6.0
"""Width of a removed spot's edge; levels above the bare iris that count as light in full."""


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """Where the light of a pair of eyes comes from.

    vectors: float64 (2, 3), unit, row 0 = the subject's right eye; x right, y down, z to the
    camera; an eye without a catchlight has the other's. confidence: float64 (2,), 0..1, by contrast
    and size; 0 = no catchlight in that eye.
    """

    vectors: Points
    confidence: Points


@dataclass(frozen=True, slots=True, eq=False)
class _Eye:
    """One eye: its cornea in the target, the catchlight there, and its cornea in the picture.

    turn (2, 2), shift (2,): a point of the target went to turn @ point + shift.
    """

    own: Cornea
    spot: Catchlight | None
    cornea: Cornea
    turn: Points
    shift: Points


class EyeReflections:
    """The finishing step `errs`; keeps nothing between pictures."""

    name = "errs"
    version = "1"

    def __init__(self) -> None:
        self.models: Mapping[str, str] = {}

    def apply(self, picture: Image, layers: Layers, light: Light | None = None) -> Image:
        """Return the picture with the target's catchlights, BGR float32 (h, w, 3), 0..255.

        picture: a finished window of `layers`; returned itself where there is nothing to do.
        light: a smoothed light for a frame of a video; without it the catchlights stay where the
        target has them. Raises ShapeError.
        """
        if picture.shape != layers.target.shape:
            raise ShapeError("picture", actual=picture.shape, expected=layers.target.shape)
        eyes = _read_eyes(layers)
        steady = _trusted(light, _light_of_eyes(eyes))
        out = picture
        for side, eye in enumerate(eyes):
            if eye is not None:
                crop = np.ascontiguousarray(out[eye.cornea.window])
                known = steady if steady is not None and steady.confidence[side] > 0 else None
                made = _restore(crop, layers, eye, None if known is None else known.vectors[side])
                if made is not None:
                    out = picture.copy() if out is picture else out
                    out[eye.cornea.window] = made
        return out


def light_of(layers: Layers) -> Light | None:
    """Return the light that the target's catchlights tell of, or None if it has none."""
    return _light_of_eyes(_read_eyes(layers))


def _read_eyes(layers: Layers) -> list[_Eye | None]:
    """Return both eyes, right one first; None for one to which nothing is done."""
    yaw, pitch, _ = np.radians(pose_of(layers.own_mesh.astype(np.float32)))
    # Where the eyes look is not known; they look, nearly, where the head does.
    facing = np.array([np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
    return [_read_eye(layers, side, facing) for side in (0, 1)]


def _read_eye(layers: Layers, side: int, facing: Points) -> _Eye | None:
    meshes = layers.own_mesh, layers.mesh
    if any(fit.measure_opening(mesh, LIDS[side]) < MIN_OPENING for mesh in meshes):
        return None
    before, after = (mesh[RINGS[side], :2] for mesh in meshes)
    centre, rim = layers.iris[side, 0], layers.iris[side, 1:]
    radius = float(np.linalg.norm(rim - centre, axis=1).mean())
    own = cut_cornea(centre, radius, before, layers.cover, facing=facing)
    if own is None:
        return None
    turn, shift = fit.fit_similarity_2d(before, after)
    growth = float(np.sqrt(np.linalg.det(turn)))
    moved = turn @ centre + shift
    cornea = cut_cornea(moved, growth * radius, after, layers.cover, facing=facing)
    if cornea is None:
        return None
    spot = find_catchlight(np.ascontiguousarray(layers.target[own.window]), own)
    return _Eye(own, spot, cornea, turn, shift)


def _light_of_eyes(eyes: list[_Eye | None]) -> Light | None:
    vectors, confidence = np.zeros((2, 3)), np.zeros(2)
    for side, eye in enumerate(eyes):
        if eye is not None and eye.spot is not None:
            vectors[side] = light_at(eye.spot.centre, eye.own)
            confidence[side] = min(eye.spot.peak / 128, 1) * min(eye.own.radius / 12, 1)
    if not confidence.any():
        return None
    for side in (0, 1):
        if not confidence[side]:
            vectors[side] = vectors[1 - side]
    return Light(vectors, confidence)


def _trusted(given: Light | None, measured: Light | None) -> Light | None:
    """Return the light handed in, unless the two eyes contradict each other about theirs."""
    if given is None or measured is None:
        return None
    cosine = float(measured.vectors[0] @ measured.vectors[1])
    agree = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))) <= MAX_ANGLE_DEG
    return given if agree else None


def _restore(crop: Image, layers: Layers, eye: _Eye, light: Points | None) -> Image | None:
    """Return a picture's crop of one cornea with its catchlight put right; None: right already."""
    alpha, shine = _wanted_spot(eye, light)
    stale = _stale_light(crop, layers, eye, alpha)
    touched = stale | (alpha > FAINT)
    if not touched.any():
        return None
    made = (1 - alpha)[..., None] * _without(crop, eye.cornea, stale) + shine
    if eye.spot is not None:
        off = np.abs(made - crop).max(2)
        worst = max(float((off * part).sum() / max(part.sum(), 1e-6)) for part in (alpha, stale))
        if worst < max(RIGHT_ALREADY, PIXEL / eye.cornea.radius) * eye.spot.peak:
            return None
    return np.asarray(np.clip(made, 0.0, 255.0), np.float32)


def _wanted_spot(eye: _Eye, light: Points | None) -> tuple[Image, Image]:
    """Return alpha (h, w) and premultiplied light (h, w, 3) of the catchlight to be seen here."""
    seen, spot = eye.cornea.seen, eye.spot
    if spot is None:
        return np.zeros_like(seen), np.zeros((*seen.shape, 3), np.float32)
    offset = np.zeros(2)
    if light is not None:
        # Both places by the sphere, so that the light that was seen moves nothing.
        offset = place_of(light, eye.cornea) - place_of(light_at(spot.centre, eye.own), eye.cornea)
        if np.linalg.norm(offset) > MAX_SHIFT * eye.cornea.radius:
            offset = np.zeros(2)
    alpha, shine = (_carry(part, eye, offset) for part in (spot.alpha, spot.light))
    return np.clip(alpha, 0.0, 1.0) * seen, np.maximum(shine, 0.0) * seen[..., None]


def _carry(part: Image, eye: _Eye, offset: Points) -> Image:
    """Return a part of the target's crop as it lies in the picture's crop, moved by `offset`."""
    back = np.linalg.inv(eye.turn)
    begin = back @ (eye.cornea.origin - offset - eye.shift) - eye.own.origin
    matrix = np.column_stack([back, begin])
    height, width = eye.cornea.seen.shape
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(part, matrix, (width, height), flags=flags), np.float32)


def _stale_light(crop: Image, layers: Layers, eye: _Eye, wanted: Image) -> Bools:
    """Return the pixels of light that must go: spots of the picture and the halo of the wanted one.

    A spot where the wanted one goes may have been tinted with the iris. One that lies elsewhere
    goes only if it is white and the target is dark there.
    """
    cornea, stale = eye.cornea, wanted > FAINT
    bare = bare_iris(crop, cornea, np.zeros(stale.shape, np.bool_))
    spots = find_spots(crop, bare, cornea, tinted=True)
    count, labels = cv2.connectedComponents(spots.astype(np.uint8))
    for number in range(1, count):
        spot = labels == number
        joined = bool((_around(spot, 1.0) & (wanted > FAINT)).any())
        if joined or (
            is_white(crop[spot], bare[spot]) and _is_foreign(crop - bare, spot, layers, eye)
        ):
            stale |= spot
    return _around(stale, HALO * cornea.radius)


def _is_foreign(added: Image, spot: Bools, layers: Layers, eye: _Eye) -> bool:
    """Return whether the target is dark where the picture has a spot; `added` is its light."""
    target = np.ascontiguousarray(layers.target[eye.own.window])
    bare = bare_iris(target, eye.own, np.zeros(eye.own.seen.shape, np.bool_))
    own = _carry(luminance(target) - luminance(bare), eye, np.zeros(2))
    return bool(own[spot].mean() < OWN_SHARE * luminance(added)[spot].mean())


def _around(region: Bools, reach_px: float) -> Bools:
    side = 2 * round(max(reach_px, 1.0)) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return np.asarray(cv2.dilate(region.astype(np.uint8), disc) > 0)


def _without(crop: Image, cornea: Cornea, stale: Bools) -> Image:
    """Return the crop with the light of the stale pixels taken away; nothing gets lighter."""
    bare = bare_iris(crop, cornea, stale)
    edge = cv2.GaussianBlur(stale.astype(np.float32), (0, 0), SOFT_PX)
    lighter = np.clip(luminance(crop) - luminance(bare), 0.0, SURE) / SURE
    gone = np.where(stale, 1.0, np.clip(2 * edge, 0.0, 1.0)) * lighter * cornea.seen
    return np.asarray(crop + gone[..., None] * (bare - crop), np.float32)
