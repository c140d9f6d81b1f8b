"""The gate: Cedar evaluates `gate.cedar` once for every depicted person, always with its schema.

The only module that knows cedarpy. Refused on loading: a policy or schema that is missing, does not
parse or does not validate, more or fewer than one permit, a forbid without reason code, law,
explanation and mend, a statement that applies to less than every depicted person, and anything but
a forbid among what a house adds. Refused on
judging: nobody to judge, an engine that fails, reports an error, decides nothing or gives no known
reason; none of these is ever taken for a permission.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import cedarpy

from policies.canonical import digest
from policies.digest import sha256_hex
from policies.errors import Error
from policies.facts import ConsentFacts, Facts

HERE = Path(__file__).parent
ENGINE = f"cedarpy/{version('cedarpy')}"
"""The engine behind every decision, by name and version."""
HOUSE_PREFIX = "HOUSE-"
"""How the reason codes of a deployment's own forbids begin; the product has none of these."""

FEWEST_PEOPLE = 2
"""A swap depicts a source identity and a target body; `all([])` would permit an empty request."""

_FACE = ("match", "age", "registry")
# Facts of a person that were measured; every other one is a fact of their consent.
_UNJUDGED = {"record_id", "status_since"}
# They name and explain; nothing is decided by them.
_QUESTION = {
    "principal": {"type": "Desk", "id": "desk"},
    "action": {"type": "Action", "id": "generate"},
    "resource": {"type": "Depiction", "id": "person"},
    "context": {},
}
_SHAPE = {
    "principal": {"op": "All"},
    "action": {"op": "==", "entity": _QUESTION["action"]},
    "resource": {"op": "is", "entity_type": "Depiction"},
}


class GateInvalid(Error):
    """The policy cannot be used; without it nothing is decided."""

    code: ClassVar[str] = "GATE-INVALID"

    def __init__(self, message: str) -> None:
        super().__init__(message, mend="restore gate.cedar and gate.cedarschema as published")


class GateFailed(Error):
    """The gate gave no answer for one of the people; the request is denied."""

    code: ClassVar[str] = "ENGINE-FAILED"


class PeopleMissing(GateFailed):
    """Fewer people are named than a swap depicts; there is no one to permit it."""

    code: ClassVar[str] = "PEOPLE-MISSING"


@dataclass(frozen=True, slots=True)
class Clause:
    """One forbid of the policy, in words: its reason code and what its annotations say."""

    code: str
    whole: bool
    """It concerns the request as a whole, not one person."""
    cites: tuple[str, ...]
    explain: str
    mend: str


class Gate:
    """A policy that validates against its schema, ready to judge.

    Made from the two Cedar texts, and from a house's own forbids where it has some; raises
    GateInvalid for any that the module refuses.
    """

    __slots__ = ("_names", "_permit", "_policies", "_schema", "clauses", "house", "sha256", "texts")
    clauses: Mapping[str, Clause]
    house: Mapping[str, Clause]
    sha256: str
    texts: Mapping[str, str]
    """The Cedar texts it was made of: `policy`, `schema`, and `house`, which may be empty."""

    def __init__(self, policy: str, schema: str, *, house: str = "") -> None:
        _parse(policy, schema)
        self._permit, clauses = _read_statements(policy)
        self.clauses = MappingProxyType(clauses)
        self.house = MappingProxyType(_read_forbids(house, schema))
        self.texts = MappingProxyType({"policy": policy, "schema": schema, "house": house})
        self.sha256 = digest({name: sha256_hex(text.encode()) for name, text in self.texts.items()})
        whole = f"{policy}\n{house}"
        self._policies, self._schema = _parse(whole, schema)
        self._names = {
            name: str(body["annotations"]["id"]) for name, body in _statements(whole).items()
        }

    def judge(self, facts: Facts) -> frozenset[tuple[str, str]]:
        """Return (reason code, subject) of all that speaks against a request.

        Empty if, and only if, every depicted person was evaluated and permitted; the subject is
        empty for a reason that concerns the request as a whole. Raises PeopleMissing, GateFailed.
        """
        if len(facts.people) < FEWEST_PEOPLE:
            raise PeopleMissing(
                f"The request names {len(facts.people)} people; a swap depicts at least "
                f"{FEWEST_PEOPLE}.",
                mend="Name the source identity and the target body, each with their consent.",
            )
        job = _describe_job(facts)
        return frozenset(
            (code, "" if self.clause(code).whole else person.subject)
            for person in facts.people
            for code in self.ask(_describe_person(person) | {"job": job})
        )

    def clause(self, code: str) -> Clause:
        """Return the forbid of a reason code, the product's or the house's; KeyError for none."""
        return self.house[code] if code in self.house else self.clauses[code]

    def ask(self, depiction: Mapping[str, Any]) -> frozenset[str]:
        """Return the reason codes against one depicted person; empty if the permit applies.

        `depiction` holds the attributes of the schema's Depiction. Raises GateFailed.
        """
        entity = {"uid": _QUESTION["resource"], "attrs": depiction, "parents": []}
        try:
            answer = cedarpy.is_authorized(_QUESTION, self._policies, [entity], self._schema)
            decision, errors = answer.decision, answer.diagnostics.errors
            codes = frozenset(self._names[policy] for policy in answer.diagnostics.reasons)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of the engine is not even an Exception
            raise _failed(f"stopped with {type(error).__name__}") from error
        # The engine's own words quote the facts; they are not repeated.
        if errors:
            raise _failed("could not evaluate every condition")
        if decision is cedarpy.Decision.Allow and codes == {self._permit}:
            return frozenset()
        known = self.clauses.keys() | self.house.keys()
        if decision is cedarpy.Decision.Deny and codes and codes <= known:
            return codes
        raise _failed("gave a decision without its reasons")


