"""geo, the model-free swapper: warped pixels of the source in the target's shape, light and pose.

The target's mesh, moved by a share of the source's face shape (`fit`), says where everything goes.
Source texture is pulled there triangle by triangle, from the mirrored side where its own side is
hidden, and left out where neither is seen; the target's own skin stays there. Colours follow the
target region by region (`colour`). Eyeballs and the inside of the mouth are always the target's,
the irises tinted; whatever covers the target's face stays in front; the outline stays the
target's. No weights, no randomness: the same inputs give the same pixels.
Refused, with the measured number and the limit (OutOfRange): heads turned too far or too
differently, faces too small, shut or hidden source eyes, faces covered too much.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from generator import blend, colour, fit, warp
from generator.faces import Face, Frame
from generator.swapper import OutOfRange, Rendering, SwapTask, require_task
from generator.topology import Outlines, draw_outlines, load_topology

Image = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float64]

SHAPE_BLEND = 0.5
"""Default share of the source's shape [generator reference, section 2]; 1 = all of it."""

# Range. Degrees are head yaw; beyond them half the texture would be invented.
MAX_YAW_GAP_DEG = 60.0
MAX_SOURCE_YAW_DEG = 40.0
MAX_TARGET_YAW_DEG = 60.0
MIN_FACE_SIDE_PX = 64.0
MIN_LID_OPENING = 0.15
"""Lid gap over eye width; the narrowest of 288 eyes in studio photographs measured .20."""
MIN_EYE_CONTRAST = 12.0
"""Lightness (L) between pupil and white; in 288 eyes in studio photographs never below 21, hair
over an eye mostly below 7."""
MAX_EYE_COVER = 0.3
MAX_FACE_COVER = 0.4
"""Share of the inner face that may be covered [generator reference, section 1]."""

MIN_LENT_SHARE = 0.5
"""Share of the target's face that the source can cover; below it hardly anybody is swapped."""

# Sizes, in eye distances of the target.
MARGIN = 0.15
RIM_START, RIM_WIDTH = 0.03, 0.16
EYE_RIM = 0.014
MOUTH_RIM, WIDE_OPEN = 0.05, 0.15
EDGE_SOFTNESS = 0.025
FAINTEST = 0.01
KINK_SMOOTHING = 0.012
COVER_MARGIN = 0.07
SMALL_HOLE = 0.3
# Covers are looked for at this many pixels per eye distance: fine enough for strands of hair.
COVER_UNIT_PX = 100.0
# Texture quality from which a pixel is lent rather than left to the target.
LENT = 0.5
MIN_IRIS_PX = 3.0
MIN_TINT_OPENING = 0.15


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One face in its own crop: Lab pixels, mesh and irises in crop pixels, what covers it.

    unit: the eye distance as it would be from the front, in pixels. origin: the crop's corner.
    """

    lab: Image
    mesh: Points
    iris: Points
    cover: Image
    unit: float
    origin: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the crop."""
        return self.lab.shape[0], self.lab.shape[1]


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """The target made ready: its view in the new shape, and what lies where in it.

    own: the target's pixels moved into the new shape (Lab). cover: 1 = covered. rim: distance
    from the face oval in eye distances, measured on the neutral face, so that the narrow far side
    of a turned head gets a narrow rim; 0 outside.
    """

    own: Image
    cover: Image
    rim: Image
    raster: warp.Raster
    mesh: Points
    outlines: Outlines
    unit: float


class GeometricSwapper:
    """The swapper `geo`. `shape_blend` in 0..1 is the share of the source's shape."""

    name = "geo"

    def __init__(self, *, shape_blend: float = SHAPE_BLEND) -> None:
        if not 0.0 <= shape_blend <= 1.0:
            raise OutOfRange("the shape blend", measured=shape_blend, limit=1.0)
        self.shape_blend = shape_blend
        self.version = f"1+s{shape_blend:.3f}"
        self.models: Mapping[str, str] = {}

    def render(self, task: SwapTask) -> Rendering:
        """Return the swapped frame and its mask; raises WarrantInvalid, UnnamedFace, OutOfRange."""
        require_task(task)
        require_range(task.source_face, task.target_face)
        target = view_face(task.target.frame, task.target_face, 1.0)
        scale = target.unit / _unit_of(task.source_face.mesh)
        source = view_face(task.source.frame, task.source_face, scale)
        require_uncovered(source, target)
        return _compose(source, target, task.target.frame, self.shape_blend)


