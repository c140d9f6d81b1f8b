"""The keyed pattern: which frequencies of a 128-px tile carry what, and with which secret phases.

Decides everything about the mark that a key determines. Of the frequencies a sixth are *sync*: the
same phases in every mark of a key, by which it is found. An eighth are *claim*: they tell which of
256 carriers a mark uses, and a claim of presence rests on them. The others carry the coded id.
Which carrier a mark has follows from its id: whoever averages many marked pictures gets the sync
phases and a blend of carriers (docs/watermark.md, "Forging by averaging").
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from provenance.errors import MarkKeyRefused
from provenance.watermark.coding import RATE, Bits, encode_bits
from provenance.watermark.payload import PAYLOAD_BITS, pack_bits, unpack_bits

Plane: TypeAlias = npt.NDArray[np.float32]
Coefficients: TypeAlias = npt.NDArray[np.complex64]

KEY_BYTES: Final = 32
TILE_PX: Final = 128
"""64 loses 4 dB after WebP 50, 256 loses on small crops; measured."""
CARRIERS: Final = 256
CODED_BITS: Final = PAYLOAD_BITS * RATE
RINGS: Final = 7
"""Rings of equal numbers of frequencies; a codec's damage differs between them."""

_BAND: Final = (7, 680)
"""Least and largest fy^2 + fx^2 in cycles per tile: .021 to .20 cycles per pixel. Below, the host
drowns the mark; above, video coding and lasting halving leave nothing."""
_TILT: Final = 0.9
"""Amplitude falls with frequency^0.9: of what H.264 at CRF 35 and a quarter size and back leave,
most lies low. With exponent 1 instead of 0 the weakest three of 13 pictures gained 2 to 3 dB after
a quarter size and back."""

_PILOT_GAIN: Final = 1.15
"""Sync and claim are written a little stronger than data."""
_STRATUM, _SYNC, _CLAIM = 50, 8, 6
"""Of 50 neighbours in frequency, 8 are sync and 6 claim: each role has its share of every ring."""


