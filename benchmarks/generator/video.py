"""What a swapped video does over time that its target does not, on two short clips.

A rendered head that talks, and a filmed nod. Every frame is swapped with the landmarks held steady
as the product does it (`generator.steady`); what came out is analysed again, frame by frame and not
held steady, and so is the target. Faces are laid on by pairs of the data ledger, so nothing of it
can be released. A clip with a frame that cannot be swapped is left out for that source and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from benchmarks.generator.judges import Judged, Judges, expression_gap
from benchmarks.generator.pairs import DATA, ROOT, Pictures
from benchmarks.generator.rows import make
from benchmarks.generator.summary import summarise
from benchmarks.generator.temporal import (
    colour_flicker,
    extra_jitter,
    identity_spread,
    warped_l1,
)
from generator.faces import Face, Frame
from generator.ledger_pair import LedgerPair
from generator.steady import SteadyFace
from generator.swapper import OutOfRange
from policies.digest import sha256_hex
from provenance.data_ledger import AdmittedPicture, DataLedger, LedgerRow
from provenance.data_sets import list_demo
from provenance.media import encode

ROWS: Final = ("target", "geo", "stylemix", "stylemix+errs")
FRAMES: Final = 24
SOURCES: Final = ("persona1_0.webp", "persona2_0.webp", "persona3_0.webp")
RENDERED_FPS: Final = 24.0
FILMED: Final = DATA / "clips" / "yes.mkv"
FILMED_SOURCE: Final = (
    "intel-iot-devkit/sample-videos: recorded on purpose for demonstrations, no release text was "
    "seen; the set's own note gives it for tests and evaluation, and for nothing else"
)


@dataclass(frozen=True, slots=True, eq=False)
class Reel:
    """The frames of one clip, each admitted for measuring, and how many are shown a second."""

    name: str
    frames: Sequence[AdmittedPicture]
    fps: float


@dataclass(frozen=True, slots=True, eq=False)
class Take:
    """One row's frames of a reel, the masks of what may differ, and their faces, None if lost."""

    frames: Sequence[Frame]
    masks: Sequence[np.ndarray[Any, Any]]
    seen: Sequence[Judged | None]


def measure_video(
    judges: Judges, now: datetime, tell: Callable[[str], None], *, quick: bool = False
) -> dict[str, Any]:
    """Return the table of every clip at hand: means over sources, or why it is left out."""
    count, names = (6, SOURCES[:1]) if quick else (FRAMES, SOURCES)
    out: dict[str, Any] = {"frames": count, "sources": len(names)}
    demo = list(list_demo(ROOT))
    pictures, paths = Pictures(DataLedger(row for _, row in demo), now), [path for path, _ in demo]
    sources = [pictures[path] for name in names for path in paths if path.name == name]
    for title, reel in (
        ("rendered head", open_rendered(paths, pictures, count)),
        ("filmed nod", open_filmed(FILMED, now, count)),
    ):
        if reel is None:
            out[title] = {"left out": "the clip is not at hand"}
            continue
        results: dict[str, list[dict[str, Any]]] = {row: [] for row in ROWS}
        refused: Counter[str] = Counter()
        for number, source in enumerate(sources, 1):
            tell(f"{title}, source {number} of {len(sources)}")
            try:
                found = measure_reel(reel, source, judges)
            except OutOfRange as error:
                refused[error.message.split(" is ")[0]] += 1
                continue
            for row, figures in found.items():
                results[row].append({"source_person": source.row.person, **figures})
        rows = {row: summarise(found) for row, found in results.items() if found}
        out[title] = {"fps": reel.fps, "refused": dict(refused), "rows": rows}
    return out


def open_rendered(paths: Sequence[Path], pictures: Pictures, count: int) -> Reel | None:
    """Return the rendered clip of the demo set, None where it is not at hand."""
    files = sorted(path for path in paths if path.parent.name == "clip1")[:count]
    if len(files) < count:
        return None
    return Reel("rendered head", [pictures[path] for path in files], RENDERED_FPS)


