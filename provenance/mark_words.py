"""What the marks in a file's looks, and its looks themselves, say, as lines of evidence.

Decides the words and their weight; what a mark means beside a manifest is `clash`'s. Never says of
a whole video what was read in some of its looks.
"""

from __future__ import annotations

from typing import Final

from provenance.clash import ManifestSays
from provenance.evidence import Evidence, State
from provenance.exhibit import Exhibit
from provenance.fingerprints import MATCH_DISTANCE, MIN_QUALITY, Fingerprint, distance
from provenance.reading import ManifestReading
from provenance.watermark import Detection

_WHOLE_PERCENT: Final = 100
_HALF_TURN: Final = 180


def state_mark(
    exhibit: Exhibit, *, bound: str | None, manifest: ManifestSays, weight: State
) -> Evidence:
    """Say what the pixels carry; `bound`: what the manifest names, `weight`: how both agree."""
    mark = exhibit.mark
    if mark is None:
        missed = bound is not None and manifest != "other"
        words = "the mark the manifest names is not there" if missed else "no mark of this key"
        return Evidence("watermark", "warns" if missed else "absent", words)
    chance = f"by chance at most {mark.p_value:.0e}"
    if len(exhibit.ids) > 1:
        words = f"looks carry different marks, {', '.join(exhibit.ids)} ({chance})"
        return Evidence("watermark", "warns", words)
    if mark.mark_id is None:
        words = f"a mark is present ({chance}), its id is unreadable"
        return Evidence("watermark", "warns", words)
    marked, looks = exhibit.marked
    where = f" in {_name_looks(marked, looks)}" if looks > 1 or not marked else ""
    words = f"carries {mark.mark_id}{where}{_state_pose(mark)} ({chance})"
    if manifest != "none" and weight != "holds":
        return Evidence("watermark", weight, f"{words}, but the manifest names {bound or 'none'}")
    # Under a manifest that bound the mark, a part without it may be another's.
    lacks = manifest != "none" and marked < looks
    return Evidence("watermark", "warns" if lacks else "holds", words)


def state_quote(exhibit: Exhibit) -> Evidence | None:
    """Say that another maker's film shows parts of what was released here; None where it does not.

    Where every look carries our mark, the whole is ours and was signed anew: that is no quotation.
    """
    marked, looks = exhibit.marked
    if exhibit.mark is None or marked == looks:
        return None
    names = ", ".join(exhibit.ids) or "no readable id"
    words = f"{_name_looks(marked, looks)} carry the mark of a release ({names})"
    return Evidence("watermark", "warns", f"{words}: it quotes what was released here")


def _name_looks(marked: int, looks: int) -> str:
    return f"{marked} of {looks} looks" if marked else "frames taken together"


def _state_pose(mark: Detection) -> str:
    """Say how the mark lies, and which key read it; nothing where it is upright, by the newest."""
    said = []
    if mark.geometry is not None:
        percent, turn = round(100 * mark.geometry.scale), round(mark.geometry.rotation_deg, 1) % 360
        said += [f"at {percent} % size"] if percent != _WHOLE_PERCENT else []
        said += [_name_turn(turn)] if turn else []
        said += ["mirrored"] if mark.geometry.mirrored else []
    if mark.key_index:
        said.append(f"with key {mark.key_index + 1} of the ring")
    return f", read {', '.join(said)}" if said else ""


def _name_turn(degrees: float) -> str:
    left = degrees <= _HALF_TURN
    way = "counter-clockwise" if left else "clockwise"
    return f"turned {degrees if left else 360 - degrees:.1f} degrees {way}"


def state_print(exhibit: Exhibit, reading: ManifestReading) -> Evidence | None:
    """Say whether the pixels look like those that the manifest was made for, by its fingerprint.

    None where it names none, as a release of an older version does, or does not fit this file: what
    it names is not believed then. Where it fits, both are one signer's, so a difference is a lie.
    """
    if reading.bound_print is None or not reading.intact:
        return None
    own = exhibit.sight.asked[0]
    bits = distance(own, Fingerprint(reading.bound_print, own.quality))
    words = f"{bits} of 256 bits differ from the manifest's own fingerprint, {MATCH_DISTANCE} may"
    if bits <= MATCH_DISTANCE:
        return Evidence("fingerprint", "holds", words)
    if own.quality < MIN_QUALITY:
        poor = f"{words}; too little structure to compare"
        return Evidence("fingerprint", "warns", poor)
    return Evidence("fingerprint", "fails", f"{words}: it was made of another picture")
