"""The spine mark "spread": a keyed, tiled, band-limited pattern on luma, read without the original.

Decides how a picture carries 68 bits at a PSNR of 44 dB (42 or 40.4 where it must), and when a
reader may say "present": only where the chance of that for any unmarked picture, all positions
searched included, is at most 1e-6. Refuses flat pictures, pictures that cannot carry the mark
through the copies it is made for, and marking one twice.
Crops and pixel-preserving codecs are searched; rotation, mirroring and lasting changes of scale are
not (a later watermark behind the same interface). A determined remover succeeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from provenance.errors import AlreadyMarked, MarkKeyRefused, NotMarkable
from provenance.media import require_frame
from provenance.pixels import Frame
from provenance.watermark.coding import RATE, decode_list, encode_bits
from provenance.watermark.payload import (
    PAYLOAD_BITS,
    Detection,
    Payload,
    pack_bits,
    require_payload,
    unpack_bits,
)

Plane: TypeAlias = npt.NDArray[np.float32]
Spectrum: TypeAlias = npt.NDArray[np.complex128]

KEY_BYTES: Final = 32
TILE_PX: Final = 128
"""64 loses 4 dB after WebP 50, 256 loses on small crops (watermark.md, section 5)."""
BAND: Final = (0.06, 0.25)
"""Cycles per pixel: below is visible and host noise, above goes first in JPEG and resizing."""
PILOT_SHARE: Final = 0.25
PILOT_GAIN: Final = 1.3
MASK_POWER: Final = 0.6
"""How far the mark follows local contrast. Measured on 24 smooth renders and six photographs: 0.3
at 42 dB shows as grain on skin (SSIM .96); 0.6 at 44 dB does not (.98) and still reads all copies
below; 0.9 loses pictures at WebP 50."""
PSNR_STEPS_DB: Final = (44.0, 42.0, 40.4)
"""Strength tried in turn until the mark reads back; never below 40 dB."""
READ_BACK_PX: Final = 640
"""Side of the middle part of which most copies are made for the read-back."""
FIRM_STATISTIC: Final = 8.0
"""Asked of every copy before release: 1.1 above the reader's threshold, so that another version of
a codec does not decide whether a mark is found."""
MIN_TEXTURE: Final = 1.0
MIN_TEXTURED_SHARE: Final = 0.2
"""At least this share of pixels has a local deviation of one grey level. A flat picture shows the
bare pattern to everyone, who could then forge it. Measured: 24 rendered portraits .45-.76, a pure
gradient 0, a colour wheel .12, a flat picture under our own visible label .14."""
MIN_SIDE_PX: Final = 256
"""Four whole tiles; fewer do not carry the id through a crop."""
MAX_FALSE_PRESENCE: Final = 1e-6

_MIN_READ_SIDE_PX = 64
_CODED_BITS = PAYLOAD_BITS * RATE


class SpreadMark:
    """One keyed mark; the same 32-byte key embeds and reads, and is as secret as a signing key."""

    alg: Final = "org.facewarrant.spread.1"

    def __init__(self, *, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise MarkKeyRefused(f"a watermark key has {KEY_BYTES} bytes, got {len(key)}")
        self._mac_key = _derive(key, "mac", 32)
        self._rows, self._columns, self._phases = _draw_pattern(_derive(key, "pattern", 32))
        self._pilots = int(PILOT_SHARE * len(self._rows))
        self._group = np.arange(len(self._rows) - self._pilots) % _CODED_BITS

    def embed(self, image: Frame, payload: Payload) -> Frame:
        """Return a copy of `image` (BGR uint8, at least 256 px a side) that carries `payload`.

        Raises `WarrantInvalid` unless the payload's warrant holds now, `ShapeError`,
        `AlreadyMarked` where this key's mark is in the picture, and `NotMarkable` where the picture
        is flat or the mark cannot be read back from the result and its copies (JPEG 70, WebP 80,
        half size and back, 80 % crop).
        """
        require_payload(payload)
        require_frame(image)
        if min(image.shape[:2]) < MIN_SIDE_PX:
            raise NotMarkable(
                f"a side has fewer than {MIN_SIDE_PX} px", mend="use a larger picture"
            )
        if self.detect(image) is not None:
            raise AlreadyMarked("the picture already carries a mark of this key")
        plane = self._spread(image, payload)
        for psnr_db in PSNR_STEPS_DB:
            marked = _add_at_strength(image, plane, psnr_db)
            if marked is not None and self._reads_back(marked, payload.mark_id):
                return marked
        raise NotMarkable(
            "the picture is too noisy or too clipped: a mark in it would not survive a JPEG copy",
            mend="use a larger picture, or one with less noise and less pure black or white",
        )

    def detect(self, image: Frame) -> Detection | None:
        """Look for this key's mark in BGR uint8 (h, w, 3); None where no claim can be made.

        Raises `ShapeError`. A read id is not proof of origin: marks can be copied.
        """
        statistic, spectrum = self._find(image)
        p_value = bound_false_presence(statistic)
        if p_value > MAX_FALSE_PRESENCE:
            return None
        for bits in decode_list(self._soft_bits(spectrum)):
            found = unpack_bits(bits, key=self._mac_key)
            if found is not None:
                return Detection(*found, "read", p_value, statistic, TILE_PX**2)
        return Detection(None, None, "present_unreadable", p_value, statistic, TILE_PX**2)

    def measure_presence(self, image: Frame) -> float:
        """Return the presence statistic z of BGR uint8 (h, w, 3), whether or not it is a claim.

        0 for pictures under 64 px a side. For benchmarks and reports; raises `ShapeError`.
        """
        return self._find(image)[0]

    def _find(self, image: Frame) -> tuple[float, Spectrum]:
        require_frame(image)
        if min(image.shape[:2]) < _MIN_READ_SIDE_PX:
            return 0.0, np.zeros(len(self._rows), np.complex128)
        folded = _fold(_whiten(_luma(image)))
        return self._align(np.fft.fft2(folded)[self._rows, self._columns])

    def _spread(self, image: Frame, payload: Payload) -> Plane:
        """Return the masked pattern at strength 1, float32 (h, w)."""
        coded = encode_bits(pack_bits(payload.mark_id, payload.version, key=self._mac_key))
        weights = self._phases.copy()
        weights[: self._pilots] *= PILOT_GAIN
        weights[self._pilots :] *= 1.0 - 2.0 * coded[self._group]
        spectrum = np.zeros((TILE_PX, TILE_PX), np.complex128)
        spectrum[self._rows, self._columns] = weights
        spectrum[-self._rows, -self._columns] = weights.conj()
        tile = np.fft.ifft2(spectrum).real
        tile /= tile.std()
        height, width = image.shape[:2]
        repeats = (-(-height // TILE_PX), -(-width // TILE_PX))
        spread = np.tile(tile.astype(np.float32), repeats)[:height, :width]
        luma = _luma(image)
        detail = luma - _blur(luma, 3.0)
        deviation = np.sqrt(np.maximum(_blur(detail * detail, 3.0), 0.0))
        if float(np.mean(deviation >= MIN_TEXTURE)) < MIN_TEXTURED_SHARE:
            raise NotMarkable(
                "the picture is nearly flat: it would show the bare pattern",
                mend="use a picture with texture, such as a photograph",
            )
        return np.asarray(spread * (deviation + 3.0) ** MASK_POWER, np.float32)

    def _reads_back(self, marked: Frame, mark_id: str) -> bool:
        """Tell whether the mark is read from the picture and from every copy it must survive.

        The JPEG copy is of the whole. The others are of the middle of large pictures, which takes a
        tenth of the time; where that fails, the whole decides.
        """
        middle = _crop_middle(marked, READ_BACK_PX)
        whole_too = middle.shape != marked.shape
        return (
            self._reads_firmly(marked, mark_id)
            and self._reads_firmly(_recode_as_jpeg_70(marked), mark_id)
            and all(
                self._reads_firmly(copy(middle), mark_id)
                or (whole_too and self._reads_firmly(copy(marked), mark_id))
                for copy in _COPIES
            )
        )

    def _reads_firmly(self, image: Frame, mark_id: str) -> bool:
        found = self.detect(image)
        return found is not None and found.mark_id == mark_id and found.statistic >= FIRM_STATISTIC

    def _align(self, spectrum: Spectrum) -> tuple[float, Spectrum]:
        """Return the best pilot statistic over all tile offsets, and the spectrum moved there."""
        pilots = slice(0, self._pilots)
        matched = np.zeros((TILE_PX, TILE_PX), np.complex128)
        rows, columns = self._rows[pilots], self._columns[pilots]
        matched[rows, columns] = self._phases[pilots].conj() * spectrum[pilots]
        surface = np.fft.ifft2(matched).real * TILE_PX**2
        y, x = np.unravel_index(int(surface.argmax()), surface.shape)
        energy = float(np.sum(np.abs(spectrum[pilots]) ** 2)) / 2
        if energy <= 0.0:
            return 0.0, spectrum
        turn = np.exp(2j * np.pi * (self._rows * y + self._columns * x) / TILE_PX)
        return float(surface[y, x]) / math.sqrt(energy), spectrum * turn

    def _soft_bits(self, spectrum: Spectrum) -> npt.NDArray[np.float64]:
        evidence = (self._phases.conj() * spectrum).real[self._pilots :]
        return np.asarray(np.bincount(self._group, evidence, minlength=_CODED_BITS), np.float64)


def bound_false_presence(statistic: float, searched: int = TILE_PX**2) -> float:
    """Return an upper bound on P(statistic reached) for any picture without this key's mark.

    The phases are secret and uniform, so each pilot's term is sub-Gaussian whatever the picture is:
    P(z >= t) <= exp(-t^2 / 2), times the positions searched (watermark.md, section 7). No model of
    pictures is needed; a picture made with knowledge of the key is not covered.
    """
    return min(1.0, searched * math.exp(-(max(statistic, 0.0) ** 2) / 2))


def _derive(key: bytes, use: str, length: int) -> bytes:
    info = f"facewarrant/wm/v1/{use}".encode("ascii")
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(key)


def _draw_pattern(
    key: bytes,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Spectrum]:
    """Return rows, columns and unit phases of the pattern's coefficients in keyed order.

    One of each conjugate pair inside the band. A cipher stream and not a NumPy seed: a pattern must
    stay readable for years, and NumPy may change its streams.
    """
    fy, fx = np.fft.fftfreq(TILE_PX)[:, None], np.fft.fftfreq(TILE_PX)[None, :]
    radius = np.hypot(fy, fx)
    half = (fy > 0) | ((fy == 0) & (fx > 0))
    rows, columns = np.nonzero((radius >= BAND[0]) & (radius <= BAND[1]) & half)
    stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
    drawn = np.frombuffer(stream.update(bytes(16 * len(rows))), "<u8").reshape(2, -1)
    order = np.argsort(drawn[0], kind="stable")
    phases = np.exp(2j * np.pi * (drawn[1] >> 11) / 2.0**53)
    return rows[order], columns[order], phases


def _add_at_strength(image: Frame, plane: Plane, psnr_db: float) -> Frame | None:
    """Return `image` plus the plane at the strength that costs `psnr_db`, rounded and clipped.

    None where clipping eats so much that the strength elsewhere would pass what 40 dB means there.
    """
    target = 255.0**2 / 10 ** (psnr_db / 10)
    power = float(np.mean(plane * plane, dtype=np.float64))
    # Rounding adds 1/12 grey level squared, independent of the strength.
    gain, cap = math.sqrt((target - 1 / 12) / power), math.sqrt(255.0**2 / 1e4 / power)
    rows = slice(None, None, 1 + image.size // 2_000_000)
    for _ in range(4):
        error = _mean_square(_add(image[rows], plane[rows], gain), image[rows])
        gain = min(cap, gain * math.sqrt((target - 1 / 12) / max(error - 1 / 12, 1e-3)))
    marked = _add(image, plane, gain)
    return marked if _mean_square(marked, image) <= 255.0**2 / 1e4 else None


def _add(image: Frame, plane: Plane, gain: float) -> Frame:
    # The change is rounded, not the sum: all three channels move by the same whole step.
    change = np.rint(gain * plane).astype(np.int16)
    return np.asarray(np.clip(image + change[..., None], 0, 255), np.uint8)


def _mean_square(a: Frame, b: Frame) -> float:
    difference = a.astype(np.float32) - b
    return float(np.mean(difference * difference, dtype=np.float64))


def _crop_middle(image: Frame, side_px: float) -> Frame:
    """Return the middle, at most `side_px` a side; copied, so that codecs get whole rows."""
    margins = [max(0, int((n - side_px) / 2)) for n in image.shape[:2]]
    y, x = margins
    return np.ascontiguousarray(image[y : image.shape[0] - y, x : image.shape[1] - x])


def _recode(image: Frame, extension: str, *options: int) -> Frame:
    coded = cv2.imencode(extension, image, options)[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


def _recode_as_jpeg_70(image: Frame) -> Frame:
    return _recode(image, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 70)


def _recode_as_webp_80(image: Frame) -> Frame:
    return _recode(image, ".webp", cv2.IMWRITE_WEBP_QUALITY, 80)


def _halve_and_restore(image: Frame) -> Frame:
    height, width = image.shape[:2]
    half = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    back = cv2.resize(half, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(back, np.uint8)


def _crop_to_80_percent(image: Frame) -> Frame:
    y, x = (int(n * 0.1) for n in image.shape[:2])
    return np.ascontiguousarray(image[y : image.shape[0] - y, x : image.shape[1] - x])


_COPIES: Final[tuple[Callable[[Frame], Frame], ...]] = (
    _recode_as_webp_80,
    _halve_and_restore,
    _crop_to_80_percent,
)
"""With JPEG 70, the copies a mark must survive to be released; the targets of this version."""


def _luma(image: Frame) -> Plane:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb)[..., 0], np.float32)


def _blur(plane: Plane, sigma: float) -> Plane:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), np.float32)


def _whiten(luma: Plane) -> Plane:
    """Divide the high-passed picture by its local deviation, so that no busy corner dominates."""
    detail = luma - _blur(luma, 2.5)
    deviation = np.sqrt(np.maximum(_blur(detail * detail, 6.0), 0.0))
    return np.clip(detail / (deviation + 1.0), -2.5, 2.5)


def _fold(plane: Plane) -> Plane:
    height, width = plane.shape
    padded = np.pad(plane, ((0, -height % TILE_PX), (0, -width % TILE_PX)))
    rows, columns = padded.shape[0] // TILE_PX, padded.shape[1] // TILE_PX
    folded = padded.reshape(rows, TILE_PX, columns, TILE_PX).sum((0, 2))
    return np.asarray(folded, np.float32)
