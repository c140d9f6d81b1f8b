"""What a deployment adds to the policy: purposes, refusals, rules of law and notices of its own.

Its Cedar statements are forbids and its law binds only where somebody read the text: they narrow.
Its purposes and notices are what consents may name besides; its list of rendered pictures says
whose age and presence nobody has to show. All of it is in the digest that decisions name, so that
nothing is added unseen.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from policies.canonical import digest
from policies.cedar import Gate, open_gate
from policies.errors import Malformed
from policies.facts import Facts
from policies.law import LawBook, Requirements, load_rules, requirements, select
from policies.lawrule import Role
from policies.rules import POLICY_SHA256
from policies.terms import Document, KnownPurpose

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


class LawNote(Document):
    """What a rule that cannot bind would like: said beside a decision, never part of it."""

    rule_id: str
    subject: str
    explain: str


@dataclass(frozen=True)
class House:
    """The policy of one deployment: the product's, and what the deployment adds.

    `purposes`: own purposes, `house:word` -> what it means, as people read it. `notices`: SHA-256
    of every privacy notice this deployment has published. `rendered`: SHA-256 of every picture that
    is known to show nobody who exists. `gate` holds the product's policy and the house's own
    forbids. `unstamped`: why it may release without a time stamp when no authority answers; empty,
    as in the product, for never.
    """

    law: LawBook
    gate: Gate
    notices: frozenset[str]
    rendered: frozenset[str] = frozenset()
    purposes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    unstamped: str = ""

    def __post_init__(self) -> None:
        # A house that could change under its digest would be another policy of the same name.
        object.__setattr__(self, "purposes", MappingProxyType(dict(self.purposes)))
        object.__setattr__(self, "notices", frozenset(self.notices))
        object.__setattr__(self, "rendered", frozenset(self.rendered))

    @property
    def parts(self) -> dict[str, Any]:
        """What a decision of this house is made by, as JSON: digests, purposes and notices."""
        parts = {
            "policy": POLICY_SHA256,
            "law": self.law.sha256,
            "gate": self.gate.sha256,
            "purposes": dict(self.purposes),
            "notices": sorted(self.notices),
            "rendered": digest({"rendered": sorted(self.rendered)}),
        }
        return parts | ({"unstamped": self.unstamped} if self.unstamped else {})

    @cached_property
    def sha256(self) -> str:
        """Digest of the parts: what every decision and warrant of this house names."""
        return digest(self.parts)

    def knows(self, purpose: str) -> bool:
        """Return whether a purpose is one of the product's or of this house."""
        return purpose in get_args(KnownPurpose) or purpose in self.purposes

    def require(self, territories: Collection[str], *, now: int) -> Requirements:
        """Return what the rules in force demand for these places at unix time `now`.

        Every role a deployment may have is asked for: the answer is rather too long than too short.
        Raises Malformed and LawUnknown.
        """
        day = datetime.fromtimestamp(now, UTC).date()
        return _require(self.law, frozenset(territories), day)

    def note(self, facts: Facts) -> tuple[LawNote, ...]:
        """Return what rules that cannot bind would like, and this request does not have."""
        advised = self.require(facts.territories, now=facts.now).advised
        return (
            *_lacking("", advised.marks, facts.marks),
            *(
                note
                for person in facts.people
                for note in _lacking(person.subject, advised.addenda, person.addenda)
            ),
        )


def shipped_house(notices: Iterable[str]) -> House:
    """Return the house that adds nothing: the product's policy and rules, these notices."""
    return House(
        law=_shipped_law(),
        gate=open_gate(),
        notices=frozenset(notices),
        rendered=_shipped_rendered(),
    )


def read_rendered(text: str) -> frozenset[str]:
    """Return the digests of a list of rendered pictures: SHA-256 and a note, one picture a line.

    Empty lines and lines that begin with # are skipped. Raises Malformed.
    """
    found = set()
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            word = line.partition(" ")[0]
            if not _SHA256.fullmatch(word):
                raise Malformed(f"{line[:40]!r} does not begin with the SHA-256 of a picture")
            found.add(word)
    return frozenset(found)


@cache
def _shipped_rendered() -> frozenset[str]:
    return read_rendered(Path(__file__).with_name("rendered.txt").read_text("utf-8"))


@cache
def _shipped_law() -> LawBook:
    return load_rules()


def _require(law: LawBook, territories: frozenset[str], day: date) -> Requirements:
    return requirements(select(law, territories=territories, roles=get_args(Role), on=day))


def _lacking(
    subject: str, wanted: Mapping[str, tuple[str, ...]], held: Collection[str]
) -> Iterable[LawNote]:
    for name, rule_ids in wanted.items():
        if name not in held:
            for rule_id in rule_ids:
                yield LawNote(rule_id=rule_id, subject=subject, explain=f"would ask for {name}")
