"""Measuring the pictures of a request: who is shown, where, how old they look, who opted out.

Gives facts, never a decision; what a frame shows is `sight`'s. Faces that nobody named are listed
for blurring or replacing only where the request says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from generator.bystanders import bystander_models
from generator.faces import FaceAnalyser
from generator.gates import Gates, refuse_opted_out, require_gates
from generator.sight import (
    Claim,
    Sight,
    assign,
    describe,
    look,
    open_template,
    open_templates,
    pixel_box,
    shows_minor,
    unmatched,
)
from generator.swapper import overlap
from policies.consents import ConsentBook
from policies.facts import MOST_BLURRED, Measured, PixelBox
from policies.request import Request
from provenance.media import Picture


def measure(
    request: Request,
    source: Picture,
    target: Picture,
    *,
    book: ConsentBook,
    analyser: FaceAnalyser,
    gates: Gates,
    swapper_models: Mapping[str, str] = MappingProxyType({}),
) -> Measured:
    """Return what the two pictures show, for the people the request names.

    `swapper_models`: digests of the weights that the swap will use besides the analyser's and the
    gates', so that the warrant names every model. Raises GatesMissing.
    """
    require_gates(gates)
    templates = open_templates(request.people, book, analyser)
    in_source, in_target = (look(picture.frame, analyser, gates) for picture in (source, target))
    sources = [p for p in request.people if p.role == "source_identity"]
    others = [p for p in request.people if p.role != "source_identity"]
    from_source = assign(sources, in_source.faces, templates, analyser)
    from_target = assign(others, in_target.faces, templates, analyser)
    pairs = ((in_source, from_source), (in_target, from_target))
    protectors = bystander_models(request.bystanders)
    return Measured(
        source_sha256=source.sha256,
        target_sha256=target.sha256,
        source_faces=in_source.count,
        target_faces=in_target.count,
        target_faces_resolved=sum(claim.found.answer == "match" for claim in from_target),
        blurred=() if request.bystanders == "refuse" else _boxes_to_blur(in_target, from_target),
        unnamed_minor=any(shows_minor(sight, claims) for sight, claims in pairs),
        source_nudity=gates.look_nudity(source.frame),
        target_nudity=gates.look_nudity(target.frame),
        pixels=target.frame.shape[0] * target.frame.shape[1],
        seconds=0,
        people=tuple(
            describe(claim, sight, analyser, gates) for sight, claims in pairs for claim in claims
        ),
        models={**analyser.models, **gates.models, **swapper_models, **protectors},
        identity_model_sha256=analyser.models[analyser.id_model],
    )


def require_nobody_opted_out(
    request: Request, *, book: ConsentBook, analyser: FaceAnalyser, gates: Gates
) -> None:
    """Raise OptedOut when somebody of a request is near the do-not-swap list now.

    For handing out again what was released before: no picture is measured then, the templates say
    who is shown. Raises RegistryUnavailable where the list or a template cannot be asked.
    """
    require_gates(gates)
    templates = [open_template(person.record_id, book, analyser) for person in request.people]
    refuse_opted_out(
        "unavailable" if template is None else gates.ask_registry(template, analyser=analyser)
        for template in templates
    )


def _boxes_to_blur(sight: Sight, claims: Sequence[Claim]) -> tuple[PixelBox, ...]:
    """Return the places of faces that nobody named.

    One that lies over a named face is left out, since hiding it would cover what is to be shown; so
    are all of a crowd. Faces left out stay unresolved, and the picture is denied.
    """
    strangers = unmatched(sight.faces, claims)
    named = [sight.faces[f].box for f in range(len(sight.faces)) if f not in strangers]
    boxes = [
        pixel_box(box)
        for box in (*(sight.faces[f].box for f in strangers), *sight.covered)
        if all(overlap(pixel_box(box), pixel_box(own)) == 0 for own in named)
    ]
    return tuple(boxes) if len(boxes) <= MOST_BLURRED else ()
