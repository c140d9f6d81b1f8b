"""Which figures stand in which table of the page, and what each of them means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Columns = tuple[tuple[str, str], ...]

SHARES: Final = (
    *("above_0", "rank1", "rank5", "rank1_target", "progress", "lost"),
    *("catchlight_f1", "catchlight_excluded"),
)
"""Endings of figures that are told in per cent."""
OF_EYES: Final = "catchlight_"
"""Beginning of figures of eyes, not of pairs."""
EXCLUDED: Final = "catchlight_excluded"


@dataclass(frozen=True, slots=True)
class Theme:
    """One table of a set: its title and (figure, heading) for every column.

    absent: why there may be no table, which is so where no row has the first figure.
    """

    title: str
    columns: Columns
    absent: str = "no pair was swapped"


BANDS: Final[Columns] = (
    *((f"octaves_{level}", f"band ratio {level}, octaves") for level in (1, 2, 3)),
    *((f"coherence_{level}", f"coherence {level}") for level in (1, 2, 3)),
)
EYES: Final = Theme(
    "Eyes",
    (
        ("catchlight_f1", "catchlight F1"),
        ("catchlight_position", "position, iris radii"),
        ("catchlight_position_p95", "position, 95th percentile"),
        ("catchlight_area", "area ratio"),
        ("catchlight_peak", "peak ratio"),
        ("catchlight_excluded", "eyes left out"),
        ("two_eyes", "two-eye consistency"),
    ),
    absent="no eye counts, every cornea is smaller than 12 px, shut or covered",
)
GEOMETRY: Final[Columns] = (
    ("pose_deg", "pose, degrees"),
    ("yaw_deg", "yaw"),
    ("pitch_deg", "pitch"),
    ("roll_deg", "roll"),
    ("expression", "expression"),
    ("gaze", "gaze"),
)
SEAM: Final[Columns] = (("seam", "seam"),)

PERSONAS: Final = (
    Theme(
        "Error to the true swap",
        (
            ("progress", "progress"),
            ("l1", "L1"),
            ("ssim", "SSIM"),
            ("features", "feature distance"),
            ("landmarks", "landmarks"),
        ),
    ),
    Theme(
        "Identity",
        (
            ("faceres_to_source", "faceres to source"),
            ("faceres_margin", "faceres margin"),
            ("faceres_margin_above_0", "margin > 0 (faceres)"),
            ("idnet_to_source", "idnet to source"),
            ("idnet_margin", "idnet margin"),
        ),
    ),
    Theme("Geometry and seam", GEOMETRY + SEAM),
    Theme("Detail, against the true swap", BANDS),
    EYES,
)
LONDON: Final = (
    Theme(
        "Identity",
        (
            ("faceres_gallery_margin_above_0", "margin > 0 (faceres)"),
            ("faceres_gallery_margin", "faceres margin"),
            ("faceres_rank1", "rank-1"),
            ("faceres_rank5", "rank-5"),
            ("faceres_rank1_target", "rank-1 is the target"),
            ("idnet_gallery_margin_above_0", "margin > 0 (idnet)"),
            ("idnet_rank1", "rank-1 (idnet)"),
        ),
    ),
    Theme("Geometry and seam", GEOMETRY + SEAM),
    Theme("Detail, against the target", BANDS),
    EYES,
)
VIDEO: Final[Columns] = (
    ("jitter_milli", "jitter, thousandths"),
    ("flow_l1", "flow-warped L1"),
    ("flicker", "colour flicker"),
    ("id_std", "id std"),
    ("expression", "expression"),
    ("lost", "frames without a face"),
)

DEFINITIONS: Final = (
    (
        "progress",
        "share of the plain copy's error that is gone, on pixels that target and true swap differ "
        "in by more than 8 levels: 1 = the true swap, 0 = the copy, below 0 = worse than it; of "
        "the sums over all pairs",
    ),
    ("L1, SSIM", "to the true swap, on the whole picture; grey levels, and luma"),
    (
        "feature distance",
        "to the true swap, in a square around the face: difference of three early values of "
        "`faceres`, made unit vectors. Not LPIPS: it is calibrated by nothing but its order on "
        "blur, noise and shifts",
    ),
    (
        "landmarks",
        "mean distance of the 468 mesh points to those found in the true swap, over the distance "
        "of the outer eye corners",
    ),
    (
        "to source",
        "distance of two identity vectors: cosine distance for `faceres`, Euclidean for `idnet`. "
        "`faceres` was never a loss, so its columns count; `idnet` was, and is what the network "
        "is told identity by",
    ),
    (
        "margin",
        "distance to the target minus distance to the source; above 0 the result is nearer the "
        "source. On renders to the two pictures of the pair, on photographs to another photograph "
        "of each of the two people",
    ),
    (
        "rank-1, rank-5",
        "the source is the nearest, or among the nearest five, in a gallery with one other "
        "photograph of every person of the set",
    ),
    (
        "pose, yaw, pitch, roll",
        "degrees between the heads of result and target: the one angle of the turn between them, "
        "and its three parts by themselves",
    ),
    (
        "expression",
        "mean difference to the target of both lid openings and the mouth opening, each over its "
        "own width",
    ),
    ("gaze", "how far the irises sit elsewhere between the eye corners, in eye widths"),
    (
        "seam",
        "how much steeper the picture is along the mask's rim than the target is there, levels per "
        "pixel; below 0 = softer",
    ),
    (
        "band ratio 1 to 3",
        "Haar bands of the luma, finest first, on skin 5 px inside the mask: |log2| of the energy "
        "over the reference's; 0 = as much detail. The reference is the true swap on renders. "
        "Photographs have none, so there it is the target, whose skin shows how much detail this "
        "camera and light give",
    ),
    (
        "coherence 1 to 3",
        "correlation of the same bands: noise and halos raise energy, not this. Against the "
        "target the copy has 1 by definition, and another person's skin lowers it as it should",
    ),
    (
        "catchlight F1",
        "whether an eye has a catchlight, against the target; an eye counts if the target's "
        "cornea has a radius of 12 px and more, its lids are open by more than .2 of the eye's "
        "width, and less than .3 of it is covered. `eyes left out` is the share of all eyes that "
        "do not. The brightest spot alone is looked at: one too many is not noticed",
    ),
    (
        "position, area, peak",
        "of the catchlight, in eyes with one in both pictures: distance in iris radii, each from "
        "its own iris; area and brightness over the target's; medians",
    ),
    (
        "two-eye consistency",
        "overlap (IoU) of both eyes' catchlights laid iris on iris, minus the target's own; heads "
        "turned by 15 degrees at most; below 0 = less alike than in the target",
    ),
    (
        "jitter",
        "mean length of the second difference in time of the mesh, minus the target's, over the "
        "distance of the outer eye corners, in thousandths. A frozen face would have the best: "
        "read it with expression",
    ),
    (
        "flow-warped L1",
        "mean difference to the frame before moved along the target's flow, inside the mask, minus "
        "the target's; grey levels",
    ),
    (
        "colour flicker",
        "rms second difference in time of 8 x 8 colours of the face, minus the target's; CIELAB",
    ),
    ("frames without a face", "share of the output's frames in which no face is found"),
    ("id std", "rms distance of the `faceres` vectors of a clip to their mean"),
)
