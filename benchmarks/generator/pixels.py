"""Errors of pixels: to the true swap, and along the rim of what was swapped."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from skimage.metrics import structural_similarity

from generator.faces import Frame

CHANGED_LEVELS = 8.0
"""Pixels this far apart in target and true swap have changed."""


def pixel_figures(frame: Frame, target: Frame, label: Frame) -> dict[str, float]:
    """Return errors to the true swap, grey levels, on changed pixels and on the whole picture.

    The copy's own error on the same pixels is `copied`; progress = 1 - changed / copied is taken of
    the sums, not pair by pair.
    """
    wide = [picture.astype(np.float32) for picture in (frame, target, label)]
    apart = np.abs(wide[1] - wide[2]).mean(2)
    changed = apart > CHANGED_LEVELS
    missed = np.abs(wide[0] - wide[2]).mean(2)
    return {
        "changed": float(missed[changed].mean()) if changed.any() else 0.0,
        "copied": float(apart[changed].mean()) if changed.any() else 0.0,
        "l1": float(missed.mean()),
        "ssim": ssim(wide[0], wide[2]),
    }


def ssim(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    """Return SSIM (Wang et al., IEEE TIP 13, 2004) on luma, Gaussian window of sigma 1.5."""
    greys = [cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) for picture in (first, second)]
    how = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(*greys, data_range=255, **how))


def seam(frame: Frame, target: Frame, mask: npt.NDArray[np.float32]) -> float:
    """Return how much steeper the picture is along the mask's rim than the target is there."""
    inside = (mask > 0.5).astype(np.uint8)
    kernel = np.ones((5, 5), np.uint8)
    ring = (cv2.dilate(inside, kernel) > 0) & (cv2.erode(inside, kernel) == 0)
    if not ring.any():
        return 0.0
    slopes = [
        np.hypot(
            *(
                cv2.Sobel(p.astype(np.float32).mean(2), cv2.CV_32F, *axis)
                for axis in ((1, 0), (0, 1))
            )
        )
        for p in (frame, target)
    ]
    return float((slopes[0][ring] - slopes[1][ring]).mean())