def require_range(source: Face, target: Face) -> None:
    """Raise OutOfRange, naming number and limit, for faces that geometry cannot swap."""
    gap = abs(source.pose[0] - target.pose[0])
    if gap > MAX_YAW_GAP_DEG:
        raise OutOfRange("the yaw difference (degrees)", measured=gap, limit=MAX_YAW_GAP_DEG)
    for whose, face, limit in (
        ("source", source, MAX_SOURCE_YAW_DEG),
        ("target", target, MAX_TARGET_YAW_DEG),
    ):
        yaw = abs(face.pose[0])
        if yaw > limit:
            mend = f"use a {whose} picture that faces the camera"
            raise OutOfRange(f"the {whose}'s yaw (degrees)", measured=yaw, limit=limit, mend=mend)
        side = min(face.box[2] - face.box[0], face.box[3] - face.box[1])
        if side < MIN_FACE_SIDE_PX:
            raise OutOfRange(
                f"the {whose}'s face side (pixels)", measured=side, limit=MIN_FACE_SIDE_PX
            )
    for lids in (fit.RIGHT_LIDS, fit.LEFT_LIDS):
        opening = fit.measure_opening(source.mesh, lids)
        if opening < MIN_LID_OPENING:
            mend = "use a source picture with open eyes"
            raise OutOfRange(
                "the source's lid opening", measured=opening, limit=MIN_LID_OPENING, mend=mend
            )


def require_uncovered(source: View, target: View) -> None:
    """Raise OutOfRange where hair or something else hides too much of either face."""
    for eye in draw_outlines(source.mesh).eyes:
        contrast = _contrast_inside(source.lab, eye)
        if contrast < MIN_EYE_CONTRAST:
            mend = "use a source picture that shows both eyes"
            raise OutOfRange(
                "the contrast in a source eye", measured=contrast, limit=MIN_EYE_CONTRAST, mend=mend
            )
        hidden = _mean_inside(source.cover, eye)
        if hidden > MAX_EYE_COVER:
            mend = "use a source picture that shows both eyes"
            raise OutOfRange(
                "the hidden share of a source eye", measured=hidden, limit=MAX_EYE_COVER, mend=mend
            )
    for whose, view in (("source", source), ("target", target)):
        hidden = _mean_inside(view.cover, draw_outlines(view.mesh).oval)
        if hidden > MAX_FACE_COVER:
            raise OutOfRange(
                f"the covered share of the {whose}'s face", measured=hidden, limit=MAX_FACE_COVER
            )


def view_face(frame: Frame, face: Face, scale: float) -> View:
    """Cut one face out of a frame and look for what covers it.

    scale: wanted size over present size; only used to shrink, so that no texture aliases.
    """
    unit = _unit_of(face.mesh)
    x0, y0, x1, y1 = _window(face.mesh, frame.shape, MARGIN * unit)
    part = frame[y0:y1, x0:x1]
    factor = np.ones(2)
    if scale < 0.8:
        wide, high = (max(round(side * scale), 8) for side in (x1 - x0, y1 - y0))
        factor = np.array([wide / (x1 - x0), high / (y1 - y0)])
        small = cv2.resize(part, (wide, high), interpolation=cv2.INTER_AREA)
        part = np.asarray(small, np.uint8)
    mesh = face.mesh.astype(np.float64)
    mesh[:, :2] = (mesh[:, :2] - [x0, y0] + 0.5) * factor - 0.5
    mesh[:, 2] *= factor.mean()
    iris = (face.iris.astype(np.float64) - [x0, y0] + 0.5) * factor - 0.5
    lab, unit = colour.to_lab(part), unit * float(factor.mean())
    return View(lab, mesh, iris, _cover_of(lab, mesh, unit), unit, (x0, y0))


def _compose(source: View, target: View, frame: Frame, amount: float) -> Rendering:
    stage = _set_stage(source, target, amount)
    moved, lent = _lend_texture(source, stage)
    shown = float(lent.sum() / max(int(stage.raster.covered.sum()), 1))
    if shown < MIN_LENT_SHARE:
        raise OutOfRange(
            "the share of the face that the source shows", measured=shown, limit=MIN_LENT_SHARE
        )
    face = _join(moved, lent, stage)
    # Covers stay where they were: they do not take part in the change of shape.
    soft = blend.feather(stage.raster.covered, 0.5, EDGE_SOFTNESS * stage.unit)
    support = np.minimum(blend.smooth_step(stage.rim / RIM_START), soft) * (1.0 - target.cover)
    support[support < FAINTEST] = 0.0
    (x0, y0), (height, width) = target.origin, target.shape
    window = np.s_[y0 : y0 + height, x0 : x0 + width]
    out = frame.copy()
    mixed = blend.lay_over(frame[window].astype(np.float32), colour.to_bgr(face), support)
    out[window] = np.where(support[..., None] > 0, np.round(mixed), frame[window]).astype(np.uint8)
    mask = np.zeros(frame.shape[:2], np.float32)
    mask[window] = support
    return Rendering(out, mask)


