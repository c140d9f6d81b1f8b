"""What may be done to a picture of the data ledger so that it is still that picture.

Light, shading, softness and compression, drawn anew each time, and nothing else: pixels come from
the picture alone. So an admitted picture can be shown to a network in many forms, and no other
picture can be put in its place.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]

GAMMA = (0.75, 1.33)
GAIN, CHANNEL_GAIN = (0.8, 1.2), (0.92, 1.08)
SHADING_SHARE, SHADING = 0.5, ((-0.25, 0.25), (-0.2, 0.2))
"""Of how many pictures the light falls from a side, and by what share it changes over x and y."""
BLUR_SHARE, BLUR_PX = 0.3, (0.4, 1.2)
JPEG_SHARE, JPEG_QUALITY = 0.4, (40, 96)


def disturb(frame: Frame, rng: np.random.Generator) -> Frame:
    """Return BGR uint8 (h, w, 3) in another light, softness and compression; the same in it."""
    picture = (frame.astype(np.float32) / 255) ** rng.uniform(*GAMMA)
    picture *= rng.uniform(*GAIN) * rng.uniform(*CHANNEL_GAIN, 3)
    if rng.random() < SHADING_SHARE:
        picture *= 1 + _shading(frame.shape[:2], rng)
    picture = picture.astype(np.float32)
    if rng.random() < BLUR_SHARE:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(*BLUR_PX)), np.float32)
    out = np.clip(np.round(picture * 255), 0, 255).astype(np.uint8)
    if rng.random() < JPEG_SHARE:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(*JPEG_QUALITY))]
        coded = cv2.imencode(".jpg", out, quality)[1]
        out = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return out


def _shading(size: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    height, width = size
    over_x = np.linspace(-1, 1, width)[None, :, None] * rng.uniform(*SHADING[0])
    over_y = np.linspace(-1, 1, height)[:, None, None] * rng.uniform(*SHADING[1])
    return over_x + over_y
