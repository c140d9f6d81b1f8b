"""Measuring the pictures of a request: who is shown, where, and who of them matches a consent.

Gives facts, never a decision. Every face counts, also one that matches nobody; a face is claimed by
one person at most, and a template that does not open or fit counts as a mismatch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from generator.errors import ShapeError
from generator.faces import Face, FaceAnalyser, FloatArray, require_array
from generator.matching import Match, match
from policies.consent import ConsentBroken
from policies.consents import ConsentBook, ConsentUnknown
from policies.errors import Malformed
from policies.facts import Measured, MeasuredPerson
from policies.request import Person, Request
from policies.vault import TemplateUnreadable
from provenance.media import Picture

_NOBODY = Match("mismatch", 999.0)
_LITTLE_ENDIAN = np.dtype("<f4")


def measure(
    request: Request,
    source: Picture,
    target: Picture,
    *,
    book: ConsentBook,
    analyser: FaceAnalyser,
    swapper_models: Mapping[str, str] = MappingProxyType({}),
) -> Measured:
    """Return what the two pictures show, for the people the request names.

    `swapper_models`: digests of the weights that the swap will use besides the analyser's, so that
    the warrant names every model.
    """
    shown = {"source": analyser.analyse(source.frame), "target": analyser.analyse(target.frame)}
    templates = {p.record_id: open_template(p.record_id, book, analyser) for p in request.people}
    people: list[MeasuredPerson] = []
    for picture, faces in shown.items():
        named = [
            p for p in request.people if (p.role == "source_identity") == (picture == "source")
        ]
        people += _assign(named, faces, templates, analyser)
    in_target = [p for p in people if p.role != "source_identity"]
    return Measured(
        source_sha256=source.sha256,
        target_sha256=target.sha256,
        # A face too covered to be measured still belongs to somebody: it counts, unresolved.
        source_faces=max(len(shown["source"]), len(analyser.locate(source.frame))),
        target_faces=max(len(shown["target"]), len(analyser.locate(target.frame))),
        target_faces_resolved=sum(p.match == "match" for p in in_target),
        people=tuple(people),
        models={**analyser.models, **swapper_models},
        identity_model_sha256=analyser.models[analyser.id_model],
    )


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


def open_template(record_id: str, book: ConsentBook, analyser: FaceAnalyser) -> FloatArray | None:
    """Return a person's template, or None where there is none to compare with: a mismatch.

    None for an unknown or broken consent, another identity model, and a blob that does not open.
    """
    try:
        record = book.read(record_id).record
        if record.binding.model_sha256 != analyser.models[analyser.id_model]:
            return None
        return unpack_template(book.template(record))
    except (ConsentUnknown, ConsentBroken, Malformed, TemplateUnreadable, ShapeError):
        return None


def _assign(
    named: Sequence[Person],
    faces: Sequence[Face],
    templates: dict[str, FloatArray | None],
    analyser: FaceAnalyser,
) -> list[MeasuredPerson]:
    """Give every named person their nearest face, nearest pairs first, no face twice."""
    pairs = sorted(
        (
            (_compare(face, templates[person.record_id], analyser), p, f)
            for p, person in enumerate(named)
            for f, face in enumerate(faces)
        ),
        key=lambda pair: (pair[0].distance, pair[1], pair[2]),
    )
    chosen: dict[int, tuple[Match, int]] = {}
    for found, p, f in pairs:
        if p not in chosen and all(f != taken for _, taken in chosen.values()):
            chosen[p] = (found, f)
    measured = []
    for p, person in enumerate(named):
        found, face = chosen.get(p, (_NOBODY, None))
        measured.append(
            MeasuredPerson(
                record_id=person.record_id,
                role=person.role,
                match=found.answer,
                distance_milli=min(round(found.distance * 1000), 1_000_000),
                box=None if face is None else _pixel_box(faces[face]),
            )
        )
    return measured


def _compare(face: Face, template: FloatArray | None, analyser: FaceAnalyser) -> Match:
    if template is None:
        return _NOBODY
    try:
        return match(face, template, analyser.thresholds)
    except ShapeError:
        return _NOBODY


def _pixel_box(face: Face) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (round(float(value)) for value in face.box)
    return x0, y0, x1, y1