@cache
def open_gate(folder: Path = HERE) -> Gate:
    """Return the gate of the files `gate.cedar` and `gate.cedarschema`, loaded once.

    Raises GateInvalid, also when a file is missing.
    """
    try:
        texts = [(folder / f"gate.{kind}").read_text("utf-8") for kind in ("cedar", "cedarschema")]
    except (OSError, ValueError) as error:
        raise GateInvalid(f"a file of the gate cannot be read ({type(error).__name__})") from error
    return Gate(*texts)


def _failed(what: str) -> GateFailed:
    return GateFailed(
        f"The policy engine {what}; what it does not permit is denied.",
        mend="Ask again; if it happens twice, report it with the digest of the facts.",
    )


def _describe_job(facts: Facts) -> dict[str, Any]:
    """Return the schema's Job; the counts over people are here because Cedar has no iteration."""
    roles = [person.role for person in facts.people]
    return facts.model_dump(mode="json", exclude={"people"}) | {
        "people": len(facts.people),
        "distinct": len({person.subject for person in facts.people}),
        "sources": roles.count("source_identity"),
        "targets": roles.count("target_body"),
        "shown": roles.count("target_body") + roles.count("bystander"),
    }


def _describe_person(person: ConsentFacts) -> dict[str, Any]:
    """Return role, Consent and Face; a fact the schema does not know makes the engine refuse."""
    consent = person.model_dump(mode="json", exclude=_UNJUDGED)
    face = {name: consent.pop(name) for name in _FACE}
    return {"role": consent.pop("role"), "consent": consent, "face": face}


def _parse(policy: str, schema: str) -> tuple[cedarpy.PolicySet, cedarpy.Schema]:
    try:
        parsed = cedarpy.Schema.from_str(schema)
        policies = cedarpy.PolicySet.from_str(policy)
        checked = cedarpy.validate_policies(policy, parsed)
    except ValueError as error:
        raise GateInvalid(f"the gate is not Cedar: {error}") from error
    if not checked.validation_passed:
        raise GateInvalid(
            f"the policy does not fit its schema: {'; '.join(map(str, checked.errors))}"
        )
    return policies, parsed


def _statements(policy: str) -> dict[str, Any]:
    document = json.loads(cedarpy.policies_to_json_str(policy))
    if document["templates"]:
        raise GateInvalid("a template permits nobody by itself; write the statement out")
    statements: dict[str, Any] = document["staticPolicies"]
    return statements


def _read_statements(policy: str) -> tuple[str, dict[str, Clause]]:
    """Return the code of the one permit, and the forbids by code in order."""
    statements = _statements(policy)
    names = {
        name: _read_code(name, body, "when" if body["effect"] == "permit" else "unless")
        for name, body in statements.items()
    }
    permits = [names[name] for name, body in statements.items() if body["effect"] == "permit"]
    if len(permits) != 1:
        raise GateInvalid(f"the policy has {len(permits)} permits; exactly one lists everything")
    clauses = {
        names[name]: _read_clause(names[name], body["annotations"])
        for name, body in statements.items()
        if body["effect"] == "forbid"
    }
    _require_distinct(names.values())
    return permits[0], clauses


def _read_forbids(house: str, schema: str) -> dict[str, Clause]:
    """Return a house's own forbids by code, in order; raise GateInvalid for anything else."""
    if not house.strip():
        return {}
    _parse(house, schema)
    clauses = {}
    statements = _statements(house)
    for name, body in statements.items():
        code = _read_code(name, body, "when", "unless")
        if body["effect"] != "forbid":
            raise GateInvalid(f"{code} is a {body['effect']}: a house forbids, it never permits")
        if not code.startswith(HOUSE_PREFIX):
            raise GateInvalid(f"{code} of the house does not begin with {HOUSE_PREFIX}")
        clauses[code] = _read_clause(code, body["annotations"])
    _require_distinct([body["annotations"]["id"] for body in statements.values()])
    return clauses


def _require_distinct(codes: Collection[str]) -> None:
    if len(set(codes)) != len(codes):
        raise GateInvalid("two statements of the policy have the same @id")


def _read_code(name: str, body: Mapping[str, Any], *kinds: str) -> str:
    """Return the @id of a statement that applies to every depiction; raise GateInvalid.

    It states one condition, with one of `kinds` ("when", "unless").
    """
    code = body.get("annotations", {}).get("id")
    if not code:
        raise GateInvalid(f"the statement {name} has no @id")
    if [condition["kind"] for condition in body["conditions"]] not in [[kind] for kind in kinds]:
        raise GateInvalid(f"{code} does not state one condition with '{' or '.join(kinds)}'")
    if any(body[part] != shape for part, shape in _SHAPE.items()):
        raise GateInvalid(f"{code} does not apply to every depiction")
    return str(code)


def _read_clause(code: str, annotations: Mapping[str, str | None]) -> Clause:
    words = {name: annotations.get(name) or "" for name in ("about", "law", "explain", "mend")}
    if missing := [name for name, word in words.items() if not word.strip()]:
        raise GateInvalid(f"{code} has no @{missing[0]}")
    if words["about"] not in ("person", "request"):
        raise GateInvalid(f"{code} is about neither a person nor the request")
    whole = words["about"] == "request"
    return Clause(code, whole, tuple(words["law"].split()), words["explain"], words["mend"])
