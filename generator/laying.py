"""Lay one face out on another: the source's texture in the target's pose, shape, colours and light.

`lay_out` is where pixels of one person come to lie on another, so it takes a permit and asks it
first: a swap task, which stands for an active warrant, a persona task, which stands on one, or a
pair of pictures that the data ledger admits for training or measuring. Everything after it
(`geometric`, `stylemix`, `detail`, `eyes`, `bystanders`) works on the `Layers` it returns and hands
a finished picture to `paste`.

The target's mesh, moved by a share of the source's face shape (`fit`), says where everything goes.
Source texture is pulled there triangle by triangle, from the mirrored side where its own side is
hidden, and left out where neither is seen; the target's own skin stays there. Colours follow the
target region by region (`colour`). Eyeballs and the inside of the mouth are always the target's,
the irises tinted; whatever covers the target's face stays in front; the outline stays the
target's. Refused: no permit (WarrantInvalid), faces that geometry cannot swap (OutOfRange).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from generator import blend, colour, fit, irises, warp
from generator.faces import Face, Frame
from generator.ledger_pair import LedgerPair, require_pair
from generator.persona_task import PersonaTask, require_persona_task
from generator.swapper import OutOfRange, Rendering, SwapTask, require_task
from generator.topology import Outlines, draw_outlines, load_topology
from generator.view import (
    MIN_FACE_SIDE_PX,
    Bools,
    Image,
    Points,
    View,
    contrast_inside,
    mean_inside,
    unit_of,
    view_face,
)

# Range. Degrees are head yaw; beyond them half the texture would be invented.
MAX_YAW_GAP_DEG = 60.0
MAX_SOURCE_YAW_DEG = 40.0
MAX_TARGET_YAW_DEG = 60.0
MIN_LID_OPENING = 0.15
"""Lid gap over eye width; the narrowest of 288 eyes in studio photographs measured .20."""
MIN_EYE_CONTRAST = 12.0
"""Lightness (L) between pupil and white; in 288 eyes in studio photographs never below 21, hair
over an eye mostly below 7."""
MIN_EYE_LIKENESS = -0.2
"""Between the two eyes of a source, -1..1. Two renders of 170 with pale hair over an eye, which
nothing else found, have -.38 and -.26; of faces whose eyes are free, none in 72 studio photographs
is below .85, and one render, turned by 32 degrees in side light, has -.17."""
MAX_EYE_COVER = 0.3
MAX_FACE_COVER = 0.4
"""Share of the inner face that may be covered [generator reference, section 1]."""
MIN_LENT_SHARE = 0.5
"""Share of the target's face that the source can cover; below it hardly anybody is swapped."""

# Sizes, in eye distances of the target.
RIM_START, RIM_WIDTH = 0.03, 0.16
EYE_RIM = 0.014
MOUTH_RIM, WIDE_OPEN = 0.05, 0.15
EDGE_SOFTNESS = 0.025
FAINTEST = 0.01
KINK_SMOOTHING = 0.012
COVER_MARGIN = 0.07
SMALL_HOLE = 0.3
# Sizes of what varies slowly and need not be found pixel by pixel on a large face, in pixels: the
# eye distance on the grid of the mesh, the longer side on which colours are measured, and the
# longer side of the picture that fills the outside.
GRID_UNIT = 100.0
SAMPLE_PX, EXTEND_PX = 256, 256
# Texture quality from which a pixel is lent rather than left to the target.
LENT = 0.5

SHAPE_BLEND = 1.0
"""Share of the source's shape by default. On 60 photograph pairs all of it is rank-1 to a held-out
net in 88 %, half of it in 78 %; the head turns by .4 degrees more. Networks are trained on it."""

Permit = SwapTask | PersonaTask | LedgerPair


