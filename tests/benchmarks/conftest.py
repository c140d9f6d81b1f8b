"""A picture to attack: nothing of the repository or of any package."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.watermark.methods import Rgb

HEIGHT, WIDTH = 200, 264


@pytest.fixture(scope="package")
def host() -> Rgb:
    """Smooth colour with some grain, neither black nor white anywhere."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    planes = [128 + 60 * np.sin(x / a) * np.cos(y / b) for a, b in ((19, 31), (40, 13), (25, 25))]
    grain = np.random.default_rng(2).normal(0, 6, (HEIGHT, WIDTH, 1))
    return np.clip(np.stack(planes, axis=-1) + grain, 20, 235).astype(np.uint8)
