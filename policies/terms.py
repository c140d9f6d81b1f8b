"""The closed vocabularies of consent, request and decision, and their field types.

One list per word class, shared by validation, the command line and the rules: a word that is not
here is refused everywhere.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

PersonRole = Literal["source_identity", "target_body", "bystander"]
KnownPurpose = Literal[
    "film_vfx",
    "dubbing",
    "advertising",
    "satire_labelled",
    "privacy_anonymise",
    "research",
    "illustration_of_research",
    "personal",
]
Medium = Literal["image", "video"]
Audience = Literal["internal", "public", "paid_ads"]
Category = Literal[
    "sexual", "nudity", "political", "defamation", "alcohol", "tobacco", "minors_context"
]
Mark = Literal["watermark", "c2pa", "label"]
FaceMatch = Literal["match", "ambiguous", "mismatch"]
AgeLook = Literal["clear", "challenge", "minor"]
NudityLook = Literal["clear", "review", "found", "unavailable"]
RegistryAnswer = Literal["clear", "hit", "ambiguous", "unavailable"]
AgeMethod = Literal["document", "wallet", "in_person", "self_declared", "rendered"]
LivenessMethod = Literal["video_challenge", "in_person", "rendered", "none"]
AddendumForm = Literal["US-IL-RELEASE", "CN-SEPARATE", "US-TX-ORIGIN"]
BystanderPolicy = Literal["refuse", "blur", "persona"]
"""What happens to people in a picture whom nobody named: no picture is made, or their heads are
blurred, or their faces replaced by those of rendered people (and blurred where that is not enough).
"""

ASSURED_AGES: frozenset[AgeMethod] = frozenset({"document", "wallet"})
"""What answers a challenge-25: a document or wallet was shown.

Neither somebody's word nor somebody's eye does. Who was rendered is not young; that counts only for
pictures that are listed as rendered (house.py).
"""

NEVER_OPTED_IN: frozenset[Category] = frozenset({"minors_context"})
"""What no signature permits."""

REQUIRED_MARKS: frozenset[Mark] = frozenset({"watermark", "c2pa", "label"})
"""What every release carries, in every territory; a product floor, not a setting."""

Purpose = Annotated[
    str,
    StringConstraints(pattern=r"^([a-z][a-z0-9-]{1,30}:)?[a-z][a-z_]{1,40}$", max_length=72),
]
"""A purpose: a known one, or a platform's own as `house:word` (see house.py).

Which words a deployment knows is a fact of the decision; an unknown one is denied there.
"""

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Signature = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$")]
KeyHex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
KeyId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
Pseudonym = Annotated[str, StringConstraints(pattern=r"^ps_[a-z2-7]{26}$")]
Uuid = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"),
]
RequestId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Territory = Annotated[
    str,
    # A union has no subdivisions: "EU-DE" would be a place that no country's rules reach.
    StringConstraints(pattern=r"^(EEA|EU|([A-DF-Z][A-Z]|E[A-TV-Z])(-[A-Z0-9]{1,3})?)$"),
]
UnixTime = Annotated[int, Field(ge=0, le=253_402_300_799)]  # up to the year 9999
Text = Annotated[str, StringConstraints(min_length=1, max_length=400)]
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:/-]{1,80}$")]


class Document(BaseModel):
    """A boundary document: strict types, no unknown field, immutable."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