@dataclass(frozen=True, slots=True, eq=False)
class Layers:
    """One face laid out on another, in a window of the target's frame.

    Pictures are BGR float32 (h, w, 3), 0..255: `target` as it is; `pulled`, the source's texture
    where it goes, in its own colours (the target's pixels off the mesh); `warped`, the same in the
    target's colours and without holes; `composite`, what `geo` makes of them. `mask` float32
    (h, w), 0..1: 0 = the target's pixel, exactly. `cover`: what lies in front of the target's face.
    `mesh`: where the points of the swapped face lie, float64 (468, 3) in window pixels; `own_mesh`
    and `iris` (2, 5, 2): the target's own. `unit`: the eye distance as from the front, pixels.
    `origin`: x, y of the window in the frame.
    """

    target: Image
    pulled: Image
    warped: Image
    composite: Image
    mask: Image
    cover: Image
    mesh: Points
    own_mesh: Points
    iris: Points
    unit: float
    origin: tuple[int, int]


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


def lay_out(permit: Permit, shape_blend: float) -> Layers:
    """Return the layers of a permitted swap; `shape_blend` 0..1 is the share of the source's shape.

    Raises WarrantInvalid and UnnamedFace for anything that permits nothing, OutOfRange naming the
    measured number and the limit.
    """
    require_permit(permit)
    require_range(permit.source_face, permit.target_face)
    target = view_face(permit.target.frame, permit.target_face, 1.0)
    scale = target.unit / unit_of(permit.source_face.mesh)
    source = view_face(permit.source.frame, permit.source_face, scale)
    require_uncovered(source, target)
    stage = _set_stage(source, target, shape_blend)
    pulled = warp.pull(source.lab, _positions(stage.raster, source.mesh, stage.unit))
    moved, lent = _lend_texture(source, pulled, stage)
    _require_shown(lent, stage)
    face = colour.to_bgr(_join(moved, lent, stage))
    under, (x0, y0), (height, width) = permit.target.frame, target.origin, target.shape
    own = under[y0 : y0 + height, x0 : x0 + width].astype(np.float32)
    mask, inside = _support(stage, target.cover), stage.raster.covered
    return Layers(
        target=own,
        pulled=blend.put(own, colour.to_bgr(pulled), inside),
        warped=blend.put(own, colour.to_bgr(moved), inside),
        composite=blend.lay_over(own, face, mask),
        mask=mask,
        cover=target.cover,
        mesh=stage.mesh,
        own_mesh=target.mesh,
        iris=target.iris,
        unit=stage.unit,
        origin=target.origin,
    )


def paste(picture: Image, mask: Image, layers: Layers, frame: Frame) -> Rendering:
    """Return `frame` with a finished window `picture` (h, w, 3) put in where `mask` is above 0."""
    (x0, y0), (height, width) = layers.origin, mask.shape
    window = np.s_[y0 : y0 + height, x0 : x0 + width]
    made = np.clip(np.round(picture), 0, 255).astype(np.uint8)
    out, whole = frame.copy(), np.zeros(frame.shape[:2], np.float32)
    out[window] = np.where(mask[..., None] > 0, made, frame[window])
    whole[window] = mask
    return Rendering(out, whole)


def require_permit(permit: object) -> None:
    """Raise WarrantInvalid or UnnamedFace unless this permits, now, to lay one face on another."""
    if type(permit) is LedgerPair:
        require_pair(permit)
    elif type(permit) is PersonaTask:
        require_persona_task(permit)
    else:
        require_task(permit)


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
        contrast = contrast_inside(source.lab, eye)
        if contrast < MIN_EYE_CONTRAST:
            mend = "use a source picture that shows both eyes"
            raise OutOfRange(
                "the contrast in a source eye", measured=contrast, limit=MIN_EYE_CONTRAST, mend=mend
            )
        hidden = mean_inside(source.cover, eye)
        if hidden > MAX_EYE_COVER:
            mend = "use a source picture that shows both eyes"
            raise OutOfRange(
                "the hidden share of a source eye", measured=hidden, limit=MAX_EYE_COVER, mend=mend
            )
    likeness = irises.eye_likeness(source)
    if likeness < MIN_EYE_LIKENESS:
        mend = "use a source picture that shows both eyes"
        raise OutOfRange(
            "the likeness of the source's eyes",
            measured=likeness,
            limit=MIN_EYE_LIKENESS,
            mend=mend,
        )
    for whose, view in (("source", source), ("target", target)):
        hidden = mean_inside(view.cover, draw_outlines(view.mesh).oval)
        if hidden > MAX_FACE_COVER:
            raise OutOfRange(
                f"the covered share of the {whose}'s face", measured=hidden, limit=MAX_FACE_COVER
            )


