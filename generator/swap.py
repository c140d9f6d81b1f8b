"""The door to every swap: no warrant, no swap; no consent for a face, no swap.

`swap` demands an active warrant that names both pictures by digest, finds every face in both, and
lets exactly one face of the target be changed: the one that the warrant names as `target_body`.
Refused: a missing or wrong warrant, or a model it was not issued for (WarrantInvalid); a named face
that is not there (NoFace), there twice (ManyFaces) or somebody else's (OtherPerson); and any face
in the target that the warrant does not name (UnnamedFace).
The result is a Draft, which only `provenance.release` can turn into a file.
"""

from __future__ import annotations

import math

from generator.errors import ManyFaces, NoFace, OtherPerson, SwapRefused
from generator.faces import Face, FaceAnalyser
from generator.matching import match
from generator.measure import open_template
from generator.swapper import (
    SAME_FACE_IOU,
    Rendering,
    Swapper,
    SwapTask,
    UnnamedFace,
    named_boxes,
    overlap,
)
from policies.terms import PersonRole
from policies.warrants import ActiveWarrant, require_active
from provenance.draft import Draft, Maker, require_models
from provenance.media import Box, Picture, require_picture


def swap(
    source: Picture,
    target: Picture,
    *,
    warrant: ActiveWarrant,
    analyser: FaceAnalyser,
    swapper: Swapper,
) -> Draft:
    """Put the source's face onto the target's body and return the unreleased result.

    Every pixel outside the swapper's mask is the target's. Raises WarrantInvalid, NoFace,
    ManyFaces, UnnamedFace, OtherPerson, and SwapRefused where the faces are beyond the swapper's
    range.
    """
    active = require_active(warrant)
    for picture in (source, target):
        require_picture(picture)
    active.require(source_sha256=source.sha256, target_sha256=target.sha256)
    models = {**analyser.models, **swapper.models}
    require_models(models, active)
    source_face = pick_face(analyser.analyse(source.frame), active, "source_identity")
    found = analyser.analyse(target.frame)
    target_face = pick_face(found, active, "target_body")
    require_named(found, active)
    require_person(source_face, "source_identity", active, analyser)
    require_person(target_face, "target_body", active, analyser)
    task = SwapTask(
        active, source=source, target=target, source_face=source_face, target_face=target_face
    )
    rendering = swapper.render(task)
    require_untouched(rendering, target)
    return Draft(
        rendering.frame,
        warrant=active,
        source=source,
        target=target,
        faces=tuple(_whole_box(face) for face in found),
        maker=Maker(swapper.name, swapper.version, models),
    )


def pick_face(faces: list[Face], warrant: ActiveWarrant, role: PersonRole) -> Face:
    """Return the one face that lies in the one box of that role; raises NoFace or ManyFaces."""
    boxes = named_boxes(warrant, role)
    if len(boxes) != 1:
        raise (ManyFaces if boxes else NoFace)(
            f"the warrant names {len(boxes)} people as {role}, a swap needs exactly one"
        )
    matches = [face for face in faces if overlap(face.box, boxes[0]) >= SAME_FACE_IOU]
    if len(matches) != 1:
        raise (ManyFaces if matches else NoFace)(
            f"{len(matches)} faces lie where the warrant puts its {role}",
            mend="measure the picture again and ask for a warrant with the new boxes",
        )
    return matches[0]


def require_person(
    face: Face, role: PersonRole, warrant: ActiveWarrant, analyser: FaceAnalyser
) -> None:
    """Raise OtherPerson unless the face matches the template of who consented to that role.

    The warrant was issued on a measurement; the pixels are made on this one.
    """
    [person] = [p for p in warrant.document.people if p.role == role]
    template = open_template(person.record_id, warrant.consents, analyser)
    if template is None or match(face, template, analyser.thresholds).answer != "match":
        raise OtherPerson(
            f"the face of the {role} is not that of the person who consented",
            mend="measure the pictures again and ask for a new warrant",
        )


def require_untouched(rendering: Rendering, target: Picture) -> None:
    """Raise SwapRefused when a swapper changed a pixel where its mask is 0."""
    outside = rendering.mask == 0
    if rendering.frame.shape != target.frame.shape or outside.shape != target.frame.shape[:2]:
        raise SwapRefused("the swapper returned a frame or mask of another size")
    if (rendering.frame[outside] != target.frame[outside]).any():
        raise SwapRefused("the swapper changed pixels outside its mask")


def require_named(faces: list[Face], warrant: ActiveWarrant) -> None:
    """Raise UnnamedFace unless every face in the target lies in a box of its own."""
    free = named_boxes(warrant, "target_body", "bystander")
    for face in faces:
        shares = [overlap(face.box, box) for box in free]
        if not shares or max(shares) < SAME_FACE_IOU:
            raise UnnamedFace(
                "a face in the target picture is not named in the warrant",
                mend="name every person in the picture, each with their own consent",
            )
        del free[shares.index(max(shares))]


def _whole_box(face: Face) -> Box:
    x0, y0, x1, y1 = face.box
    return math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1)