def _set_stage(source: View, target: View, amount: float) -> Stage:
    topology = load_topology()
    mesh = fit.blend_shape(source.mesh, target.mesh, amount)
    raster = warp.rasterise(mesh, topology.triangles, target.shape)
    positions = _positions(raster, target.mesh, target.unit)
    tinted = _tint_irises(target, source)
    inside = raster.covered
    own = np.where(inside[..., None], warp.pull(tinted, positions), target.lab)
    cover = np.clip(warp.pull(target.cover, positions), 0.0, 1.0) * inside
    rim = raster.spread(topology.rim) * inside
    return Stage(own, cover, rim, raster, mesh, draw_outlines(mesh), target.unit)


def _lend_texture(source: View, stage: Stage) -> tuple[Image, Bools]:
    """Return the source's face in the stage's shape and colours (Lab), and where it is usable."""
    topology, unit = load_topology(), stage.unit
    bare = 1.0 - blend.widen(source.cover, 2 * COVER_MARGIN * unit)
    regions, layers = _regions(stage), []
    for twin in (np.arange(len(topology.mirror)), topology.mirror):
        # Point p of the stage takes what the source shows at p, or at p's mirror point.
        positions = _positions(stage.raster, source.mesh[twin], unit)
        quality = warp.texture_quality(source.mesh, stage.mesh[twin], topology.triangles)[twin]
        seen = stage.raster.spread(quality) * _on_picture(positions, source.shape)
        seen = seen * np.clip(warp.pull(bare, positions), 0.0, 1.0)
        seen = blend.soften(seen, 0.04 * unit) * stage.raster.covered
        texture = warp.pull(source.lab, positions)
        seen_regions = regions.seen_in(seen > LENT)
        matched = colour.match_skin(texture, stage.own, seen_regions)
        matched = colour.match_shading(matched, stage.own, seen_regions, unit)
        layers.append((blend.extend(matched, seen > LENT), seen))
    (straight, first), (mirrored, second) = layers
    share = first / np.maximum(first + (1.0 - first) * second, 1e-3)
    moved = blend.blend_bands(straight, mirrored, blend.smooth_step((share - 0.25) / 0.5))
    lent = np.maximum(first, second) > LENT
    moved = colour.match_lips(moved, stage.own, regions)
    return moved, blend.fill_holes(lent, stage.raster.covered, (SMALL_HOLE * unit) ** 2)


def _join(moved: Image, lent: Bools, stage: Stage) -> Image:
    """Blend the lent face into the target and put back what is always the target's."""
    unit, inside = stage.unit, stage.raster.covered
    rim = blend.smooth_step((stage.rim - RIM_START) / RIM_WIDTH)
    alpha = np.minimum(rim, blend.feather(lent | ~inside, RIM_START * unit, RIM_WIDTH * unit))
    under = blend.extend(stage.own, inside & (stage.cover < 0.05))
    face = blend.blend_bands(blend.extend(moved, lent), under, alpha)
    eyes = blend.fill_polygons(inside.shape, [*stage.outlines.eyes])
    mouth = blend.fill_polygons(inside.shape, [stage.outlines.mouth])
    # A shut source mouth draws its line on the lips' inner edge, so an open target shows that edge.
    opening = min(fit.measure_opening(stage.mesh, fit.LIPS) / WIDE_OPEN, 1.0)
    mouth = blend.widen(mouth, (EYE_RIM + MOUTH_RIM * opening) * unit)
    kept = blend.soften(np.maximum(blend.widen(eyes, EYE_RIM * unit), mouth), EYE_RIM * unit)
    return blend.lay_over(stage.own, face, 1.0 - kept)


def _regions(stage: Stage) -> colour.Regions:
    """Return where skin may be measured, and where lips and brows are."""
    shape, unit, lines = stage.raster.index.shape, stage.unit, stage.outlines
    mouth = blend.fill_polygons(shape, [lines.mouth])
    lips = blend.fill_polygons(shape, [lines.lips]) * (1.0 - mouth)
    brows = blend.soften(blend.fill_polygons(shape, [*lines.brows]), 0.03 * unit)
    other = np.maximum.reduce(
        [lips, mouth, brows, blend.fill_polygons(shape, [*lines.sockets, lines.nose])]
    )
    rim = blend.smooth_step((stage.rim - 0.03) / 0.08)
    skin = (1.0 - stage.cover) * rim * (1.0 - other)
    return colour.Regions(skin, blend.soften(lips, 0.015 * unit), brows)


def _tint_irises(target: View, source: View) -> Image:
    """Return the target's Lab picture with its irises in the source's colour, where measurable."""
    lab = target.lab
    for side, lids in enumerate((fit.RIGHT_LIDS, fit.LEFT_LIDS)):
        openings = [fit.measure_opening(view.mesh, lids) for view in (target, source)]
        if min(openings) < MIN_TINT_OPENING:
            continue
        theirs, ours = _eye_masks(source, side), _eye_masks(target, side)
        other = theirs and colour.read_eye(source.lab, *theirs)
        if other and ours:
            lab = colour.tint_iris(lab, *ours, other)
    return lab


