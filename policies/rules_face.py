"""Rules about the person behind each face: adult, there in person, who consented, not opted out.

Each is stated once more in `gate.cedar`, without shared code; see `rules.py`.
"""

from __future__ import annotations

from policies.rule import Rule, people

FACE_RULES: tuple[Rule, ...] = (
    Rule(
        "ADULT-ONLY",
        ("FLOOR", "EU-AIA-5-NCII"),
        "Nothing: no role, flag or setting permits this.",
        people(lambda f, p: p.adult, lambda f, p: "The record does not assure an adult."),
    ),
    Rule(
        "AGE-MINOR",
        ("FLOOR", "EU-AIA-5-NCII"),
        "Nothing: no record, role, flag or setting permits this.",
        people(
            lambda f, p: p.age != "minor",
            lambda f, p: "The face looks like a minor's, or its age could not be measured.",
        ),
    ),
    Rule(
        "AGE-CHALLENGE",
        ("FLOOR", "EU-AIA-5-NCII"),
        "Have the person's age shown by a document or wallet, in a new consent; if the picture "
        "is rendered, list it among the rendered ones of the house.",
        people(
            lambda f, p: p.age == "clear" or p.age_assured,
            lambda f, p: "The face looks under 25 and no document or wallet assures its age.",
        ),
    ),
    Rule(
        "LIVENESS",
        ("FLOOR",),
        "Enrol the person by video challenge or in person, or keep the release internal.",
        people(
            lambda f, p: f.audience == "internal" or p.enrolled_live,
            lambda f, p: (
                "They were enrolled from pictures alone, which is enough for internal use only."
            ),
        ),
    ),
    Rule(
        "TEMPLATE-MODEL",
        ("FLOOR",),
        "Enrol the person again with the identity model that is in use.",
        people(
            lambda f, p: p.template_model_ok,
            lambda f, p: "The face template was made by another identity model.",
        ),
    ),
    Rule(
        "FACE-MISMATCH",
        ("FLOOR", "GDPR-6-7-9"),
        "Use a picture of the person who consented, or get the consent of the person shown.",
        people(
            lambda f, p: p.match == "match",
            lambda f, p: (
                "The face cannot be told apart from other people's well enough."
                if p.match == "ambiguous"
                else "No face in the picture is this person's."
            ),
        ),
    ),
    Rule(
        "DO-NOT-SWAP",
        ("FLOOR", "US-NOFAKES"),
        "Nothing, unless whoever asked never to be swapped takes that back themselves.",
        people(
            lambda f, p: p.registry == "clear",
            lambda f, p: (
                "The list of people who must not be swapped cannot be asked."
                if p.registry == "unavailable"
                else "The face may be of somebody who asked never to be swapped."
            ),
        ),
    ),
)
