"""The door to every swap in a picture: no warrant, no gates, no consent for a face: no swap.

`swap` demands an active warrant that names both pictures by digest, finds every face in both, and
lets exactly one face of the target be changed: the one that the warrant names as `target_body`.
Faces that the warrant lists as `blurred` are blurred or replaced, as it says (`bystanders`); any
other face refuses the swap.
Refused: a missing or wrong warrant, or a model it was not issued for (WarrantInvalid); missing
gates (GatesMissing); a named face that is not there (NoFace), there twice (ManyFaces), somebody
else's (OtherPerson) or of somebody who opted out since (OptedOut); a face in the target that the
warrant does not name (UnnamedFace); and a result that looks like nudity (OutputRefused).
The result is a Draft, which only `provenance.release` can turn into a file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2

from generator.bystanders import bystander_models, protect
from generator.errors import (
    ManyFaces,
    NoFace,
    OtherPerson,
    OutputRefused,
    SwapRefused,
)
from generator.faces import Face, FaceAnalyser, FaceBox, Frame
from generator.gates import Gates, refuse_opted_out, require_gates
from generator.matching import match
from generator.sight import open_template, unmeasured_boxes
from generator.swapper import (
    SAME_FACE_IOU,
    Rendering,
    Swapper,
    SwapTask,
    Target,
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
    gates: Gates,
) -> Draft:
    """Put the source's face onto the target's body and return the unreleased result.

    Every pixel outside the swapper's mask, heads that are blurred and faces that are replaced is
    the target's; how many of each is said in the draft's version. Raises WarrantInvalid,
    GatesMissing, NoFace, ManyFaces, UnnamedFace, OtherPerson, OptedOut, RegistryUnavailable,
    OutputRefused, ShapeError where a face lies outside, and SwapRefused where one is beyond the
    swapper's range, is to be blurred over a named one, or may still be known unnamed.
    """
    active = require_active(warrant)
    require_gates(gates)
    source, target = require_picture(source), require_picture(target)
    active.require(source_sha256=source.sha256, target_sha256=target.sha256, medium="image")
    protectors = bystander_models(active.document.bystanders)
    models = {**analyser.models, **swapper.models, **protectors}
    require_models({**models, **gates.models}, active)
    source_face = pick_face(analyser.analyse(source.frame), active, "source_identity")
    found = analyser.analyse(target.frame)
    target_face = pick_face(found, active, "target_body")
    boxes = [face.box for face in found] + list(unmeasured_boxes(target.frame, found, analyser))
    require_named(boxes, active)
    require_apart(active)
    require_person(source_face, "source_identity", active, analyser)
    require_person(target_face, "target_body", active, analyser)
    require_not_opted_out((source_face, target_face), gates, analyser)
    places = {"source_face": source_face, "target_face": target_face}
    task = SwapTask(active, source=source, target=target, **places)
    rendering = swapper.render(task)
    require_untouched(rendering, target)
    made = protect(rendering.frame, task, found=found, analyser=analyser)
    require_clear_output(made.frame, gates)
    maker = Maker(swapper.name, swapper.version + made.version, models)
    faces = tuple(_whole_box(box) for box in boxes)
    return Draft(made.frame, warrant=active, source=source, target=target, faces=faces, maker=maker)


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


def require_named(boxes: Sequence[FaceBox], warrant: ActiveWarrant) -> None:
    """Raise UnnamedFace unless every face box in the target has a box of its own in the warrant.

    Either that of a named person or one that is to be blurred.
    """
    free = [*named_boxes(warrant, "target_body", "bystander"), *warrant.document.blurred]
    for face in boxes:
        shares = [overlap(face, box) for box in free]
        if not shares or max(shares) < SAME_FACE_IOU:
            raise UnnamedFace(
                "a face in the target picture is not named in the warrant",
                mend="name every person in the picture, each with their own consent, or ask for "
                "the others to be blurred or replaced",
            )
        del free[shares.index(max(shares))]


def require_apart(warrant: ActiveWarrant) -> None:
    """Raise SwapRefused when a face to be blurred lies over a face that is to be shown."""
    named = named_boxes(warrant, "target_body", "bystander")
    if any(overlap(box, own) > 0 for box in warrant.document.blurred for own in named):
        raise SwapRefused(
            "a face to be blurred lies over the face of a person who is named",
            mend="use a picture in which the faces are apart, or name everybody in it",
        )


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


def require_not_opted_out(faces: Sequence[Face], gates: Gates, analyser: FaceAnalyser) -> None:
    """Raise OptedOut unless nobody who opted out looks like these faces, as the book stands now.

    Raises RegistryUnavailable where the book cannot be asked. How near somebody is stays unsaid.
    """
    refuse_opted_out(gates.ask_registry(face.id_vector, analyser=analyser) for face in faces)


def require_untouched(rendering: Rendering, target: Target) -> None:
    """Raise SwapRefused when a swapper changed a pixel where its mask is 0."""
    inside = rendering.mask != 0
    same = rendering.frame.shape == target.frame.shape and inside.shape == target.frame.shape[:2]
    if not same or rendering.frame.dtype != target.frame.dtype:
        raise SwapRefused("the swapper returned a frame or mask of another size or kind")
    changed = cv2.absdiff(rendering.frame, target.frame)
    changed[inside] = 0
    if changed.any():
        raise SwapRefused("the swapper changed pixels outside its mask")


def require_clear_output(frame: Frame, gates: Gates) -> None:
    """Raise OutputRefused unless the nudity gate looked at what was made and found it clear."""
    look = gates.look_nudity(frame)
    if look != "clear":
        raise OutputRefused(
            "the result could not be looked at for nudity"
            if look == "unavailable"
            else "the result looks like nudity, or may",
            mend="nothing was released; use other pictures",
        )


def _whole_box(box: FaceBox) -> Box:
    x0, y0, x1, y1 = box
    return math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1)
