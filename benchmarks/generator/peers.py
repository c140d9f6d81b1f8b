"""What other face swappers say of their speed and size, with who says it: none of it measured here.

Only what the generator reference (section 13) gives a basis for; what it marks as not
verified is not here. The pictures, sizes and machines differ, so no figure is comparable with ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Speed:
    """A peer's figure end to end: on which machine, and where it was said."""

    peer: str
    fps: str
    machine: str
    basis: str


@dataclass(frozen=True, slots=True)
class Size:
    """A peer's network: millions of parameters, billions of multiplications for one face."""

    peer: str
    millions: str
    billions: str
    basis: str


THREAD: Final = "its users, issue"
SPEEDS: Final = (
    Speed("Deep-Live-Cam", "6", "RTX 3070 Ti", f"{THREAD} 716"),
    Speed("Deep-Live-Cam", "9 to 13", "RTX 5080 laptop, 40 to 50 % busy", f"{THREAD} 1535"),
    Speed("Deep-Live-Cam", "at most 4", "a CPU, which is not named", f"{THREAD} 805"),
)

PAPER, COUNTED, OWN = "its paper", "counted by us in its files", "its own page"
SIZES: Final = (
    Size("FaceShifter", "421", "97.4", PAPER),
    Size("FSGAN", "226", "2440", PAPER),
    Size("SimSwap 224 / 512", "55.1 / 59.8", "48.1 / 133", COUNTED),
    Size("inswapper_128", "138.3", "174.7", f"{OWN}; a rebuilt one counted by us"),
    Size("inswapper_512_live base / mini", "9.5 / 4.7", "12.1 / 6.3", OWN),
    Size("ghost, 1 / 2 / 3 blocks", "128 / 184 / 240", "16.3 / 31.0 / 45.7", COUNTED),
    Size("MobileFaceSwap", "0.50", "0.33", PAPER),
)
