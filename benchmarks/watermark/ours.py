"""Our own mark behind the benchmark's vocabulary, under a real warrant between invented people.

The one module of the benchmark that knows how our mark is opened; its version is a digest of its
source, so that results of an older mark are never shown as the present one's.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.watermark.methods import Bits, Refused, Rgb
from benchmarks.watermark.targets import MAX_FALSE_PRESENCE
from policies.warrants import ActiveWarrant
from provenance.errors import MarkError
from provenance.watermark import Detection, issue_payload
from provenance.watermark.payload import ID_BYTES
from provenance.watermark.spread import SpreadMark

ROOT: Final = Path(__file__).parent.parent.parent
KEY: Final = bytes(range(32))
NAME: Final = "facewarrant"


def open_warrant() -> ActiveWarrant:
    """A warrant between two invented people, from the office the tests use."""
    spec = importlib.util.spec_from_file_location("office", ROOT / "tests" / "conftest.py")
    if spec is None or spec.loader is None:
        raise SystemExit("tests/conftest.py is missing")
    module = sys.modules["office"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    office = module.Office()
    request = office.swap_request()
    warrant: ActiveWarrant = office.desk.start(office.desk.admit(request, office.measured(request)))
    return warrant


class OurMark:
    """The default watermark; the payload is its 48-bit id."""

    name = NAME
    bits = 8 * ID_BYTES

    def __init__(self, *keys: bytes) -> None:
        self._mark = SpreadMark(keys=keys or (KEY,))
        self._warrant = open_warrant()
        self.version = f"{self._mark.alg} {_digest_source()}"

    def embed(self, rgb: Rgb, payload: Bits) -> Rgb:
        named = issue_payload(self._warrant, rng=lambda _: np.packbits(payload).tobytes())
        try:
            return _swap(self._mark.embed(_swap(rgb), named))
        except MarkError as error:
            raise Refused(f"{type(error).__name__}: {error.message}") from error

    def decode(self, rgb: Rgb) -> Bits | None:
        return read_id(self.detect(rgb))

    def detect(self, rgb: Rgb) -> Detection | None:
        """Full blind search of one picture with all keys."""
        return self._mark.detect(_swap(rgb))

    def glance(self, rgb: Rgb) -> Detection | None:
        """Search at scale 1 alone."""
        return self._mark.detect(_swap(rgb), thorough=False)

    def detect_clip(self, frames: Iterable[Rgb]) -> Detection | None:
        """One reading over all frames."""
        return self._mark.detect_clip(_swap(frame) for frame in frames)

    def count_searched(self, rgb: Rgb) -> int:
        """Return over how many positions the bound of a full search is: `rgb` a turned mark."""
        found = self.detect(rgb)
        if found is None:
            raise SystemExit("the mark is not found in a turned copy: no threshold to state")
        return found.searched

    def survey(self, rgb: Rgb) -> tuple[float, bool]:
        """The largest presence statistic of the whole search, and whether anything is claimed."""
        return self._mark.survey(_swap(rgb))


def state_threshold(searched: int) -> float:
    """Return the z at which a claim begins: searched * exp(-z^2 / 2) = 1e-6."""
    return math.sqrt(2 * math.log(searched / MAX_FALSE_PRESENCE))


def read_id(found: Detection | None) -> Bits | None:
    """Return the 48 bits of the id that was read, None where none was."""
    if found is None or found.mark_id is None:
        return None
    return np.unpackbits(np.frombuffer(bytes.fromhex(found.mark_id), np.uint8))


def _digest_source() -> str:
    """Digest the modules of the mark that are in use (its training script is not)."""
    seen = hashlib.sha256()
    for name in sorted(name for name in sys.modules if name.startswith("provenance.watermark")):
        seen.update(Path(str(sys.modules[name].__file__)).read_bytes())
    return seen.hexdigest()[:12]


def _swap(rgb: Rgb) -> Rgb:
    return np.ascontiguousarray(rgb[..., ::-1])
