"""China's AIGC label: the seven keys of GB 45438-2025 and the two ways they are written.

Decides what is such a label. Refuses another set of keys, a value that is no string, a key that
stands twice, and texts too long or too deep. The standard's own text was not read: the form is the
one that the practice guides of TC260 and two public checkers show (docs/labels.md).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from provenance.errors import LabelRefused

MAX_AIGC_CHARS: Final = 16_384
"""Our choice: room for a certificate in each reserved field; our own has under 700."""

LabelValue = Literal["1", "2", "3"]


class AigcLabel(BaseModel):
    """The seven keys of GB 45438-2025, Annex E; all strings, no others, `Label` "1" = AI-made."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    Label: LabelValue
    ContentProducer: str
    ProduceID: str
    ReservedCode1: str
    ContentPropagator: str
    PropagateID: str
    ReservedCode2: str


def produced_by(producer: str, output_id: str) -> AigcLabel:
    """Return the label a producer writes; the fields of a propagator stay empty (Art. 6)."""
    return AigcLabel(
        Label="1",
        ContentProducer=producer,
        ProduceID=output_id,
        ReservedCode1="",
        ContentPropagator="",
        PropagateID="",
        ReservedCode2="",
    )


def write_aigc(label: AigcLabel, *, wrapped: bool) -> str:
    """Return the label as JSON without blanks, keys in the order of the standard.

    `wrapped` is the form of the Annex-B carriers, {"AIGC":{...}}, in ASCII alone, since EXIF and
    PNG text have no better alphabet; the other form keeps letters as they are.
    """
    content: dict[str, Any] = label.model_dump()
    return json.dumps(
        {"AIGC": content} if wrapped else content, ensure_ascii=wrapped, separators=(",", ":")
    )


def read_aigc(text: str) -> AigcLabel:
    """Return the label a text holds, wrapped or not; raise LabelRefused saying what is wrong."""
    if len(text) > MAX_AIGC_CHARS:
        raise LabelRefused(f"it has {len(text)} characters, the cap is {MAX_AIGC_CHARS}")
    try:
        content = json.loads(text, object_pairs_hook=_refuse_twice)
    except (ValueError, RecursionError) as error:
        raise LabelRefused("it is not JSON with every key once") from error
    if isinstance(content, dict) and set(content) == {"AIGC"}:
        content = content["AIGC"]
    if not isinstance(content, dict):
        raise LabelRefused("it is no JSON object")
    keys = set(AigcLabel.model_fields)
    missing, more = sorted(keys - set(content)), len(set(content) - keys)
    if missing or more:
        # Names of foreign keys are not quoted: they are the file's own words.
        raise LabelRefused(f"missing keys: {', '.join(missing) or 'none'}; unknown keys: {more}")
    try:
        return AigcLabel.model_validate(content)
    except ValidationError as error:
        raise LabelRefused(
            f"a value is no text, or Label is none of {', '.join(get_args(LabelValue))}"
        ) from error


def looks_like_aigc(text: str) -> bool:
    """Tell whether a free comment means to be a label: other comments are none of our business."""
    return text.lstrip().startswith("{") and ('"AIGC"' in text or '"ContentProducer"' in text)


def _refuse_twice(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key appears twice")
    return dict(pairs)
