"""Rules about the request as a whole: clock, inputs, who is in the pictures, nudity, marks.

Each is stated once more in `gate.cedar`, without shared code; see `rules.py`.
"""

from __future__ import annotations

from policies.facts import Facts
from policies.rule import Rule, whole
from policies.terms import REQUIRED_MARKS


def shown(facts: Facts) -> int:
    """Return how many named people the target shows."""
    return sum(person.role != "source_identity" for person in facts.people)


def one_of_each(facts: Facts) -> bool:
    """Return whether one source and one target are named, and nobody twice in a role."""
    roles = [person.role for person in facts.people]
    named_once = len({person.subject for person in facts.people}) == len(roles)
    return named_once and roles.count("source_identity") == 1 == roles.count("target_body")


REQUEST_RULES: tuple[Rule, ...] = (
    Rule(
        "CLOCK-ROLLBACK",
        ("FLOOR",),
        "Set the clock right; nothing is decided while it is behind the log.",
        whole(
            lambda f: f.now >= f.last_log_time,
            lambda f: f"The clock says {f.now}, the newest log entry {f.last_log_time}.",
        ),
    ),
    Rule(
        "INPUTS-MISMATCH",
        ("FLOOR",),
        "Ask again with the digests of the pictures that are handed in.",
        whole(
            lambda f: f.inputs_match,
            lambda f: "The measured pictures are not the ones the request names.",
        ),
    ),
    Rule(
        "PEOPLE-MISMATCH",
        ("FLOOR",),
        "Name every depicted person once, with the consent they gave for that role.",
        whole(
            lambda f: f.people_match and one_of_each(f),
            lambda f: "The measured people are not exactly the ones the request names.",
        ),
    ),
    Rule(
        "PURPOSE-UNKNOWN",
        ("FLOOR",),
        "Use a purpose of the product, or declare your own among the purposes of the house.",
        whole(
            lambda f: f.purpose_known,
            lambda f: f"This deployment knows no purpose {f.purpose!r}.",
        ),
    ),
    Rule(
        "SOURCE-FACES",
        ("FLOOR",),
        "Use a source picture that shows the consenting person alone.",
        whole(
            lambda f: f.source_faces == 1,
            lambda f: f"The source picture shows {f.source_faces} faces; exactly one is needed.",
        ),
    ),
    Rule(
        "BYSTANDER",
        ("FLOOR", "GDPR-6-7-9", "CN-DS"),
        "Get the signed consent of everyone shown (name them as bystander), have the faces of "
        "others blurred or replaced (in a picture), or cut them out.",
        whole(
            lambda f: (
                0 < f.target_faces_resolved == shown(f)
                and f.target_faces == f.target_faces_resolved + f.target_faces_blurred
                and (f.target_faces_blurred == 0 or f.bystanders in ("blur", "persona"))
            ),
            lambda f: (
                f"The target picture shows {f.target_faces} face(s), {f.target_faces_resolved} of "
                f"them matched a consent and {f.target_faces_blurred} would be hidden; the "
                f"request names {shown(f)} people in it and says to {f.bystanders} others."
            ),
        ),
    ),
    Rule(
        "BYSTANDER-MINOR",
        ("FLOOR", "EU-AIA-5-NCII"),
        "Crop that face out of the picture; blurring it is not enough.",
        whole(
            lambda f: f.unnamed_minor is False,
            lambda f: "A face that nobody named looks like a minor, or cannot be measured.",
        ),
    ),
    Rule(
        "NUDITY",
        ("FLOOR", "EU-AIA-5-NCII", "UK-DUAA-138"),
        "Use clothed pictures; no role, flag, consent or setting permits this.",
        whole(
            lambda f: f.source_nudity == "clear" and f.target_nudity == "clear",
            lambda f: (
                f"Looking for nudity says '{f.source_nudity}' of the source and "
                f"'{f.target_nudity}' of the target; both must be 'clear'."
            ),
        ),
    ),
    Rule(
        "OUTPUT-MARKED",
        ("FLOOR", "EU-AIA-50-2", "CN-LABEL", "US-CA-942"),
        "Release with watermark, C2PA manifest and label; there is no unmarked release.",
        whole(
            lambda f: set(f.marks) >= REQUIRED_MARKS | set(f.required_marks),
            lambda f: "The release would lack a required mark.",
        ),
    ),
)
