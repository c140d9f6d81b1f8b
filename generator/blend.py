"""Soft masks, what covers a face, and the multi-band blend that puts a moved face into a picture.

Works on arrays only. A mask is float32 (h, w) in 0..1, 0 = keep the target's pixel exactly.
What covers a face (hair, hands, glasses' frames) is guessed from colour: it differs from the skin
of nose and cheeks and reaches in from the rim. A guess, not a parser: skin-coloured hands pass.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

LEVELS = 4
"""Bands of the Laplacian pyramid (Burt and Adelson, ACM ToG 2, 1983): seams up to 16 px wide."""
# A pixel is skin within these distances of the predicted skin, Lab units for L, a, b (measured on
# rendered and studio faces: hair starts at about 30 darker or 16 off in tint).
SKIN_LIMIT = np.array([24.0, 14.0, 16.0], np.float32)
# The narrowest cover that counts, in eye distances: a lock, not a hair.
STRAND = 0.035
# So many pixels, evenly spread, tell what the skin of a face is like.
FIT_PIXELS = 8192
# Two Lab colours this near each other are one material in two places (measured).
SAME_COLOUR = 16.0
# From this share on, what looks like the cover beside an eye is cover and not the eye's own brow
# (brow and lashes together are about a fifth of a socket).
DEEP_SHARE = 0.3
# An eye, brow or mouth counts as covered when this share of its surroundings is.
BURIED_SHARE = 0.7


def feather(inside: Bools, start_px: float, width_px: float) -> Image:
    """Return a mask that is 0 outside and up to `start_px` inside, 1 from there + `width_px` on.

    The picture's border counts as outside only where the region ends there, so a face cut off by
    the frame is not faded along the frame.
    """
    padded = np.pad(inside.astype(np.uint8), 1, mode="edge")
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    return smooth_step((distance - start_px) / max(width_px, 1e-6))


def soften(picture: Image, sigma_px: float) -> Image:
    """Return the picture blurred by a Gaussian, float32."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma_px), np.float32)


def widen(mask: Image, width_px: float, *, times: int = 1) -> Image:
    """Return the mask with each value spread over an ellipse of that width (odd, 3 px and up)."""
    side = max(round(width_px) | 1, 3)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return np.asarray(cv2.dilate(mask, kernel, iterations=times), np.float32)


def smooth_step(value: npt.NDArray[np.floating]) -> Image:
    """Return 3 t^2 - 2 t^3 of the values clipped to 0..1."""
    t = np.clip(value, 0.0, 1.0)
    out: Image = (t * t * (3.0 - 2.0 * t)).astype(np.float32)
    return out


