"""Identity vectors as bytes: the one form in which a face is sealed and stored.

float32, little-endian, nothing else. Refused (ShapeError): bytes of another length, NaN, infinity,
and arrays that are no vector.
"""

from __future__ import annotations

import numpy as np

from generator.errors import ShapeError
from generator.faces import FloatArray, require_array

_LITTLE_ENDIAN = np.dtype("<f4")


def pack_template(template: FloatArray) -> bytes:
    """Return the bytes of an identity template, float32 (d,) little-endian."""
    require_array(template, (None,), "identity template")
    return template.astype(_LITTLE_ENDIAN).tobytes()


def unpack_template(data: bytes) -> FloatArray:
    """Return the template of `pack_template`, float32 (d,); raise ShapeError for other bytes."""
    if len(data) % _LITTLE_ENDIAN.itemsize:
        raise ShapeError("identity template", actual=f"{len(data)} bytes", expected="n x 4 bytes")
    template = np.frombuffer(data, _LITTLE_ENDIAN).astype(np.float32)
    require_array(template, (None,), "identity template")
    return template