def _require_shown(lent: Bools, stage: Stage) -> None:
    shown = float(lent.sum() / max(int(stage.raster.covered.sum()), 1))
    if shown < MIN_LENT_SHARE:
        raise OutOfRange(
            "the share of the face that the source shows", measured=shown, limit=MIN_LENT_SHARE
        )


def _support(stage: Stage, cover: Image) -> Image:
    """Return the mask. Covers stay where they were: they take no part in the change of shape."""
    soft = blend.feather(stage.raster.covered, 0.5, EDGE_SOFTNESS * stage.unit)
    support = np.minimum(blend.smooth_step(stage.rim / RIM_START), soft) * (1.0 - cover)
    return np.where(support < FAINTEST, 0.0, support).astype(np.float32)


def _set_stage(source: View, target: View, amount: float) -> Stage:
    topology = load_topology()
    mesh = fit.blend_shape(source.mesh, target.mesh, amount)
    raster = warp.rasterise(mesh, topology.triangles, target.shape, GRID_UNIT / target.unit)
    positions = _positions(raster, target.mesh, target.unit)
    tinted = irises.tint_irises(target, source)
    inside = raster.covered
    own = blend.put(target.lab, warp.pull(tinted, positions), inside)
    cover = np.clip(warp.pull(target.cover, positions), 0.0, 1.0) * inside
    rim = raster.spread(topology.rim) * inside
    return Stage(own, cover, rim, raster, mesh, draw_outlines(mesh), target.unit)


def _lend_texture(source: View, pulled: Image, stage: Stage) -> tuple[Image, Bools]:
    """Return the source's face in the stage's shape and colours (Lab), and where it is usable.

    pulled: the source's texture where it goes. Point p of the stage takes what the source shows at
    p, and at p's mirror point where p itself is hidden.
    """
    regions, shape = _regions(stage), stage.raster.covered.shape
    first, second = _seen_of(source, stage)
    share = first / np.maximum(first + (1.0 - first) * second, 1e-3)
    straight = blend.smooth_step((share - 0.25) / 0.5)
    toning = _measure_toning(pulled[_samples(shape)], stage, regions, first)
    moved = pulled
    if toning is not None:
        moved = toning.apply(pulled, regions.marks, toning.shading_over(shape))
    moved = blend.extend(moved, first > LENT, EXTEND_PX)
    needed = (straight < 1.0) & (second > LENT)
    if needed.any():
        bottom = _mirrored(source, stage, regions, second, needed)
        bottom = blend.put(blend.extend(bottom, needed, EXTEND_PX), moved, straight >= 1.0)
        moved = blend.blend_bands(moved, bottom, straight)
    lent = np.maximum(first, second) > LENT
    moved = colour.match_lips(moved, stage.own, regions)
    return moved, blend.fill_holes(lent, stage.raster.covered, (SMALL_HOLE * stage.unit) ** 2)


def _mirrored(
    source: View, stage: Stage, regions: colour.Regions, seen: Image, needed: Bools
) -> Image:
    """Return what the source's other side shows, toned, where it is needed; 0 elsewhere."""
    positions = _positions(stage.raster, source.mesh[load_topology().mirror], stage.unit)
    sample = warp.pull(source.lab, positions[_samples(needed.shape)])
    toning = _measure_toning(sample, stage, regions, seen)
    texture = warp.pull_some(source.lab, positions[needed])
    if toning is not None:
        shading = toning.shading_over(needed.shape)[needed]
        texture = toning.apply(texture, regions.marks[needed], shading)
    out = np.zeros((*needed.shape, 3), np.float32)
    out[needed] = texture
    return out


def _measure_toning(
    texture: Image, stage: Stage, regions: colour.Regions, seen: Image
) -> colour.Toning | None:
    """Measure, on a sample of the pixels, what brings a texture to the stage's light."""
    samples = _samples(seen.shape)
    where = regions.at(samples).seen_in(seen[samples] > LENT)
    return colour.measure_toning(texture, stage.own[samples], where, stage.unit / samples[0].step)