def fill_polygons(shape: tuple[int, int], polygons: list[npt.NDArray[np.floating]]) -> Image:
    """Return 1 inside any of the polygons (n, 2) of x, y pixels, 0 outside, anti-aliased."""
    mask = np.zeros(shape, np.uint8)
    for polygon in polygons:
        cv2.fillPoly(mask, [np.round(polygon * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    out: Image = mask.astype(np.float32) / 255.0
    return out


def fill_holes(lent: Bools, inside: Bools, area_px: float) -> Bools:
    """Return the region with its small inner holes filled; those at the rim of `inside` stay.

    A shaded nostril is not worth a hole, a cheek that nobody has seen is.
    """
    hole = (inside & ~lent).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(hole, connectivity=4)
    stays = stats[:, cv2.CC_STAT_AREA] > area_px
    core = cv2.erode(np.pad(inside.astype(np.uint8), 1, mode="edge"), np.ones((3, 3), np.uint8))
    stays[np.unique(labels[inside & (core[1:-1, 1:-1] == 0)])] = True
    stays[0] = False
    return np.asarray(inside & ~stays[labels])


def extend(picture: Image, inside: Bools, finest_px: int = 1 << 15) -> Image:
    """Return the picture (h, w, c) with everything outside replaced by what lies nearest inside.

    A pull-push pyramid: each level halves, averages what is known, and fills what is not from the
    level above. Needed so that a blend near the rim does not see hair or background. The first
    step leaves at most `finest_px` a side: what fills the far outside of a large face needs no
    detail.
    """
    if inside.all() or not inside.any():
        return picture
    height, width = inside.shape
    weight = inside.astype(np.float32)
    if min(height, width) < 2:
        mean = picture[inside].mean(0)
        return np.where(inside[..., None], picture, mean).astype(np.float32)
    step = max(2, -(-max(height, width) // finest_px))
    size = -(-width // step), -(-height // step)
    half_weight = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    known = cv2.copyTo(picture, inside.view(np.uint8)).reshape(picture.shape)
    half = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
    half = half.reshape(size[1], size[0], -1) / np.maximum(half_weight, 1e-6)[..., None]
    filled = extend(np.asarray(half, np.float32), np.asarray(half_weight > 1e-3))
    big = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR)
    return put(np.asarray(big, np.float32).reshape(picture.shape), picture, inside)


def put(under: Image, over: Image, where: Bools) -> Image:
    """Return `over` where it is wanted and `under` elsewhere, both float32 (h, w, c)."""
    out = cv2.copyTo(np.ascontiguousarray(over), where.view(np.uint8), under.copy())
    return np.asarray(out, np.float32).reshape(under.shape)


def blend_bands(top: Image, bottom: Image, mask: Image, levels: int = LEVELS) -> Image:
    """Return `top` over `bottom` (h, w, 3): wide bands mix widely, fine detail mixes sharply.

    mask: float32 (h, w), 1 = top. levels is cut for pictures under 2 ** levels pixels.
    """
    bands = []
    for _ in range(min(levels, int(np.log2(max(min(mask.shape), 2))))):
        small_top, small_bottom, small_mask = (_half(p) for p in (top, bottom, mask))
        fine = bottom - _double(small_bottom, bottom)
        bands.append(lay_over(fine, top - _double(small_top, top), mask))
        top, bottom, mask = small_top, small_bottom, small_mask
    out = lay_over(bottom, top, mask)
    for band in reversed(bands):
        out = _double(out, band) + band
    return out


def _half(picture: Image) -> Image:
    return np.asarray(cv2.pyrDown(picture), np.float32)


def _double(picture: Image, like: Image) -> Image:
    size = like.shape[1], like.shape[0]
    return np.asarray(cv2.pyrUp(picture, dstsize=size), np.float32)


def lay_over(bottom: Image, top: Image, mask: Image) -> Image:
    """Return the plain mix bottom + (top - bottom) * mask, float32 (h, w, 3)."""
    out: Image = (bottom + (top - bottom) * mask[..., None]).astype(np.float32)
    return out


def find_cover(
    lab: Image, normals: Image, inside: Bools, seeds: Bools, parts: Bools, unit_px: float
) -> Image:
    """Return how surely something covers the face at each pixel, float32 (h, w) 0..1.

    lab: the picture in Lab. normals: the face's surface normals (h, w, 3). inside: the face.
    seeds: where skin is nearly always bare (nose, inner cheeks). parts: eyes, brows, lips and
    nostrils, which differ from skin and cover nothing unless cover lies all around them.
    unit_px: eye distance.
    """
    soft = soften(lab, max(0.012 * unit_px, 0.5))
    score = _unlike_skin(soft, normals, inside & ~parts, seeds & inside)
    cover = _touching_rim(inside & ~parts & (score > 1.0), inside, unit_px)
    doubtful = inside & parts & (score > 1.0)
    cover = _grow_into_parts(soft, cover, inside & parts, doubtful, unit_px)
    cover = _with_buried_parts(cover, inside, parts, unit_px)
    # Runs on past the face's outline, so that no thread of skin shows between hair and hair.
    whole = (extend(cover.astype(np.float32)[..., None], inside)[..., 0] > 0.5).astype(np.float32)
    return soften(widen(whole, STRAND * unit_px, times=2), max(STRAND * unit_px, 0.6))


def _unlike_skin(lab: Image, normals: Image, usable: Bools, seeds: Bools) -> Image:
    """Return the distance of each pixel to skin under this light, 1 = the limit of what is skin.

    Skin under this light = order-1 spherical harmonics of the normals (Basri and Jacobs, IEEE PAMI
    25, 2003) per channel, fitted to pixels that look like the seeds, then to those that fit.
    """
    if int((seeds & usable).sum()) < 16:
        return np.zeros(lab.shape[:2], np.float32)
    sample = lab[seeds & usable]
    # Where hair hangs over a seed, skin is the lighter or the more tinted half.
    rank = sample[:, 0] + 2.0 * np.hypot(sample[:, 1], sample[:, 2])
    centre = np.median(sample[rank >= np.median(rank)], axis=0)
    level = np.array([centre] + [[0.0] * 3] * 3)
    light, colours = normals[usable], lab[usable]
    every = max(1, len(light) // FIT_PIXELS)
    light, colours = light[::every], colours[::every]
    basis = np.concatenate([np.ones((len(light), 1), np.float32), light], axis=1)
    factor = level
    for widen in (1.4, 1.3, 1.2, 1.1, 1.0):
        fits = _gap(colours, basis @ factor.astype(np.float32)) < widen
        if int(fits.sum()) < 64:
            break
        x, y = basis[fits].astype(np.float64), colours[fits].astype(np.float64)
        ridge = np.diag([0.0, 1.0, 1.0, 1.0]) * 0.02 * len(x)
        factor = np.linalg.solve(x.T @ x + ridge, x.T @ (y - x @ level)) + level
    whole = normals @ factor[1:].astype(np.float32) + factor[0].astype(np.float32)
    return _gap(lab, whole)


def _gap(lab: Image, predicted: Image) -> Image:
    """Return how far colours are from the predicted ones, (n, 3) or (h, w, 3), 1 = the limit."""
    total = np.zeros(lab.shape[:-1], np.float32)
    for channel, limit in enumerate(SKIN_LIMIT):
        gap = (lab[..., channel] - predicted[..., channel]) / limit
        if channel == 0:
            # Highlights are still skin: brighter counts half.
            gap = np.where(gap > 0, np.float32(0.5) * gap, gap)
        total += gap * gap
    return np.sqrt(total)


def _touching_rim(foreign: Bools, inside: Bools, unit_px: float) -> Bools:
    """Keep the pieces that reach in from the rim and are larger than a mole or a nostril."""
    side = max(round(STRAND * unit_px) | 1, 3)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    pieces = cv2.morphologyEx(foreign.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(pieces, connectivity=8)
    keep = np.zeros(count, bool)
    keep[np.unique(labels[(depth > 0) & (depth <= max(0.06 * unit_px, 2.0))])] = True
    keep &= stats[:, cv2.CC_STAT_AREA] > (0.05 * unit_px) ** 2
    keep[0] = False
    return np.asarray(keep[labels])


def _grow_into_parts(
    lab: Image, cover: Bools, parts: Bools, doubtful: Bools, unit_px: float
) -> Bools:
    """Let cover run on into eyes and brows where they have the colour of the cover beside them.

    Finds background behind the far brow of a turned face, and hair over half an eye. Only into the
    nearest tenth of an eye distance, unless much of the part looks so: an own brow may touch hair.
    """
    if not cover.any():
        return cover
    distance = cv2.distanceTransform((~cover).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    alike = np.linalg.norm(lab - extend(lab, cover), axis=2) < SAME_COLOUR
    reached = _connected_to(cover, doubtful & alike)
    count, labels = cv2.connectedComponents(parts.astype(np.uint8), connectivity=8)
    area = np.bincount(labels.ravel(), minlength=count)
    taken = np.bincount(labels[reached & parts], minlength=count)
    deep = (taken > DEEP_SHARE * area)[labels]
    return np.asarray(cover | (reached & (deep | (distance < 0.1 * unit_px))))


def _connected_to(seed: Bools, more: Bools) -> Bools:
    """Return `more` as far as it hangs together with `seed`."""
    _, labels = cv2.connectedComponents((seed | more).astype(np.uint8), connectivity=8)
    return np.asarray(more & np.isin(labels, np.unique(labels[seed])))


def _with_buried_parts(cover: Bools, inside: Bools, parts: Bools, unit_px: float) -> Bools:
    """Add eyes, brows and lips whose surroundings are mostly covered."""
    out = cover.copy()
    count, labels = cv2.connectedComponents(parts.astype(np.uint8), connectivity=8)
    for number in range(1, count):
        part = np.asarray(labels == number)
        ring = widen(part.astype(np.float32), STRAND * unit_px, times=3) > 0
        ring &= inside & ~parts
        if ring.any() and float(cover[ring].mean()) > BURIED_SHARE:
            out |= part
    return out