def open_filmed(path: Path, now: datetime, count: int) -> Reel | None:
    """Return the filmed clip, each frame with a row for measuring alone; None where it is not."""
    if not path.is_file():
        return None
    film = cv2.VideoCapture(str(path))
    contents = [encode(frame, "image/png") for frame in _read(film, count)]
    fps = float(film.get(cv2.CAP_PROP_FPS))
    film.release()
    ledger = DataLedger(
        LedgerRow.model_validate(
            {
                "sha256": sha256_hex(content),
                "path": f"clips/{path.name}",
                "set": "clips",
                "kind": "image",
                "person": "clips:yes",
                "source": FILMED_SOURCE,
                "licence": "CC-BY-4.0",
                "licence_url": "https://creativecommons.org/licenses/by/4.0/",
                "consent_id": "sample-videos",
                "consent_scope": "evaluation",
                "training_of_released_models": False,
                "evaluation": True,
            }
        )
        for content in contents
    )
    name = f"clips/{path.name}"
    frames = [ledger.admit(c, name, purpose="evaluation", now=now) for c in contents]
    return Reel("filmed nod", frames, fps)


def measure_reel(
    reel: Reel, source: AdmittedPicture, judges: Judges
) -> Mapping[str, Mapping[str, float]]:
    """Return row -> figures of one source in one clip.

    Raises OutOfRange where a frame cannot be swapped, or shows no face.
    """
    seen = [_require_face(judges.look(picture.frame)) for picture in reel.frames]
    face = _require_face(judges.look(source.frame)).face
    calm = hold_steady([one.face for one in seen], reel.fps)
    permits = [
        LedgerPair(source, frame, face, one) for frame, one in zip(reel.frames, calm, strict=True)
    ]
    frames = [picture.frame for picture in reel.frames]
    whole = [np.ones(frame.shape[:2], np.float32) for frame in frames]
    own = Take(frames, whole, seen)
    out = {ROWS[0]: compare_takes(own, own)}
    for row in ROWS[1:]:
        made = [make(row, permit) for permit in permits]
        shown = [one.frame for one in made]
        take = Take(shown, [one.mask for one in made], [judges.look(frame) for frame in shown])
        out[row] = compare_takes(take, own)
    return out


def hold_steady(faces: Sequence[Face], fps: float) -> list[Face]:
    """Return the faces of a track with their landmarks held steady, as in a swapped video."""
    filtered = SteadyFace()
    out = []
    for number, face in enumerate(faces):
        mesh, iris = filtered.step(face.mesh, face.iris, at=number / fps)
        out.append(replace(face, mesh=mesh, iris=iris))
    return out


def compare_takes(output: Take, target: Take) -> dict[str, float]:
    """Return the figures of an output over time; differences are output minus target.

    Without a face in every frame only `flow_l1` and `lost`, the share of frames without one.
    """
    masks = output.masks
    warped = [warped_l1(take.frames, target.frames, masks) for take in (output, target)]
    seen = [one for one in output.seen if one is not None]
    figures = {"flow_l1": warped[0] - warped[1], "lost": 1 - len(seen) / len(output.seen)}
    theirs = [one for one in target.seen if one is not None]
    if len(seen) < len(output.seen) or len(theirs) < len(target.seen):
        return figures
    boxes = [one.face.box for one in theirs]
    meshes = [np.stack([one.face.mesh for one in row]) for row in (seen, theirs)]
    flicker = [colour_flicker(take.frames, boxes) for take in (output, target)]
    gaps = [expression_gap(a.face, b.face) for a, b in zip(seen, theirs, strict=True)]
    return figures | {
        "jitter_milli": 1000 * extra_jitter(*meshes),
        "id_std": identity_spread(np.stack([one.vectors["faceres"] for one in seen])),
        "flicker": flicker[0] - flicker[1],
        "expression": float(np.mean(gaps)),
    }


def _require_face(seen: Judged | None) -> Judged:
    if seen is None:
        raise OutOfRange("the number of faces in a frame", measured=0, limit=1)
    return seen


def _read(film: cv2.VideoCapture, count: int) -> Iterator[Frame]:
    for _ in range(count):
        more, frame = film.read()
        if not more:
            return
        yield np.asarray(frame, np.uint8)