def _samples(shape: tuple[int, ...]) -> tuple[slice, slice]:
    step = -(-max(shape) // SAMPLE_PX)
    return np.s_[step // 2 :: step, step // 2 :: step]


def _seen_of(source: View, stage: Stage) -> tuple[Image, Image]:
    """Return how well the source shows each point, and its mirror point, (h, w) 0..1."""
    topology, raster, unit = load_topology(), stage.raster, stage.unit
    straight, mirror = np.arange(len(topology.mirror)), topology.mirror
    shown = warp.visibility(source.mesh, topology.triangles)
    kept = warp.texture_quality(source.mesh, stage.mesh, topology.triangles)
    bare = 1.0 - blend.widen(source.cover, 2 * COVER_MARGIN * unit)
    sigma = 0.04 * unit * raster.cells_per_px[0]
    found = []
    # The mirrored side stands in where nothing else is at hand: it may be stretched.
    for twin, quality in ((straight, shown * kept), (mirror, shown[mirror])):
        positions = warp.smooth_grid_positions(raster, source.mesh[twin], KINK_SMOOTHING * unit)
        seen = raster.spread_over_grid(quality) * _on_picture(positions, source.shape)
        seen = seen * np.clip(warp.pull(bare, positions), 0.0, 1.0)
        found.append(raster.enlarge(blend.soften(seen, sigma)) * raster.covered)
    first, second = found
    return first, second


def _join(moved: Image, lent: Bools, stage: Stage) -> Image:
    """Blend the lent face into the target and put back what is always the target's."""
    unit, inside = stage.unit, stage.raster.covered
    rim = blend.smooth_step((stage.rim - RIM_START) / RIM_WIDTH)
    alpha = np.minimum(rim, blend.feather(lent | ~inside, RIM_START * unit, RIM_WIDTH * unit))
    under = blend.extend(stage.own, inside & (stage.cover < 0.05), EXTEND_PX)
    face = blend.blend_bands(blend.extend(moved, lent, EXTEND_PX), under, alpha)
    eyes = blend.fill_polygons(inside.shape, [*stage.outlines.eyes])
    mouth = blend.fill_polygons(inside.shape, [stage.outlines.mouth])
    # A shut source mouth draws its line on the lips' inner edge, so an open target shows that edge.
    opening = min(fit.measure_opening(stage.mesh, fit.LIPS) / WIDE_OPEN, 1.0)
    mouth = blend.widen(mouth, (EYE_RIM + MOUTH_RIM * opening) * unit)
    kept = blend.soften(np.maximum(blend.widen(eyes, EYE_RIM * unit), mouth), EYE_RIM * unit)
    return blend.lay_over(stage.own, face, 1.0 - kept)


def _regions(stage: Stage) -> colour.Regions:
    """Return where skin may be measured, and where lips and brows are."""
    shape, unit, lines = stage.raster.covered.shape, stage.unit, stage.outlines
    mouth = blend.fill_polygons(shape, [lines.mouth])
    lips = blend.fill_polygons(shape, [lines.lips]) * (1.0 - mouth)
    brows = blend.soften(blend.fill_polygons(shape, [*lines.brows]), 0.03 * unit)
    other = np.maximum.reduce(
        [lips, mouth, brows, blend.fill_polygons(shape, [*lines.sockets, lines.nose])]
    )
    rim = blend.smooth_step((stage.rim - 0.03) / 0.08)
    skin = (1.0 - stage.cover) * rim * (1.0 - other)
    return colour.Regions(skin, blend.soften(lips, 0.015 * unit), brows)


def _positions(raster: warp.Raster, mesh: Points, unit: float) -> Image:
    return warp.smooth_positions(raster, mesh, KINK_SMOOTHING * unit)


def _on_picture(positions: Image, shape: tuple[int, int]) -> Bools:
    x, y = positions[..., 0], positions[..., 1]
    return np.asarray((x > 0) & (y > 0) & (x < shape[1] - 1) & (y < shape[0] - 1))