class Pattern:
    """What one 32-byte key draws; as secret as the key.

    Frequencies come in the order sync, claim, data. `rows`, `columns`: FFT indices, int; `waves`:
    signed cycles per tile, float32 (2, n); `rings`: the ring of each; `groups`: the coded bit of
    each data frequency. `sync`: unit phases, complex64; `claim`: those of every carrier, (256, m).
    Raises `MarkKeyRefused` unless the key has 32 bytes.
    """

    def __init__(self, *, key: bytes) -> None:
        if type(key) is not bytes or len(key) != KEY_BYTES:
            raise MarkKeyRefused(f"a watermark key is {KEY_BYTES} bytes")
        self._mac_key, self._carrier_key = _derive(key, "mac"), _derive(key, "carrier")
        self._choice_key = _derive(key, "choice")
        self._pad = np.unpackbits(np.frombuffer(_derive(key, "pad"), np.uint8))[:PAYLOAD_BITS]
        draws = _Draws(_derive(key, "pattern"), 0)
        rows, columns = _band()
        roles = _deal_roles(draws, len(rows))
        self.sync_count, self.claim_count = (int(np.sum(roles == role)) for role in (0, 1))
        order = np.argsort(roles, kind="stable")
        self.rows, self.columns = rows[order], columns[order]
        self.waves = _signed(np.stack([self.rows, self.columns])).astype(np.float32)
        self.rings = order * RINGS // len(order)
        heights = np.hypot(*self.waves) ** -_TILT
        heights[: self.pilot_count] *= _PILOT_GAIN
        self._heights = heights
        data = len(order) - self.pilot_count
        # Each run of 216 neighbours in frequency serves every coded bit once.
        runs = [draws.permutation(CODED_BITS) for _ in range(-(-data // CODED_BITS))]
        self.groups = np.concatenate(runs)[:data]
        self.sync = draws.phases(self.sync_count)
        self.claim = draws.phases(CARRIERS * self.claim_count).reshape(CARRIERS, -1)

    @property
    def pilot_count(self) -> int:
        """How many frequencies are sync or claim; the data follow them."""
        return self.sync_count + self.claim_count

    def carrier_of(self, mark_id: str) -> int:
        """Return the number of the carrier that a mark with this id has, 0 to 255."""
        return hmac.digest(self._choice_key, bytes.fromhex(mark_id), hashlib.sha256)[0]

    def carrier(self, number: int) -> Coefficients:
        """Return the phases of claim and data frequencies in carrier `number`, complex64."""
        data = _Draws(self._carrier_key, 1 + number).phases(len(self.rows) - self.pilot_count)
        return np.concatenate([self.claim[number], data])

    def spell(self, mark_id: str, version: int) -> Coefficients:
        """Return the phases of all frequencies in a mark that says this id, complex64."""
        word = pack_bits(mark_id, version, key=self._mac_key) ^ self._pad
        signs = self.signs(encode_bits(word))
        return np.concatenate([self.sync, self.carrier(self.carrier_of(mark_id)) * signs])

    def signs(self, coded: Bits) -> npt.NDArray[np.float32]:
        """Return +1 or -1 for each claim and data frequency, given the 216 coded bits."""
        data = 1.0 - 2.0 * coded[self.groups]
        return np.concatenate([np.ones(self.claim_count), data]).astype(np.float32)

    def understand(self, bits: Bits, number: int) -> tuple[str, int] | None:
        """Return (mark id, version) of 72 bits read on carrier `number`, or None.

        None unless version and checksum hold and the id has that carrier. For bits drawn without
        the key that happens with chance 2^-32: 4 version, 20 checksum, 8 carrier. A keyed pad lies
        over the word, so that no word, not even nought, is likelier than another.
        """
        found = unpack_bits(bits ^ self._pad, key=self._mac_key)
        return found if found is not None and self.carrier_of(found[0]) == number else None

    def tile(self, mark_id: str, version: int) -> Plane:
        """Return the tile that says this id: float32 (128, 128), standard deviation 1."""
        spectrum = np.zeros((TILE_PX, TILE_PX), np.complex128)
        heights = self.spell(mark_id, version) * self._heights
        spectrum[self.rows, self.columns] = heights
        spectrum[-self.rows, -self.columns] = heights.conj()
        tile = np.fft.ifft2(spectrum).real
        return np.asarray(tile / tile.std(), np.float32)


class _Draws:
    """A cipher stream; not a NumPy seed, as NumPy may change its streams and marks must be read."""

    def __init__(self, key: bytes, number: int) -> None:
        self._stream = Cipher(algorithms.AES256(key), modes.CTR(number.to_bytes(8) + bytes(8)))
        self._encryptor = self._stream.encryptor()

    def words(self, count: int) -> npt.NDArray[np.uint64]:
        return np.frombuffer(self._encryptor.update(bytes(8 * count)), "<u8")

    def permutation(self, count: int) -> npt.NDArray[np.intp]:
        return np.argsort(self.words(count), kind="stable")

    def phases(self, count: int) -> Coefficients:
        turns = (self.words(count) >> np.uint64(11)) / 2.0**53
        return np.asarray(np.exp(2j * np.pi * turns), np.complex64)


def _derive(key: bytes, use: str) -> bytes:
    info = f"facewarrant/wm/v2/{use}".encode("ascii")
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(key)


def _signed(indices: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    return np.where(indices >= TILE_PX // 2, indices - TILE_PX, indices)


def _band() -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return one of each conjugate pair of FFT indices in the band, by rising frequency."""
    index = np.arange(TILE_PX)
    rows, columns = (axis.reshape(-1) for axis in np.meshgrid(index, index, indexing="ij"))
    y, x = _signed(rows), _signed(columns)
    square = y * y + x * x
    kept = (square >= _BAND[0]) & (square <= _BAND[1]) & ((y > 0) | ((y == 0) & (x > 0)))
    rising = np.argsort(square[kept], kind="stable")
    return rows[kept][rising], columns[kept][rising]


def _deal_roles(draws: _Draws, count: int) -> npt.NDArray[np.intp]:
    """Return 0 (sync), 1 (claim) or 2 (data) for each frequency, dealt anew in every stratum."""
    hand = np.repeat([0, 1, 2], [_SYNC, _CLAIM, _STRATUM - _SYNC - _CLAIM])
    strata = [hand[draws.permutation(_STRATUM)] for _ in range(-(-count // _STRATUM))]
    return np.concatenate(strata)[:count]