def _eye_masks(view: View, side: int) -> tuple[Image, Image] | None:
    """Return the visible iris and the white of one eye, or None if the iris is too small."""
    centre, rim = view.iris[side, 0], view.iris[side, 1:]
    radius = float(np.linalg.norm(rim - centre, axis=1).mean())
    if radius < MIN_IRIS_PX:
        return None
    opening = blend.fill_polygons(view.shape, [draw_outlines(view.mesh).eyes[side]])
    opening *= 1.0 - view.cover
    y, x = np.mgrid[: view.shape[0], : view.shape[1]].astype(np.float32)
    distance = np.hypot(x - centre[0], y - centre[1]).astype(np.float32)
    soft = max(0.12 * radius, 0.7)
    iris = blend.smooth_step((radius - distance) / soft + 0.5) * opening
    return iris, opening * (distance > 1.15 * radius)


def _cover_of(lab: Image, mesh: Points, unit: float) -> Image:
    """Return what covers a face, found on a small copy and brought back to size."""
    scale = min(1.0, COVER_UNIT_PX / unit)
    height, width = lab.shape[:2]
    size = max(round(width * scale), 8), max(round(height * scale), 8)
    small = np.asarray(cv2.resize(lab, size, interpolation=cv2.INTER_AREA), np.float32)
    mesh = mesh * [size[0] / width, size[1] / height, scale]
    triangles, lines = load_topology().triangles, draw_outlines(mesh)
    raster = warp.rasterise(mesh, triangles, (size[1], size[0]))

    def within(*polygons: Points) -> Bools:
        return blend.fill_polygons((size[1], size[0]), list(polygons)) > 0.5

    cover = blend.find_cover(
        small,
        raster.spread(warp.point_normals(mesh, triangles)),
        inside=within(lines.oval),
        seeds=within(*lines.bare),
        parts=within(*lines.sockets, _swell(lines.lips, 1.15), lines.nose),
        unit_px=unit * scale,
    )
    back = cv2.resize(cover, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(back, np.float32)


def _positions(raster: warp.Raster, mesh: Points, unit: float) -> Image:
    return warp.smooth_positions(
        raster, raster.spread(mesh[:, :2].astype(np.float32)), KINK_SMOOTHING * unit
    )


def _on_picture(positions: Image, shape: tuple[int, int]) -> Bools:
    x, y = positions[..., 0], positions[..., 1]
    return np.asarray((x > 0) & (y > 0) & (x < shape[1] - 1) & (y < shape[0] - 1))


def _mean_inside(mask: Image, polygon: Points) -> float:
    inside = blend.fill_polygons((mask.shape[0], mask.shape[1]), [polygon])
    return float((mask * inside).sum() / max(float(inside.sum()), 1e-6))


def _contrast_inside(lab: Image, polygon: Points) -> float:
    """Return the span of lightness (10th to 90th percentile) inside a polygon, L units."""
    light = lab[..., 0][blend.fill_polygons((lab.shape[0], lab.shape[1]), [polygon]) > 0.5]
    if not len(light):
        return 0.0
    low, high = np.percentile(light, [10, 90])
    return float(high - low)


def _swell(polygon: Points, factor: float) -> Points:
    centre = polygon.mean(0)
    out: Points = (polygon - centre) * factor + centre
    return out


def _unit_of(mesh: npt.NDArray[np.floating]) -> float:
    """Return the eye distance in pixels as it would be from the front (the neutral mesh has 1)."""
    return 1.0 / fit.fit_neutral(mesh).scale


def _window(
    mesh: npt.NDArray[np.floating], shape: tuple[int, ...], margin: float
) -> tuple[int, int, int, int]:
    """Return x0, y0, x1, y1 around a mesh, cut to the frame; raises OutOfRange when outside it."""
    low, high = mesh[:, :2].min(0) - margin, mesh[:, :2].max(0) + margin
    x0, y0 = (max(int(np.floor(value)), 0) for value in low)
    x1, y1 = (
        min(int(np.ceil(value)) + 1, side)
        for value, side in zip(high, (shape[1], shape[0]), strict=True)
    )
    if min(x1 - x0, y1 - y0) < MIN_FACE_SIDE_PX / 2:
        seen = float(min(x1 - x0, y1 - y0))
        raise OutOfRange(
            "the part of the face inside the picture (pixels)",
            measured=seen,
            limit=MIN_FACE_SIDE_PX / 2,
        )
    return x0, y0, x1, y1
