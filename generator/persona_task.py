"""One permitted persona: a rendered face for one stranger of a swap that is itself permitted.

A task stands on a `SwapTask`, so on an active warrant and both of its pictures, and asks again
whenever it is used. Refused: a warrant whose decision was not to replace strangers, and anything
but a persona of the shipped set (WarrantInvalid); a face that the warrant does not list among those
to be replaced (UnnamedFace); frames of a video (MediaError).
"""

from __future__ import annotations

from generator.errors import SwapRefused
from generator.faces import Face
from generator.personas import Persona, require_persona
from generator.swapper import (
    SAME_FACE_IOU,
    SwapTask,
    UnnamedFace,
    named_boxes,
    overlap,
    require_task,
)
from policies.warrant import WarrantInvalid
from provenance.media import Picture, require_picture


class PersonaTask:
    """A swap that is permitted, a stranger's face in its target, and who lends them a face.

    Raises WarrantInvalid and UnnamedFace as `require` does; `require_persona_task` asks again, and
    `generator.laying.lay_out` calls it first. It has what `lay_out` needs: `source` is the persona,
    `source_face` its face, as they were measured by the analyser of the swap.
    """

    __slots__ = ("source", "source_face", "swap", "target_face")

    def __init__(
        self, swap: SwapTask, *, target_face: Face, persona: Persona, persona_face: Face
    ) -> None:
        self.swap = swap
        self.source, self.source_face = persona, persona_face
        self.target_face = target_face
        self.require()

    @property
    def target(self) -> Picture:
        """The warrant's own target picture."""
        return require_picture(self.swap.target)

    def require(self) -> None:
        """Raise WarrantInvalid or UnnamedFace unless the task is permitted at this moment."""
        warrant = require_task(self.swap).warrant
        require_picture(self.swap.target)
        if warrant.document.bystanders != "persona":
            raise WarrantInvalid(
                f"the warrant says to {warrant.document.bystanders} people nobody named, "
                "not to replace them",
                code="WARRANT-OTHER-BYSTANDERS",
            )
        require_persona(self.source)
        named = named_boxes(warrant, "target_body", "bystander")
        face, strangers = self.target_face.box, warrant.document.blurred
        if any(overlap(face, box) >= SAME_FACE_IOU for box in named) or not any(
            overlap(face, box) >= SAME_FACE_IOU for box in strangers
        ):
            raise UnnamedFace("the warrant does not list this face among those to be replaced")

    def __reduce__(self) -> str:
        raise SwapRefused("a persona task cannot leave its process")


def require_persona_task(value: object) -> PersonaTask:
    """Return `value` if it is a PersonaTask that is permitted now.

    Raises WarrantInvalid or UnnamedFace, also for anything that only behaves like a task.
    """
    whole = all(hasattr(value, name) for name in PersonaTask.__slots__)
    if type(value) is not PersonaTask or not whole:
        raise WarrantInvalid("only a persona task replaces a stranger", code="WARRANT-REQUIRED")
    value.require()
    return value
