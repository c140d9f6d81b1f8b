"""All rules: the policy of `gate.cedar` once more, in Python, with words that name what was found.

Every rule is a floor of the product: none depends on a setting, none can be switched off. Citations
are ids of the rule table of laws; `FLOOR` marks the product's own floor where no law is claimed as
the reason. Nothing here permits: the gate does, and the rules must agree with it. They share no
code with it and no engine, so that one mistake in either is a denial and not a permission.
"""

from __future__ import annotations

from pathlib import Path

from policies.canonical import digest
from policies.digest import sha256_hex
from policies.rule import Rule
from policies.rules_consent import CONSENT_RULES
from policies.rules_face import FACE_RULES
from policies.rules_request import REQUEST_RULES

RULES: tuple[Rule, ...] = REQUEST_RULES + CONSENT_RULES + FACE_RULES

_DECIDING = (
    "gate.cedar",
    "gate.cedarschema",
    "cedar.py",
    "rule.py",
    "rules.py",
    "rules_request.py",
    "rules_consent.py",
    "rules_face.py",
    "decide.py",
    "house.py",
    "gather.py",
    "facts.py",
    "terms.py",
    "territories.py",
    "law.py",
    "lawrule.py",
    "request.py",
    "issue.py",
    "record.py",
    "consent.py",
    "consents.py",
    "challenge.py",
    "keys.py",
    "canonical.py",
)

POLICY_SHA256 = digest(
    {name: sha256_hex(Path(__file__).with_name(name).read_bytes()) for name in _DECIDING}
)
"""Digest of the digests of every file a decision is made by, as canonical JSON `{file: SHA-256}`.

Every decision and warrant names it: the rules under which it was made.
"""
